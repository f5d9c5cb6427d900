import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RemoveResult, WriteResult } from '#directory/editor.js';
import { type Document, type Store, StoreUnavailable, type TransactionOutcome } from '#directory/store.js';
import { configPart, type Desk, type DeskOptions, deskOn, newBox, sqlitePlace } from '../../kit/editor.js';
import { until } from '../../kit/processes.js';

const ACME = { organizationId: 'acme', name: 'token t1' };
const OTHER = { organizationId: 'other', name: 'token t2' };
const CONFIG = {
  sipCredentials: [{ id: 'fixed', server: '192.0.2.1' }],
  phoneNumbers: [{ phoneNumber: '+14155550100', credentialsId: 'fixed', inboundAgentId: 'clerk' }],
  agents: [{ id: 'clerk' }],
};
const OWNER = { organizationId: 'default', name: 'administrator' };

let place: ReturnType<typeof sqlitePlace>;
let desk: Desk;
const desks: Desk[] = [];

async function open(options: DeskOptions = {}): Promise<Desk> {
  const opened = await deskOn(await place.open(), { config: CONFIG, ...options });
  desks.push(opened);
  return opened;
}

beforeEach(async () => {
  place = sqlitePlace();
  desk = await open();
});

afterEach(async () => {
  for (const each of desks.splice(0)) await each.close();
  place.remove();
});

function written(result: WriteResult): string {
  if (result.kind !== 'written') throw new Error(JSON.stringify(result));
  return result.id;
}

const trunk = (fields: Document = {}): Document => ({ server: 'sip.provider.example', ...fields });

async function create(kind: 'sipCredentials' | 'phoneNumber' | 'agent', fields: Document): Promise<string> {
  return written(await desk.editor.create(ACME, kind, fields));
}

const paths = (result: WriteResult | RemoveResult): string[] =>
  'faults' in result ? result.faults.map(({ path }) => path.join('.')) : [result.kind];

