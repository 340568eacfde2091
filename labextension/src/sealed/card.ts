/**
 * Enters: a sealed output's clear part. Leaves: the card that stands in its place. Never: HTML made from its text; every
 * string of a notebook becomes a text node.
 */

import type { TranslationBundle } from '@jupyterlab/translation';

import { sealedIcon } from '../icons';
import type { ISealedOutput, SealedState } from '../tokens';
import { formatSize } from './model';

/** The card of a sealed output. */
export function renderCard(
  sealed: ISealedOutput,
  trans: TranslationBundle
): HTMLElement {
  const title = titleOf(sealed.state, trans);
  const label = element('span', 'qnb-sealed-label', sealed.label);
  const card = renderFrame(title, label);
  card.append(
    renderRecipients(sealed.recipients, trans),
    renderRecord(sealed, trans)
  );
  card.setAttribute('aria-label', `${title}, ${sealed.label}`);
  return card;
}

/** The card of an output that claims to be sealed and is not of its form: what is wrong, and nothing of the rest. */
export function renderUnreadable(
  reason: string,
  trans: TranslationBundle
): HTMLElement {
  const title = trans.__('Sealed output that cannot be read');
  const card = renderFrame(title);
  card.append(
    line(reason),
    line(trans.__('Restore the notebook, or run the cell again.'))
  );
  card.setAttribute('aria-label', title);
  return card;
}

function titleOf(state: SealedState, trans: TranslationBundle): string {
  switch (state) {
    case 'running':
      return trans.__('Sealed output, still running');
    case 'ok':
      return trans.__('Sealed output');
    case 'failed':
      return trans.__('Sealed output: the cell failed');
    case 'interrupted':
      return trans.__('Sealed output: the cell was interrupted');
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

function renderRecipients(
  recipients: readonly string[],
  trans: TranslationBundle
): HTMLElement {
  const keys = element('ul', 'qnb-sealed-keys');
  for (const fingerprint of recipients) {
    const item = element('li', '');
    item.append(element('code', 'qnb-sealed-code', fingerprint));
    keys.append(item);
  }
  return line(
    trans._n(
      'Opens with the key',
      'Opens with one of the keys',
      recipients.length
    ),
    ' ',
    keys
  );
}

function renderRecord(
  sealed: ISealedOutput,
  trans: TranslationBundle
): HTMLElement {
  const recorded =
    sealed.entry === null
      ? trans.__('No entry in the log yet')
      : trans.__(
          'Entry %1 in %2',
          String(sealed.entry.index),
          sealed.entry.origin
        );
  const node = line(
    `${recorded} · ${formatSize(sealed.size)} · `,
    trans.__('open with'),
    ' '
  );
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
