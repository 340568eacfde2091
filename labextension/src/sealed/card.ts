/**
 * Enters: a sealed output's clear part. Leaves: the card that stands in its place. Never: HTML made from its text; every
 * string of a notebook becomes a text node.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import { sealedIcon } from '../icons';
import type { ISealedOutput, SealedState } from '../tokens';
import { formatSize } from './model';

/** Fingerprints shown; a large group is counted beyond them. */
const SHOWN = 4;

/** The card of a sealed output. */
export function renderCard(sealed: ISealedOutput, trans: TranslationBundle): HTMLElement {
  const title = titleOf(sealed.state, trans);
  const note = noteOf(sealed.state, trans);
  const card = renderFrame(title, element('span', 'qnb-sealed-label', sealed.label));
  if (note !== null) {
    card.querySelector('.qnb-sealed-head')?.append(element('em', 'qnb-sealed-quiet', note));
  }
  if (sealed.because !== null) {
    card.append(line(sealed.because));
  }
  card.append(renderRecipients(sealed.recipients, trans), renderRecord(sealed, trans));
  card.setAttribute('aria-label', [title, sealed.label, note].filter(Boolean).join(', '));
  return card;
}

/** The card of an output that claims to be sealed and is not of its form: what is wrong, and nothing of the rest. */
export function renderUnreadable(reason: string, trans: TranslationBundle): HTMLElement {
  const title = trans.__('Sealed output that cannot be read');
  const card = renderFrame(title);
  card.append(line(reason), line(trans.__('Restore the notebook, or run the cell again.')));
  card.setAttribute('aria-label', title);
  return card;
}

function titleOf(state: SealedState, trans: TranslationBundle): string {
  return state === 'running' ? trans.__('Sealing output') : trans.__('Sealed output');
}

function noteOf(state: SealedState, trans: TranslationBundle): string | null {
  switch (state) {
    case 'running':
      return trans.__('cell is running');
    case 'ok':
      return null;
    case 'failed':
      return trans.__('cell failed');
    case 'interrupted':
      return trans.__('cell was interrupted');
  }
}

function renderFrame(title: string, ...beside: HTMLElement[]): HTMLElement {
  const card = element('div', 'qnb-sealed-card');
  card.setAttribute('role', 'group');
  const icon = sealedIcon.element({
    className: 'qnb-sealed-icon',
    tag: 'span'
  });
  icon.setAttribute('aria-hidden', 'true');
  const head = element('div', 'qnb-sealed-head');
  head.append(element('span', 'qnb-sealed-title', title), ...beside);
  card.append(icon, head);
  return card;
}

function renderRecipients(recipients: readonly string[], trans: TranslationBundle): HTMLElement {
  const keys = element('ul', 'qnb-sealed-keys');
  for (const fingerprint of recipients.slice(0, SHOWN)) {
    const item = element('li', '');
    item.append(element('code', 'qnb-sealed-code', fingerprint));
    keys.append(item);
  }
  const hidden = recipients.length - SHOWN;
  if (hidden > 0) {
    keys.append(element('li', '', trans.__('and %1 more', String(hidden))));
  }
  return line(trans._n('For the key', 'For the keys', recipients.length), ' ', keys);
}

function renderRecord(sealed: ISealedOutput, trans: TranslationBundle): HTMLElement {
  const recorded =
    sealed.entry === null
      ? trans.__('No entry in the log yet')
      : trans.__('Entry %1 in %2', String(sealed.entry.index), sealed.entry.origin);
  const node = line(`${recorded} · ${formatSize(sealed.size)} · `, trans.__('open with'), ' ');
  node.append(element('code', 'qnb-sealed-code', 'qnb unseal'));
  node.classList.add('qnb-sealed-quiet');
  return node;
}

function line(...children: (Node | string)[]): HTMLElement {
  const node = element('div', 'qnb-sealed-line');
  node.append(...children);
  return node;
}

function element(tag: string, className: string, text?: string): HTMLElement {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) {
    node.textContent = text;
  }
  return node;
}
