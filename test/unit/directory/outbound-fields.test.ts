/** What the directory knows for calls that leave: organisations, lines of a cpsKey, whose number, whose address. */
import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '#directory/compile.js';
import { agentSchema, organizationSchema, trunkSchema } from '#directory/schema.js';
import { type Described, directoryInput, snapshotOf } from '../../kit/directory.js';

function faultsOf(described: Described) {
  const compiled = compileSnapshot(directoryInput(described), 1);
  if (compiled.kind === 'snapshot') throw new Error('it compiled');
  return compiled.faults.map((fault) => `${fault.path.join('.')}: ${fault.message}`);
}

const server = 'sip.example.com';

describe('organisations', () => {
  const limits = { maxConcurrentCalls: 3, callsPerDay: 9, destinations: { allow: ['+1'], deny: ['+1900'] } };
  const snapshot = snapshotOf({ organizations: [{ id: 'acme', name: 'Acme Ltd', limits }] });

  it('have the bounds that are given, and none where nobody gave any', () => {
    expect(snapshot.organization('acme')).toEqual({
      id: 'acme',
      source: 'config',
      name: 'Acme Ltd',
      limits: { ...limits, maxDurationSeconds: undefined },
    });
    expect(snapshot.organization('default').limits).toEqual({
      destinations: { allow: [], deny: [] },
      maxConcurrentCalls: undefined,
      callsPerDay: undefined,
      maxDurationSeconds: undefined,
    });
    expect([...snapshot.organizations()].map(({ id }) => id)).toEqual(['acme']);
  });

  it('are described once', () => {
    expect(faultsOf({ organizations: [{ id: 'acme' }, { id: 'acme' }] })).toEqual([
      'organizations.1.id: is taken already: acme',
    ]);
  });

  it.each([['+'], [''], ['+1 900'], ['1\n2'], ['*'.repeat(33)]])('take no prefix %j', (prefix) => {
    const parsed = organizationSchema.safeParse({ id: 'a', limits: { destinations: { deny: [prefix] } } });
    expect(parsed.success).toBe(false);
  });
});

describe('the line of a cpsKey', () => {
  const snapshot = snapshotOf({
    sipCredentials: [
      { id: 'a', server, cpsKey: 'shared', cpsLimit: 10, cpsBurst: 4 },
      { id: 'b', server, cpsKey: 'shared', cpsLimit: 2.5, cpsBurst: 2 },
      { id: 'c', server, cpsKey: 'shared' },
      { id: 'd', server, cpsLimit: 10 },
      { id: 'e', server, cpsKey: 'd' },
      { id: 'free', server },
      { id: 'other', server, cpsKey: 'shared', cpsLimit: 1, organizationId: 'acme' },
    ],
  });

  it('takes the smallest limit and the smallest burst of those that have a limit, and warns where they differ', () => {
    expect(snapshot.cpsLine('default', 'shared')).toEqual({
      key: 'default/shared',
      organizationId: 'default',
      cpsKey: 'shared',
      limit: 2.5,
      burst: 2,
      trunkIds: ['a', 'b', 'c'],
      warning: expect.stringContaining('a 10, b 2.5'),
    });
  });

  it('says nothing where limits agree', () => {
    expect(snapshot.cpsLine('default', 'd')).toMatchObject({
      limit: 10,
      trunkIds: ['d', 'e'],
      warning: undefined,
    });
  });

  it('has no limit where no member has one', () => {
    expect(snapshot.cpsLine('default', 'free')).toMatchObject({ limit: undefined, burst: 1 });
  });

  it('belongs to one organisation', () => {
    expect(snapshot.cpsLine('acme', 'shared')).toMatchObject({
      key: 'acme/shared',
      limit: 1,
      trunkIds: ['other'],
    });
    expect(snapshot.cpsLine('nobody', 'shared')).toBeUndefined();
    expect([...snapshot.cpsLines()].map(({ key }) => key)).toEqual([
      'default/shared',
      'default/d',
      'default/free',
      'acme/shared',
    ]);
  });

  it('has no burst above its limit', () => {
    expect(trunkSchema.safeParse({ id: 'a', server, cpsLimit: 2, cpsBurst: 3 }).success).toBe(false);
    expect(trunkSchema.safeParse({ id: 'a', server, cpsBurst: 2 }).success).toBe(false);
    expect(trunkSchema.safeParse({ id: 'a', server, cpsLimit: 0.5, cpsBurst: 1 }).success).toBe(true);
  });
});