describe('creating', () => {
  it('is in force at once, with an id of its kind, beside what the config file has', async () => {
    const trunkId = await create(
      'sipCredentials',
      trunk({ authUser: 'u', authPassword: 'p', description: null }),
    );
    const agentId = await create('agent', { name: 'Sales', endpoints: [{ uri: 'sip:a@192.0.2.9' }] });
    const numberId = await create('phoneNumber', {
      phoneNumber: '+442079460000',
      credentialsId: trunkId,
      inboundAgentId: agentId,
    });
    const { current } = desk.live.directory;
    expect(trunkId).toMatch(/^trunk_[a-z2-7]{16}$/);
    expect(current.trunk(trunkId)).toMatchObject({ source: 'manual', organizationId: 'acme' });
    expect(current.trunk(trunkId)?.authPassword?.reveal()).toBe('p');
    expect(current.number(trunkId, '+442079460000')?.id).toBe(numberId);
    expect(current.agent(agentId)?.name).toBe('Sales');
    expect(current.trunk('fixed')?.source).toBe('config');
    expect(desk.live.meta('agent', agentId)).toMatchObject({ organizationId: 'acme' });
    expect(desk.live.meta('agent', 'clerk')).toBeUndefined();
  });

  it('never leaves a secret in the clear on disk', async () => {
    await create('sipCredentials', trunk({ authUser: 'u', authPassword: 'open-sesame' }));
    await create('agent', {
      sipRegistration: { domain: 'pbx.example', username: '1', password: 'open-sesame' },
      inboundAuth: { username: 'x', password: 'open-sesame' },
    });
    await desk.store.close();
    for (const suffix of ['', '-wal']) {
      let bytes: Buffer;
      try {
        bytes = readFileSync(`${place.path}${suffix}`);
      } catch {
        continue;
      }
      expect(bytes.includes('open-sesame')).toBe(false);
    }
    const again = await open({});
    // Another key: nothing can be opened, so the objects are left out and named.
    expect(again.live.problems).toHaveLength(2);
    expect(again.live.problems[0]?.detail).toMatch(/was sealed with key [0-9a-f]{16}, which is not here/);
  });

  it('names every faulty field at once, and writes nothing', async () => {
    const result = await desk.editor.create(ACME, 'sipCredentials', {
      server: 'sip:x@y',
      transport: 'sctp',
      extra: 1,
    });
    expect(result.kind).toBe('invalid');
    expect(paths(result).sort()).toEqual(['extra', 'server', 'transport']);
    expect((await desk.store.load(['sipCredentials', 'auditEntry'])).objects).toEqual([]);
  });

  it('refuses references to nothing and to what belongs to others', async () => {
    const trunkId = written(await desk.editor.create(OTHER, 'sipCredentials', trunk()));
    const result = await desk.editor.create(ACME, 'phoneNumber', {
      phoneNumber: '+1',
      credentialsId: trunkId,
      inboundAgentId: 'clerk',
      transferTrunkId: 'nowhere',
    });
    expect(result.kind).toBe('invalid');
    expect(paths(result).sort()).toEqual(['credentialsId', 'inboundAgentId', 'transferTrunkId']);
  });

  it('refuses what would make routing ambiguous', async () => {
    const a = await create('sipCredentials', trunk({ allowedAddresses: ['198.51.100.0/24'] }));
    const b = await create('sipCredentials', trunk({ allowedAddresses: ['198.51.100.0/24'] }));
    await create('phoneNumber', { phoneNumber: '+1 415 555 0199', credentialsId: a });
    const twin = await desk.editor.create(ACME, 'phoneNumber', {
      phoneNumber: '+14155550199',
      credentialsId: a,
    });
    expect(twin).toMatchObject({ kind: 'conflict', faults: [{ path: ['phoneNumber'] }] });
    const same = await desk.editor.create(ACME, 'phoneNumber', {
      phoneNumber: '+14155550199',
      credentialsId: b,
    });
    expect(same).toMatchObject({ kind: 'conflict', faults: [{ path: ['phoneNumber'] }] });
    const c = await create('sipCredentials', trunk());
    await create('phoneNumber', { phoneNumber: '+14155550199', credentialsId: c });
    const widened = await desk.editor.update(ACME, 'sipCredentials', c, {
      allowedAddresses: ['198.51.100.0/24'],
    });
    expect(widened).toMatchObject({ kind: 'conflict', faults: [{ path: ['allowedAddresses'] }] });
    // A config file's id is taken.
    const taken = await desk.editor.create(OWNER, 'agent', { id: 'clerk' });
    expect(taken).toMatchObject({ kind: 'conflict', faults: [{ path: ['id'] }] });
  });

  it('leaves an entry in the audit log, without values', async () => {
    await create('sipCredentials', trunk({ authUser: 'u', authPassword: 'p' }));
    const [entry] = await desk.store.list('auditEntry', { organizationId: 'acme', limit: 10 });
    expect(entry?.document).toMatchObject({
      by: 'token t1',
      action: 'create',
      kind: 'sipCredentials',
      fields: ['server', 'authUser', 'authPassword'],
    });
  });
});

