import { LabIcon } from '@jupyterlab/ui-components';

import sealedSvg from '../style/icons/sealed.svg';

/** A shield with a keyhole: content that is sealed. */
export const sealedIcon = new LabIcon({
  name: 'qnb:sealed',
  svgstr: sealedSvg
});
