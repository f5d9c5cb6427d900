/** A number behind addresses that two organisations name: whose it is, when it is written and when both files are merged. */
import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '#directory/compile.js';
import { apply, type Change, merge } from '#directory/merge.js';
import { type Described, directoryInput, snapshotOf } from '../../kit/directory.js';

interface Side {
  readonly blocks: readonly string[];
  readonly number: string;
  readonly country?: string;
}

const described = (a: Side, b: Side, other = 'b'): Described => ({
  sipCredentials: [
    { id: 'of-a', organizationId: 'a', server: 's', allowedAddresses: [...a.blocks], country: a.country },
    { id: 'of-b', organizationId: other, server: 's', allowedAddresses: [...b.blocks], country: b.country },
  ],
  phoneNumbers: [
    { id: 'number-a', organizationId: 'a', credentialsId: 'of-a', phoneNumber: a.number },
    { id: 'number-b', organizationId: other, credentialsId: 'of-b', phoneNumber: b.number },
  ],
});

const faultsOf = (input: Described): string[] => {
  const compiled = compileSnapshot(directoryInput(input), 1);
  return compiled.kind === 'faults' ? compiled.faults.map(({ path }) => path.join('.')) : [];
};

const BLOCK = ['192.0.2.0/24'];
const DID = '+14155550100';
const TAKEN = ['phoneNumbers.1.phoneNumber'];

describe('a number on trunks of two organisations', () => {
  it.each<[string, Side, Side, string[]]>([
    ['the same block', { blocks: BLOCK, number: DID }, { blocks: BLOCK, number: DID }, TAKEN],
    ['a narrower block', { blocks: BLOCK, number: DID }, { blocks: ['192.0.2.7'], number: DID }, TAKEN],
    ['a wider block', { blocks: BLOCK, number: DID }, { blocks: ['0.0.0.0/0'], number: DID }, TAKEN],
    [
      'one block of many',
      { blocks: ['198.51.100.0/24', '2001:db8::/32'], number: DID },
      { blocks: ['192.0.2.0/24', '2001:db8:1::/48'], number: DID },
      TAKEN,
    ],
    ['other blocks', { blocks: BLOCK, number: DID }, { blocks: ['192.0.3.0/24'], number: DID }, []],
    ['another family', { blocks: ['0.0.0.0/0'], number: DID }, { blocks: ['::/0'], number: DID }, []],
    ['no block', { blocks: BLOCK, number: DID }, { blocks: [], number: DID }, []],
    ['another number', { blocks: BLOCK, number: DID }, { blocks: BLOCK, number: '+14155550101' }, []],
    ['without +', { blocks: BLOCK, number: DID }, { blocks: BLOCK, number: '14155550100' }, TAKEN],
    [
      'as people dial it',
      { blocks: BLOCK, number: DID, country: 'US' },
      { blocks: BLOCK, number: '4155550100' },
      TAKEN,
    ],
    [
      'that another has as people dial it',
      { blocks: BLOCK, number: '0301234567' },
      { blocks: BLOCK, number: '+49301234567', country: 'DE' },
      TAKEN,
    ],
    [
      'with an international prefix',
      { blocks: BLOCK, number: DID, country: 'DE' },
      { blocks: BLOCK, number: '0014155550100' },
      TAKEN,
    ],
    [
      'the same digits of two countries',
      { blocks: BLOCK, number: '+493012345678', country: 'DE' },
      { blocks: BLOCK, number: '+443012345678', country: 'GB' },
      [],
    ],
    ['a name', { blocks: BLOCK, number: 'sales' }, { blocks: ['192.0.2.7'], number: 'sales' }, TAKEN],
  ])('%s', (_name, a, b, expected) => {
    expect(faultsOf(described(a, b))).toEqual(expected);
  });

  it('is legal in one organisation where one block is narrower', () => {
    const wide = { blocks: BLOCK, number: DID };
    expect(faultsOf(described(wide, { blocks: ['192.0.2.7'], number: DID }, 'a'))).toEqual([]);
    expect(faultsOf(described(wide, wide, 'a'))).toEqual(TAKEN);
  });
});

const changeOf = (kind: 'sipCredentials' | 'phoneNumber', described: Described): Change => {
  const { trunks, numbers } = directoryInput(described);
  if (kind === 'phoneNumber') {
    const model = { ...numbers[0]!, source: 'manual' as const };
    return { kind, id: model.id, model: { kind, model } };
  }
  const model = { ...trunks[0]!, source: 'manual' as const };
  return { kind, id: model.id, model: { kind, model } };
};
const trunkOf = (organizationId: string, allowedAddresses: string[], more: object = {}): Change =>
  changeOf('sipCredentials', {
    sipCredentials: [{ id: `of-${organizationId}`, organizationId, server: 's', allowedAddresses, ...more }],
  });
const numberOf = (organizationId: string, phoneNumber: string, id = `number-${organizationId}`): Change =>
  changeOf('phoneNumber', {
    phoneNumbers: [{ id, organizationId, credentialsId: `of-${organizationId}`, phoneNumber }],
  });