describe('the numbers of an organisation', () => {
  const snapshot = snapshotOf({
    sipCredentials: [
      { id: 'us', server, country: 'US', organizationId: 'acme' },
      { id: 'any', server, organizationId: 'acme' },
      { id: 'foreign', server, organizationId: 'rival' },
    ],
    phoneNumbers: [
      { id: 'one', phoneNumber: '+14155550100', credentialsId: 'us', organizationId: 'acme' },
      { id: 'two', phoneNumber: '+14155550100', credentialsId: 'any', organizationId: 'acme' },
      { id: 'three', phoneNumber: '+14155550199', credentialsId: 'foreign', organizationId: 'rival' },
    ],
    agents: [{ id: 'sales', organizationId: 'acme', outboundNumberId: 'one', fallbackNumberIds: ['two'] }],
  });
  const ids = (text: string) => snapshot.ownedNumbers('acme', text).map(({ id }) => id);

  it('are found as each trunk writes them', () => {
    expect(ids('+14155550100')).toEqual(['one', 'two']);
    expect(ids('14155550100')).toEqual(['one', 'two']);
    expect(ids('(415) 555-0100')).toEqual(['one']);
  });

  it('are nobody else’s', () => {
    expect(ids('+14155550199')).toEqual([]);
    expect(snapshot.ownedNumbers('nobody', '+14155550100')).toEqual([]);
  });

  it('serve an agent one after the other', () => {
    expect(snapshot.agent('sales')).toMatchObject({ outboundNumberId: 'one', fallbackNumberIds: ['two'] });
  });

  it('serve no agent of others, nor one that misspells them', () => {
    const trunk = { id: 'us', server, country: 'US' };
    const number = { phoneNumber: '+14155550100', credentialsId: 'us' };
    const faults = faultsOf({
      sipCredentials: [trunk],
      phoneNumbers: [number],
      agents: [
        { id: 'rival', organizationId: 'rival', fallbackNumberIds: ['+14155550100'] },
        { id: 'own', fallbackNumberIds: ['4155550100', '+14155550101'] },
      ],
    });
    expect(faults).toEqual([
      'agents.0.fallbackNumberIds.0: names no phone number: +14155550100',
      'agents.1.fallbackNumberIds.1: names no phone number: +14155550101',
    ]);
  });
});

describe('who calls', () => {
  const auth = { username: 'sales', password: 'secret' };
  const snapshot = snapshotOf({
    agents: [
      {
        id: 'a',
        endpoints: [{ uri: 'sip:a@192.0.2.1:5090' }, { uri: 'sip:a@192.0.2.1:5090;transport=tcp' }],
      },
      { id: 'b', endpoints: [{ uri: 'sip:b@192.0.2.1:5091' }], inboundAuth: auth },
      { id: 'c', endpoints: [{ uri: 'sip:c@[2001:DB8::1]' }, { uri: 'sips:c@192.0.2.9' }] },
      { id: 'd', endpoints: [{ uri: 'sip:d@agents.example' }], allowedAddresses: ['198.51.100.0/24'] },
    ],
  });
  const ids = (address: string, port?: number) => snapshot.agentsBySource(address, port).map(({ id }) => id);

  it('is told by address and port, else by address alone', () => {
    expect(ids('192.0.2.1', 5090)).toEqual(['a']);
    expect(ids('192.0.2.1', 5091)).toEqual(['b']);
    expect(ids('192.0.2.1', 40_000)).toEqual(['a', 'b']);
    expect(ids('192.0.2.1')).toEqual(['a', 'b']);
    expect(ids('2001:db8:0::1', 5060)).toEqual(['c']);
    expect(ids('192.0.2.9', 5061)).toEqual(['c']);
    expect(ids('198.51.100.7', 5060)).toEqual(['d']);
    expect(ids('203.0.113.1', 5060)).toEqual([]);
    expect(ids('not an address', 5060)).toEqual([]);
  });

  it('is no stranger', () => {
    expect(snapshot.isKnownSource('198.51.100.7')).toBe(true);
    expect(snapshot.isKnownSource('203.0.113.1')).toBe(false);
  });

  it('is told by the user of its credentials, which no two agents share', () => {
    expect(snapshot.agentByAuthUser('sales')?.id).toBe('b');
    expect(snapshot.agentByAuthUser('nobody')).toBeUndefined();
    expect(
      faultsOf({
        agents: [
          { id: 'a', inboundAuth: auth },
          { id: 'b', inboundAuth: auth },
        ],
      }),
    ).toEqual(['agents.1.inboundAuth.username: is taken already: sales']);
  });

  it('needs a password with the user', () => {
    expect(agentSchema.safeParse({ id: 'a', inboundAuth: { username: 'a' } }).success).toBe(false);
  });

  it('compiles quickly when thousands share one address', () => {
    const agents = Array.from({ length: 20_000 }, (_, i) => ({
      id: `a${i}`,
      endpoints: [{ uri: `sip:a${i}@192.0.2.1:5090` }],
      allowedAddresses: ['192.0.2.0/24'],
    }));
    expect(snapshotOf({ agents }).agentsBySource('192.0.2.1', 5090)).toHaveLength(20_000);
  });
});