describe('changing', () => {
  it('merges, unsets with null and keeps the password', async () => {
    const id = await create('sipCredentials', trunk({ authUser: 'u', authPassword: 'p', description: 'x' }));
    const before = desk.live.meta('sipCredentials', id);
    written(await desk.editor.update(ACME, 'sipCredentials', id, { description: null, cpsLimit: 5 }));
    const after = desk.live.directory.current.trunk(id);
    expect(after).toMatchObject({ description: undefined, cpsLimit: 5, authUser: 'u' });
    expect(after?.authPassword?.reveal()).toBe('p');
    expect(desk.live.meta('sipCredentials', id)?.version).toBeGreaterThan(before?.version ?? 0);
    const wrong = await desk.editor.update(ACME, 'sipCredentials', id, { authUser: null });
    expect(wrong).toMatchObject({ kind: 'invalid', faults: [{ path: ['authUser'] }] });
    const renamed = await desk.editor.update(ACME, 'sipCredentials', id, {
      id: 'x',
      organizationId: 'other',
    });
    expect(paths(renamed)).toEqual(['id', 'organizationId']);
  });

  it('moves a number, and lets another take its place', async () => {
    const a = await create('sipCredentials', trunk());
    const number = await create('phoneNumber', { phoneNumber: '+1', credentialsId: a });
    written(await desk.editor.update(ACME, 'phoneNumber', number, { phoneNumber: '+2' }));
    const other = await create('phoneNumber', { phoneNumber: '+1', credentialsId: a });
    const { current } = desk.live.directory;
    expect(current.number(a, '+2')?.id).toBe(number);
    expect(current.number(a, '+1')?.id).toBe(other);
  });

  it('is refused when somebody else was faster, for what others own and for what a file or provider has', async () => {
    const id = await create('agent', { name: 'a' });
    const version = desk.live.meta('agent', id)?.version ?? 0;
    written(await desk.editor.update(ACME, 'agent', id, { name: 'b' }, { ifVersion: version }));
    expect(await desk.editor.update(ACME, 'agent', id, { name: 'c' }, { ifVersion: version })).toEqual({
      kind: 'changed',
    });
    expect(await desk.editor.update(OTHER, 'agent', id, { name: 'c' })).toEqual({ kind: 'not_found' });
    expect(await desk.editor.update(OTHER, 'agent', 'clerk', {})).toEqual({ kind: 'not_found' });
    expect(await desk.editor.update(OWNER, 'agent', 'clerk', {})).toMatchObject({
      kind: 'read_only',
      source: 'config',
    });
    const provided = written(await desk.editor.create(ACME, 'sipCredentials', trunk(), { providerId: 'p1' }));
    expect(desk.live.directory.current.trunk(provided)).toMatchObject({
      source: 'provider',
      providerId: 'p1',
    });
    expect(await desk.editor.remove(ACME, 'sipCredentials', provided)).toMatchObject({
      kind: 'read_only',
      providerId: 'p1',
    });
    expect(await desk.editor.remove(ACME, 'sipCredentials', provided, { providerId: 'p1' })).toMatchObject({
      kind: 'removed',
    });
  });

  it('leaves the objects that it does not touch as they are', async () => {
    const a = await create('sipCredentials', trunk());
    const b = await create('sipCredentials', trunk());
    const number = await create('phoneNumber', { phoneNumber: '+1', credentialsId: b });
    const before = desk.live.directory.current;
    written(await desk.editor.update(ACME, 'sipCredentials', a, { description: 'x' }));
    const after = desk.live.directory.current;
    expect(after.trunk(b)).toBe(before.trunk(b));
    expect(after.numberById(number)).toBe(before.numberById(number));
    expect(before.trunk(a)?.description).toBeUndefined();
  });
});