describe('an edit', () => {
  const base = () => {
    const draft = apply(
      snapshotOf({}) as never,
      [
        trunkOf('a', BLOCK),
        numberOf('a', DID),
        trunkOf('b', ['198.51.100.1']),
        numberOf('b', DID),
        numberOf('b', '+14155550177', 'free'),
      ],
      [],
    );
    if (!('finish' in draft)) throw new Error(JSON.stringify(draft));
    return draft.finish(2);
  };
  const objections = (changes: readonly Change[]) => {
    const made = apply(base(), changes, []);
    return 'finish' in made ? [] : made;
  };

  it('that moves a trunk into another’s block is refused at its addresses, and names nothing of theirs', () => {
    const refused = objections([trunkOf('b', ['198.51.100.1', '192.0.2.7'])]);
    expect(refused).toMatchObject([{ on: { id: 'of-b' }, path: ['allowedAddresses'], kind: 'conflict' }]);
    expect(refused[0]!.message).toContain(`${DID}, for calls from 192.0.2.7`);
    expect(JSON.stringify(refused)).not.toMatch(/of-a|number-a|192\.0\.2\.0/);
  });

  it.each([
    ['a', '+14155550100', '4155550100'],
    ['b', '+14155550100', '4155550100'],
    ['a', '4155550100', '+14155550100'],
    ['b', '4155550100', '+14155550100'],
  ])('that moves the trunk of %s is refused for one number in two spellings, %s and %s', (moved, a, b) => {
    const country = { country: 'US' };
    const apart = apply(
      snapshotOf({}) as never,
      [
        trunkOf('a', BLOCK, a.startsWith('+') ? country : {}),
        numberOf('a', a),
        trunkOf('b', ['198.51.100.1'], b.startsWith('+') ? country : {}),
        numberOf('b', b),
      ],
      [],
    );
    if (!('finish' in apart)) throw new Error(JSON.stringify(apart));
    const together = moved === 'a' ? ['198.51.100.1'] : BLOCK;
    const more = (moved === 'a' ? a : b).startsWith('+') ? country : {};
    expect(apply(apart.finish(2), [trunkOf(moved, together, more)], [])).toMatchObject([
      { on: { id: `of-${moved}` }, path: ['allowedAddresses'], kind: 'conflict' },
    ]);
  });

  it('of a trunk with many numbers that are all taken names some of them', () => {
    const many = Array.from({ length: 500 }, (_, n) => `+1415555${String(n).padStart(4, '0')}`);
    const apart = apply(
      snapshotOf({}) as never,
      [
        trunkOf('a', BLOCK),
        trunkOf('b', ['198.51.100.1']),
        ...many.flatMap((did, n) => [numberOf('a', did, `a${n}`), numberOf('b', did, `b${n}`)]),
      ],
      [],
    );
    if (!('finish' in apart)) throw new Error(JSON.stringify(apart));
    const refused = apply(apart.finish(2), [trunkOf('b', BLOCK)], []);
    expect('finish' in refused ? 0 : refused.length).toBe(100);
  });

  it('of a trunk that says nothing about addresses is not examined again', () => {
    expect(objections([trunkOf('b', ['198.51.100.1'], { description: 'x' })])).toEqual([]);
  });

  it('that takes the number away in the same breath is taken', () => {
    const gone: Change = { kind: 'phoneNumber', id: 'number-b', model: undefined };
    expect(objections([gone, trunkOf('b', ['192.0.2.7'])])).toEqual([]);
  });

  it('of two that come together refuses the later one', () => {
    const blocks = trunkOf('b', BLOCK);
    const refused = objections([
      { kind: 'phoneNumber', id: 'number-b', model: undefined },
      blocks,
      numberOf('b', '+14155550142', 'b-2'),
      numberOf('a', '+14155550142', 'a-2'),
    ]);
    expect(refused).toMatchObject([{ on: { id: 'a-2' }, path: ['phoneNumber'] }]);
  });
});

it('stays with the config file where the store has it too', () => {
  const snapshot = compileSnapshot(
    directoryInput({
      sipCredentials: [{ id: 'of-a', organizationId: 'a', server: 's', allowedAddresses: BLOCK }],
      phoneNumbers: [{ id: 'number-a', organizationId: 'a', credentialsId: 'of-a', phoneNumber: DID }],
    }),
    1,
  );
  if (snapshot.kind === 'faults') throw new Error('faults');
  const models = [trunkOf('b', ['192.0.2.7']), numberOf('b', DID), numberOf('b', '+4912345678', 'own')];
  const { draft, problems } = merge(
    { snapshot: snapshot.snapshot, relayHeaders: [] },
    models.map(({ model }) => model!),
  );
  expect(problems).toMatchObject([{ kind: 'phoneNumber', id: 'number-b', leftOut: true }]);
  expect(Array.from(draft.finish(2).numbers(), ({ id }) => id)).toEqual(['number-a', 'own']);
});
