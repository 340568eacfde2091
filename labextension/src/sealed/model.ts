/**
 * Enters: the JSON value of a sealed output, from a notebook that anybody may have written. Leaves: what can be said of
 * it in clear. Never: trusts a field that it did not check, opens or verifies anything.
 */

import type { ISealedEntry, ISealedOutput, SealedState } from '../tokens';

/** Format versions that this extension reads. */
const VERSION = 1;

const STATES: readonly SealedState[] = ['running', 'ok', 'failed', 'interrupted'];

/** A sealed output that does not have the form of one. The message is for people. */
export class SealedFormatError extends Error {
  override readonly name = 'SealedFormatError';
}

/**
 * Read a sealed output.
 *
 * @throws SealedFormatError naming the first field that is missing or of the wrong form.
 */
export function parseSealed(value: unknown): ISealedOutput {
  const bundle = asRecord(value, 'output');
  if (bundle['version'] !== VERSION) {
    throw new SealedFormatError(`field version: expected ${VERSION}`);
  }
  return {
    label: asText(bundle['label'], 'label'),
    because: asOptionalText(bundle['because'], 'because'),
    state: asState(bundle['state']),
    recipients: asFingerprints(bundle['recipients']),
    entry: asEntry(bundle['entry']),
    size: sizeOfBase64(asText(bundle['age'], 'age'))
  };
}

/** The level of a label: what stands before its categories. */
export function levelOf(label: string): string {
  return label.split('//', 1)[0] ?? label;
}

/** A size for people: `1.6 kB`, powers of ten as in the file browser. */
export function formatSize(bytes: number): string {
  if (bytes < 1000) {
    return `${bytes} B`;
  }
  const units = ['kB', 'MB', 'GB'];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  return `${(bytes / 1000 ** power).toFixed(1)} ${units[power - 1] ?? 'GB'}`;
}

function asRecord(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SealedFormatError(`field ${field}: expected an object`);
  }
  return value as Record<string, unknown>;
}

function asText(value: unknown, field: string): string {
  if (typeof value !== 'string' || value === '') {
    throw new SealedFormatError(`field ${field}: expected text`);
  }
  return value;
}

function asOptionalText(value: unknown, field: string): string | null {
  return value === undefined || value === null ? null : asText(value, field);
}

function asState(value: unknown): SealedState {
  const state = STATES.find(known => known === value);
  if (state === undefined) {
    throw new SealedFormatError(`field state: expected one of ${STATES.join(', ')}`);
  }
  return state;
}

function asFingerprints(value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every(item => typeof item === 'string' && /^[0-9a-f]{16}$/.test(item))) {
    throw new SealedFormatError('field recipients: expected fingerprints');
  }
  return value as string[];
}

function asEntry(value: unknown): ISealedEntry | null {
  if (value === undefined || value === null) {
    return null;
  }
  const entry = asRecord(value, 'entry');
  const index = entry['index'];
  if (typeof index !== 'number' || !Number.isSafeInteger(index) || index < 0) {
    throw new SealedFormatError('field entry.index: expected a number from 0');
  }
  return { origin: asText(entry['origin'], 'entry.origin'), index };
}

function sizeOfBase64(text: string): number {
  const padding = /={0,2}$/.exec(text)?.[0].length ?? 0;
  return Math.max(0, Math.floor((text.length * 3) / 4) - padding);
}
