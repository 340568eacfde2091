import { formatSize, levelOf, parseSealed, SealedFormatError } from './model';

const bundle = {
  version: 1,
  label: 'restricted//ip',
  notebook: null,
  cell: 'c1',
  session: 's',
  sequence: 3,
  state: 'ok',
  recipients: ['0123456789abcdef'],
  digest: `sha256:${'0'.repeat(64)}`,
  entry: {
    origin: 'log.example/a',
    index: 7,
    leaf: '',
    proof: [],
    checkpoint: ''
  },
  age: btoa('x'.repeat(100))
};

describe('parseSealed', () => {
  it('reads what a final output says in clear', () => {
    expect(parseSealed(bundle)).toEqual({
      label: 'restricted//ip',
      because: null,
      state: 'ok',
      recipients: ['0123456789abcdef'],
      entry: { origin: 'log.example/a', index: 7 },
      size: 100
    });
  });

  it('reads why the label is what it is, where that is said', () => {
    const because = 'restricted, because it reads `df` (cell 2)';
    expect(parseSealed({ ...bundle, because }).because).toBe(because);
    expect(() => parseSealed({ ...bundle, because: 7 })).toThrow('field because:');
  });

  it.each([undefined, null])('reads an entry of %p as none yet', entry => {
    expect(parseSealed({ ...bundle, state: 'running', entry }).entry).toBeNull();
  });

  it.each([
    ['output', null],
    ['output', [bundle]],
    ['output', 'text'],
    ['version', { ...bundle, version: 2 }],
    ['label', { ...bundle, label: 7 }],
    ['label', { ...bundle, label: '' }],
    ['state', { ...bundle, state: 'opened' }],
    ['state', { ...bundle, state: 'toString' }],
    ['recipients', { ...bundle, recipients: ['<b>'] }],
    ['recipients', { ...bundle, recipients: 'all' }],
    ['entry', { ...bundle, entry: 7 }],
    ['entry.index', { ...bundle, entry: { origin: 'o', index: -1 } }],
    ['entry.origin', { ...bundle, entry: { index: 1 } }],
    ['age', { ...bundle, age: undefined }]
  ])('names %s when it is of the wrong form', (field, value) => {
    expect(() => parseSealed(value)).toThrow(SealedFormatError);
    expect(() => parseSealed(value)).toThrow(`field ${field}:`);
  });
});

describe('levelOf', () => {
  it.each([
    ['public', 'public'],
    ['restricted//ip,phi', 'restricted']
  ])('of %s is %s', (label, level) => {
    expect(levelOf(label)).toBe(level);
  });
});

describe('formatSize', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1659, '1.7 kB'],
    [2_500_000, '2.5 MB'],
    [3e12, '3000.0 GB']
  ])('of %d is %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});
