import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { SEALED_MIME_TYPE } from '../tokens';
import { SealedRenderer } from './renderer';

/** Below every built-in renderer's rank (0 upwards), so that a card never gives way to the HTML fallback beside it. */
const RANK = -10;

/** Sealed outputs appear as cards. */
export const sealedPlugin: JupyterFrontEndPlugin<void> = {
  id: 'qnb:sealed',
  description: 'Shows sealed cell outputs as cards.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (_app: JupyterFrontEnd, rendermime: IRenderMimeRegistry, translator: ITranslator | null) => {
    const trans = (translator ?? nullTranslator).load('qnb');
    rendermime.addFactory(
      {
        safe: true,
        mimeTypes: [SEALED_MIME_TYPE],
        createRenderer: () => new SealedRenderer(trans)
      },
      RANK
    );
  }
};
