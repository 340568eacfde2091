/**
 * Enters: the MIME model of one output. Leaves: its card in the output area. Never: writes to the model.
 */

import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { ISealedOutput } from '../tokens';
import { SEALED_MIME_TYPE } from '../tokens';
import { renderCard, renderUnreadable } from './card';
import { levelOf, parseSealed, SealedFormatError } from './model';

/** One sealed output in an output area. */
export class SealedRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly trans: TranslationBundle) {
    super();
    this.addClass('qnb-sealed');
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.node.replaceChildren(this.cardOf(model.data[SEALED_MIME_TYPE]));
    return Promise.resolve();
  }

  private cardOf(value: unknown): HTMLElement {
    let sealed: ISealedOutput;
    try {
      sealed = parseSealed(value);
    } catch (error) {
      if (!(error instanceof SealedFormatError)) {
        throw error;
      }
      delete this.node.dataset['level'];
      return renderUnreadable(error.message, this.trans);
    }
    this.node.dataset['level'] = levelOf(sealed.label);
    return renderCard(sealed, this.trans);
  }
}
