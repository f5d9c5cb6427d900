/** Addresses that one organisation's agents call from, and what others may say about them. */
import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '#directory/compile.js';
import type { CompiledSnapshot } from '#directory/compiled-snapshot.js';
import { merge } from '#directory/merge.js';
import { type Described, directoryInput, snapshotOf } from '../../kit/directory.js';

type Agent = NonNullable<Described['agents']>[number];

const AUTH = { username: 'u', password: 'p' };
const NUMBER = {
  sipCredentials: [{ id: 'way-out', organizationId: 'a', server: 's' }],
  phoneNumbers: [{ id: 'n', organizationId: 'a', credentialsId: 'way-out', phoneNumber: '+14155550100' }],
};
const trunk = (...allowedAddresses: string[]) => ({
  id: 'of-b',
  organizationId: 'b',
  server: 's',
  allowedAddresses,
});
const ours = (more: object): Agent => ({ id: 'of-a', organizationId: 'a', ...more });
const theirs = (more: object): Agent => ({ id: 'of-b', organizationId: 'b', ...more });
const ENDPOINT = { endpoints: [{ uri: 'sip:x@192.0.2.9:5090' }] };
const CALLS = { outboundNumberId: 'n' };

function faultsOf(agents: Agent[], trunks: ReturnType<typeof trunk>[] = []): string[] {
  const compiled = compileSnapshot(
    directoryInput({ ...NUMBER, sipCredentials: [...NUMBER.sipCredentials, ...trunks], agents }),
    1,
  );
  return compiled.kind === 'faults' ? compiled.faults.map(({ path }) => path.join('.')) : [];
}

const ON_TRUNK = ['sipCredentials.1.allowedAddresses'];

describe('a trunk', () => {
  it.each<[string, object, string, string[]]>([
    ['where agents say that they call from', { allowedAddresses: ['192.0.2.0/24'] }, '192.0.2.7', ON_TRUNK],
    ['around it', { allowedAddresses: ['192.0.2.7'] }, '0.0.0.0/0', ON_TRUNK],
    ['where a calling agent answers', { ...ENDPOINT, ...CALLS }, '192.0.2.0/24', ON_TRUNK],
    ['where an agent answers that calls nobody', ENDPOINT, '192.0.2.0/24', []],
    ['where agents show a password', { ...ENDPOINT, ...CALLS, inboundAuth: AUTH }, '192.0.2.0/24', []],
    ['elsewhere', { ...ENDPOINT, ...CALLS }, '192.0.3.0/24', []],
  ])('%s', (_name, agent, block, expected) => {
    expect(faultsOf([ours(agent)], [trunk(block)])).toEqual(expected);
    expect(faultsOf([ours(agent)], [{ ...trunk(block), organizationId: 'a' }])).toEqual([]);
  });
});

describe('an agent', () => {
  it('claims no address of another’s agents, but by a password', () => {
    const claim = { allowedAddresses: ['192.0.2.0/28'] };
    const caller = ours({ ...ENDPOINT, ...CALLS });
    expect(faultsOf([caller, theirs(claim)])).toEqual(['agents.1.allowedAddresses']);
    expect(faultsOf([caller, theirs({ ...claim, inboundAuth: AUTH })])).toEqual([]);
    expect(faultsOf([caller, { ...theirs(claim), organizationId: 'a' }])).toEqual([]);
  });

  it('may be answered by the same platform as another’s', () => {
    expect(faultsOf([ours({ ...ENDPOINT, ...CALLS }), theirs(ENDPOINT)])).toEqual([]);
  });

  it('is not found alone by its endpoint where another’s may call from', () => {
    const mine = { ...ours({ allowedAddresses: ['192.0.2.0/24'] }), id: 'mine' };
    const ids = (agents: Agent[]) =>
      snapshotOf({ agents })
        .agentsBySource('192.0.2.9', 5090)
        .map(({ id }) => id);
    expect(ids([mine, theirs(ENDPOINT)]).sort()).toEqual(['mine', 'of-b']);
    expect(ids([mine, ours(ENDPOINT)])).toEqual(['of-a']);
  });
});

it('counts the config file’s agents before the store’s trunks, which are left out with their numbers', () => {
  const input = directoryInput({
    sipCredentials: [trunk('192.0.2.7')],
    phoneNumbers: [{ id: 'b-1', organizationId: 'b', credentialsId: 'of-b', phoneNumber: '+12' }],
  });
  const snapshot = snapshotOf({ agents: [ours({ allowedAddresses: ['192.0.2.0/24'] })] }) as CompiledSnapshot;
  const { draft, problems } = merge({ snapshot, relayHeaders: [] }, [
    { kind: 'sipCredentials', model: { ...input.trunks[0]!, source: 'manual' } },
    { kind: 'phoneNumber', model: { ...input.numbers[0]!, source: 'manual' } },
  ]);
  expect(problems.map(({ id, leftOut }) => [id, leftOut])).toEqual([
    ['of-b', true],
    ['b-1', true],
  ]);
  const made = draft.finish(2);
  expect([made.trunkCount, made.numberCount]).toEqual([0, 0]);
  expect(made.trunksBySource('192.0.2.7')).toEqual([]);
});
