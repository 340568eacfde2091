/**
 * The contract between the plugins of this extension, and with the Python side.
 */

/** MIME type of a sealed cell output; its value is an `ISealedOutput` in JSON. */
export const SEALED_MIME_TYPE = 'application/vnd.qnb.sealed+json';

/** How far the cell had come when the output was sealed. */
export type SealedState = 'running' | 'ok' | 'failed' | 'interrupted';

/** Where the signed entry of a final output stands in the log. */
export interface ISealedEntry {
  /** Origin line of the log. */
  readonly origin: string;
  /** Index of the entry, from 0. */
  readonly index: number;
}

/** What can be said of a sealed output without opening it. */
export interface ISealedOutput {
  /** `restricted//ip,phi`. */
  readonly label: string;
  /** Why the label is above what the cell declares; null when it is not. */
  readonly because: string | null;
  readonly state: SealedState;
  /** Fingerprints of the recipients: 16 hexadecimal digits each. */
  readonly recipients: readonly string[];
  /** Null until the cell has ended and its entry is recorded. */
  readonly entry: ISealedEntry | null;
  /** Size of the ciphertext in bytes. */
  readonly size: number;
}