describe('removing', () => {
  it('a trunk in use is refused with who is affected; forced, it takes all along in one transaction', async () => {
    const a = await create('sipCredentials', trunk());
    const b = await create('sipCredentials', trunk());
    const agent = await create('agent', { name: 'Sales' });
    const one = await create('phoneNumber', { phoneNumber: '+1', credentialsId: a, inboundAgentId: agent });
    const two = await create('phoneNumber', {
      phoneNumber: '+2',
      credentialsId: b,
      transferTrunkId: a,
      inboundAgentId: agent,
    });
    written(
      await desk.editor.update(ACME, 'agent', agent, { outboundNumberId: '+1', fallbackNumberIds: [two] }),
    );
    const affected = {
      phoneNumbers: [{ id: one, phoneNumber: '+1', linkedAgent: { id: agent, name: 'Sales' } }],
      agents: [{ id: agent, name: 'Sales' }],
    };
    expect(await desk.editor.remove(ACME, 'sipCredentials', a)).toEqual({ kind: 'in_use', affected });
    expect(desk.live.directory.current.trunk(a)).toBeDefined();
    const changes: number[] = [];
    desk.live.directory.onChange((current) => changes.push(current.numberCount));
    expect(await desk.editor.remove(ACME, 'sipCredentials', a, { force: true })).toEqual({
      kind: 'removed',
      affected,
    });
    const { current } = desk.live.directory;
    expect(changes).toEqual([2]);
    expect(current.trunk(a)).toBeUndefined();
    expect(current.numberById(one)).toBeUndefined();
    expect(current.numberById(two)).toMatchObject({ transferTrunkId: undefined, inboundAgentId: agent });
    expect(current.agent(agent)).toMatchObject({ outboundNumberId: undefined, fallbackNumberIds: [two] });
    await desk.store.close();
    const again = await open();
    expect(again.live.problems).toEqual([]);
    expect(again.live.directory.current.numberCount).toBe(2);
  });

  it('a trunk that numbers are only transferred by goes without more ado', async () => {
    const a = await create('sipCredentials', trunk());
    const b = await create('sipCredentials', trunk());
    const number = await create('phoneNumber', { phoneNumber: '+2', credentialsId: b, transferTrunkId: a });
    expect((await desk.editor.remove(ACME, 'sipCredentials', a)).kind).toBe('removed');
    expect(desk.live.directory.current.numberById(number)?.transferTrunkId).toBeUndefined();
  });

  it('an agent and a number likewise', async () => {
    const a = await create('sipCredentials', trunk());
    const agent = await create('agent', {});
    const number = await create('phoneNumber', {
      phoneNumber: '+1',
      credentialsId: a,
      inboundAgentId: agent,
    });
    written(await desk.editor.update(ACME, 'agent', agent, { outboundNumberId: number }));
    expect((await desk.editor.remove(ACME, 'agent', agent)).kind).toBe('in_use');
    expect((await desk.editor.remove(ACME, 'phoneNumber', number)).kind).toBe('in_use');
    expect((await desk.editor.remove(ACME, 'phoneNumber', number, { force: true })).kind).toBe('removed');
    expect(desk.live.directory.current.agent(agent)?.outboundNumberId).toBeUndefined();
    expect((await desk.editor.remove(ACME, 'agent', agent)).kind).toBe('removed');
    expect(await desk.editor.remove(ACME, 'agent', agent)).toEqual({ kind: 'not_found' });
  });
});

describe('several nodes', () => {
  it('see each other, and never write a conflict however they race', async () => {
    const box = newBox();
    const one = await open({ box });
    const two = await open({ box });
    const a = written(
      await one.editor.create(ACME, 'sipCredentials', trunk({ authUser: 'u', authPassword: 'p' })),
    );
    await until('the other node has it', () => two.live.directory.current.trunk(a) !== undefined);
    expect(two.live.directory.current.trunk(a)?.authPassword?.reveal()).toBe('p');
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        (n % 2 === 0 ? one : two).editor.create(ACME, 'phoneNumber', { phoneNumber: '+1', credentialsId: a }),
      ),
    );
    expect(results.filter(({ kind }) => kind === 'written')).toHaveLength(1);
    expect(results.filter(({ kind }) => kind === 'conflict')).toHaveLength(19);
    await until('both have one', () =>
      [one, two].every(({ live }) => live.directory.current.number(a, '+1')),
    );
  });
});

