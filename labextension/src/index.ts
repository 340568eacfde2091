/**
 * qnb in JupyterLab: the list of its plugins.
 */

import { sealedPlugin } from './sealed/plugin';

export * from './tokens';

export default [sealedPlugin];