describe('edits that come together', () => {
  const AT_ONCE = 60;
  const numbers = (trunkId: string, of = desk): Promise<WriteResult>[] =>
    Array.from({ length: AT_ONCE }, (_, n) =>
      of.editor.create(ACME, 'phoneNumber', { phoneNumber: `+1415555${1_000 + n}`, credentialsId: trunkId }),
    );
  /** A store whose transactions may be watched, and made to fail. */
  const between = (
    store: Store,
    transaction: (write: () => Promise<TransactionOutcome>, n: number) => Promise<TransactionOutcome>,
  ): Store => {
    let n = 0;
    return new Proxy(store, {
      get(target, name) {
        if (name === 'transaction') {
          return (...given: Parameters<Store['transaction']>) =>
            transaction(() => target.transaction(...given), n++);
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  };
  /** What is in force is what the store has: a node that starts now knows the same. */
  const same = async (one: Desk, box: ReturnType<typeof newBox>): Promise<void> => {
    const fresh = await open({ box });
    const known = ({ live }: Desk): unknown[] =>
      Array.from(live.directory.current.numbers(), ({ id, displayName }) => [id, displayName]).sort();
    await until('it has seen everything', () => known(one).length === known(fresh).length);
    expect(known(one)).toEqual(known(fresh));
  };

  it('go to the store together, each with a version of its own', async () => {
    const box = newBox();
    let open = 0;
    let most = 0;
    const store = between(await place.open(), async (write) => {
      most = Math.max(most, ++open);
      return write().finally(() => open--);
    });
    const one = await deskOn(store, { box, config: CONFIG });
    desks.push(one);
    const a = written(await one.editor.create(ACME, 'sipCredentials', trunk()));
    const results = await Promise.all(numbers(a, one));
    expect(most).toBeGreaterThan(AT_ONCE / 2);
    const versions = results.map((each) => one.live.meta('phoneNumber', written(each))?.version);
    expect(new Set(versions).size).toBe(AT_ONCE);
    expect(one.live.directory.current.numberCount).toBe(AT_ONCE + 1);
    await same(one, box);
  });

  it('are refused for what was written before them, and only then', async () => {
    const a = await create('sipCredentials', trunk());
    const results = await Promise.all([...numbers(a), ...numbers(a)]);
    expect(results.map(({ kind }) => kind)).toEqual(
      results.map((_, n) => (n < AT_ONCE ? 'written' : 'conflict')),
    );
  });

  it('of one object follow each other, and none is lost', async () => {
    const a = await create('sipCredentials', trunk());
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        desk.editor.update(ACME, 'sipCredentials', a, { headers: { [`X-Edit-${n}`]: `${n}` } }),
      ),
    );
    for (const each of results) written(each);
    expect(desk.live.directory.current.trunk(a)?.headers.size).toBe(20);
  });

  it('of two nodes that both write all the time are all written, and known to both', async () => {
    const box = newBox();
    const [one, two] = [await open({ box }), await open({ box })];
    const a = written(await one.editor.create(ACME, 'sipCredentials', trunk()));
    const b = written(await two.editor.create(ACME, 'sipCredentials', trunk()));
    for (const each of await Promise.all([...numbers(a, one), ...numbers(b, two)])) written(each);
    await until('both know all', () =>
      [one, two].every(({ live }) => live.directory.current.numberCount === 2 * AT_ONCE + 1),
    );
  });

  it.each([
    ['before it was written', false],
    ['after it was written', true],
  ])('are told each what became of it when the store fails in the midst, %s', async (_when, done) => {
    const box = newBox();
    let failed = 0;
    const store = between(await place.open(), async (write, n) => {
      if (n % 10 !== 7) return write();
      failed++;
      if (done) await write();
      throw new StoreUnavailable('the store is gone');
    });
    const one = await deskOn(store, { box, config: CONFIG });
    desks.push(one);
    const a = written(await one.editor.create(ACME, 'sipCredentials', trunk()));
    const results = await Promise.allSettled(numbers(a, one));
    const rejected = results.filter(({ status }) => status === 'rejected');
    expect(rejected.length).toBe(failed);
    expect(failed).toBeGreaterThan(3);
    for (const each of results) if (each.status === 'fulfilled') written(each.value);
    await same(one, box);
    const more = { phoneNumber: '+14155559999', credentialsId: a };
    for (;;) {
      const last = await one.editor.create(ACME, 'phoneNumber', more).catch(() => undefined);
      if (last !== undefined) break;
    }
    await same(one, box);
  });
});

describe('config and store', () => {
  it('where they do not fit, the config wins and the rest is reported, and comes back when it fits again', async () => {
    const a = written(await desk.editor.create(OWNER, 'sipCredentials', trunk({ id: 'carrier' })));
    const number = written(
      await desk.editor.create(OWNER, 'phoneNumber', {
        phoneNumber: '+1',
        credentialsId: a,
        inboundAgentId: 'clerk',
      }),
    );
    const onFixed = written(
      await desk.editor.create(OWNER, 'phoneNumber', { phoneNumber: '+7', credentialsId: 'fixed' }),
    );
    // The file takes the trunk's id, has the number +7 itself, and loses its agent.
    desk.live.configure(
      configPart({
        sipCredentials: [...CONFIG.sipCredentials, { id: 'carrier', server: '192.0.2.77' }],
        phoneNumbers: [{ phoneNumber: '+7', credentialsId: 'fixed' }],
      }),
    );
    const { current } = desk.live.directory;
    expect(current.trunk('carrier')?.source).toBe('config');
    expect(current.numberById(number)?.inboundAgentId).toBeUndefined();
    expect(current.number('fixed', '+7')?.source).toBe('config');
    const problems = desk.live.problems.map(({ kind, id, leftOut }) => [kind, id, leftOut]);
    expect(problems).toEqual([
      ['sipCredentials', 'carrier', true],
      ['phoneNumber', number, false],
      ['phoneNumber', onFixed, true],
    ]);
    expect(desk.live.health().detail).toContain('3 objects');
    desk.live.configure(configPart(CONFIG));
    expect(desk.live.problems).toEqual([]);
    expect(desk.live.directory.current.trunk('carrier')?.source).toBe('manual');
    expect(desk.live.directory.current.numberById(number)?.inboundAgentId).toBe('clerk');
  });

  it('a file that is read again while the store is writing is not lost', async () => {
    const transaction = desk.store.transaction.bind(desk.store);
    desk.store.transaction = async (changes, options) => {
      const outcome = await transaction(changes, options);
      desk.live.configure(configPart({ ...CONFIG, agents: [{ id: 'clerk' }, { id: 'fresh' }] }));
      return outcome;
    };
    const id = await create('agent', { name: 'written' });
    expect(desk.live.directory.current.agent('fresh')?.source).toBe('config');
    expect(desk.live.directory.current.agent(id)?.name).toBe('written');
  });

  it('what is left out comes into force with the edit that makes room for it, on every node', async () => {
    const on = written(
      await desk.editor.create(OWNER, 'phoneNumber', { phoneNumber: '+7', credentialsId: 'fixed' }),
    );
    // The file loses the trunk of the number, and the store takes its place.
    const without = { agents: CONFIG.agents };
    const two = await open({ config: without });
    desk.live.configure(configPart(without));
    const known = (each: Desk): boolean => each.live.directory.current.numberById(on) !== undefined;
    expect([known(desk), known(two)]).toEqual([false, false]);
    expect(desk.live.problems).toMatchObject([{ kind: 'phoneNumber', id: on, leftOut: true }]);
    await desk.editor.create(OWNER, 'agent', { name: 'no help' });
    expect(desk.live.problems).toHaveLength(1);
    written(await desk.editor.create(OWNER, 'sipCredentials', trunk({ id: 'fixed' })));
    expect(known(desk)).toBe(true);
    expect(desk.live.problems).toEqual([]);
    await until('the other node too', () => known(two));
    expect(two.live.problems).toEqual([]);
  });

  it('passes over fields of a newer version and reports what it cannot read', async () => {
    const put = (id: string, fields: Document) =>
      ({
        kind: 'agent',
        id,
        expect: 'any',
        organizationId: 'acme',
        document: { fields, secrets: {} },
      }) as const;
    await desk.store.transaction([
      put('newer', { name: 'N', hologram: { on: true }, endpoints: [{ uri: 'sip:a@b', smell: 1 }] }),
      put('broken', { endpoints: 'nowhere' }),
      { kind: 'agent', id: 'strange', expect: 'any', organizationId: 'acme', document: { fields: 7 } },
    ]);
    await until('it is read', () => desk.live.directory.current.agent('newer') !== undefined, 2_000);
    expect(desk.live.directory.current.agent('newer')?.endpoints).toHaveLength(1);
    expect(desk.live.directory.current.agent('broken')).toBeUndefined();
    expect(desk.live.directory.current.agent('strange')?.name).toBe('strange');
    expect(desk.live.problems.map(({ id }) => id)).toEqual(['broken']);
    written(await desk.editor.update(ACME, 'agent', 'broken', { endpoints: [] }));
    expect(desk.live.problems).toEqual([]);
  });
});
