/** Two gateways on one Redis: what one is told is in force on the other, and either may go at any moment. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Answer, askAt, itemsOf, type Made, madeBy } from '../kit/ask.js';
import { API_TOKEN, Gateway, type GatewayConfig } from '../kit/gateway.js';
import { freePorts } from '../kit/ports.js';
import { Program, ROOT, until } from '../kit/processes.js';
import { RedisServer } from '../kit/redis.js';
import { Sipp } from '../kit/sipp.js';
import { QUICK } from './quick.js';

/** Far more than the second that is promised: other programs run on this machine. */
const SOON_MS = 10_000;
const NUMBER = '+14155550100';
const ACME_NUMBER = '+442079460000';
/** Calls of the default organisation's carrier come from 127.0.0.1, those of acme's from there. */
const ACME_CARRIER = '127.0.0.2';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

let redis: RedisServer;
let env: Record<string, string>;
let agentPort: number;
let acmePort: number;

beforeEach(async () => {
  redis = await RedisServer.start();
  closing.push(() => redis.stop());
  env = { TRUNKLINE_SECRET_KEY: randomBytes(32).toString('base64') };
  [agentPort = 0, acmePort = 0] = await freePorts(2);
});

async function node(config: GatewayConfig = {}): Promise<Gateway> {
  const gateway = await Gateway.start({
    env,
    config: {
      ...QUICK,
      store: { kind: 'redis' },
      redis: { url: redis.url },
      sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
      phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'sales' }],
      agents: [{ id: 'sales', endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }] }],
      ...config,
    },
  });
  closing.push(() => gateway.stop('SIGKILL'));
  return gateway;
}

/** Rejects when there is nobody to answer. */
function ask(
  gateway: Gateway,
  method: string,
  path: string,
  body?: unknown,
  token = API_TOKEN,
): Promise<Answer> {
  return askAt(`http://127.0.0.1:${gateway.httpPort}`, path, { method, body, token });
}

async function made(...args: Parameters<typeof ask>): Promise<Made> {
  return madeBy(await ask(...args));
}

/** Waits until the answer is as wanted. */
async function soon(what: string, args: Parameters<typeof ask>, wanted: (told: Answer) => boolean) {
  let last: Answer | undefined;
  await until(
    () => `${what}; ${args[1]} ${args[2]} tells ${JSON.stringify(last)}`,
    async () => {
      last = await ask(...args);
      return wanted(last);
    },
    SOON_MS,
  );
}

async function command(gateway: Gateway, ...args: string[]): Promise<string> {
  const program = new Program(
    'manage',
    process.execPath,
    [join(ROOT, 'dist/manage.js'), ...args, '--config', gateway.configPath],
    { env: { ...process.env, ...env } },
  );
  expect((await program.exited).code, program.tail).toBe(0);
  return program.stdout.trim();
}

async function call(gateway: Gateway, service: string, port: number, address: string): Promise<void> {
  const agent = await Sipp.start({ scenario: 'uas/answered', port, pauseMs: 0 });
  closing.push(() => agent.stop());
  const caller = await Sipp.start({
    scenario: 'uac/answered',
    to: gateway.port,
    service,
    address,
    pauseMs: 0,
  });
  await Promise.all([caller.succeed(1), agent.succeed(1)]);
}

test('an edit on one node is in force on the other, and organisations stay apart on both', async () => {
  const [one, two] = await Promise.all([node(), node()]);
  await made(one, 'POST', '/organizations', { id: 'acme', name: 'Acme' });
  const token = await command(one, 'token', 'create', '--name', 'acme', '--organization', 'acme');
  await soon(
    'the token counts on the other node',
    [two, 'GET', '/agents', undefined, token],
    ({ status }) => status === 200,
  );

  // What happens to acme's calls is told to acme only.
  const heard = { acme: '', default: '' };
  for (const [who, bearer] of [
    ['acme', token],
    ['default', API_TOKEN],
  ] as const) {
    const abort = new AbortController();
    closing.push(() => abort.abort());
    const stream = await fetch(`http://127.0.0.1:${two.httpPort}/api/v1/events`, {
      headers: { authorization: `Bearer ${bearer}` },
      signal: abort.signal,
    });
    void (async () => {
      for await (const part of stream.body!) heard[who] += Buffer.from(part).toString();
    })().catch((error: unknown) => {
      if (!abort.signal.aborted) throw error;
    });
  }

  const trunk = await made(
    one,
    'POST',
    '/sip-credentials',
    {
      server: 'sip.acme.example',
      authUser: 'a',
      authPassword: 'open-sesame',
      allowedAddresses: [ACME_CARRIER],
    },
    token,
  );
  const agent = await made(
    one,
    'POST',
    '/agents',
    { name: 'Acme', endpoints: [{ uri: `sip:agent@127.0.0.1:${acmePort}` }] },
    token,
  );
  const number = await made(
    one,
    'POST',
    '/phone-numbers',
    { phoneNumber: ACME_NUMBER, credentialsId: trunk.id, inboundAgentId: agent.id },
    token,
  );
  await soon(
    'the number is there',
    [two, 'GET', `/phone-numbers/${number.id}`, undefined, token],
    ({ status }) => status === 200,
  );
  await call(two, ACME_NUMBER, acmePort, ACME_CARRIER);
  await call(one, ACME_NUMBER, acmePort, ACME_CARRIER);
  // Back the other way.
  expect((await ask(two, 'PATCH', `/agents/${agent.id}`, { enabled: false }, token)).status).toBe(200);
  await soon(
    'it is disabled',
    [one, 'GET', `/agents/${agent.id}`, undefined, token],
    ({ body }) => body.enabled === false,
  );
  const refused = await Sipp.start({
    scenario: 'uac/agent-disabled',
    to: one.port,
    service: ACME_NUMBER,
    address: ACME_CARRIER,
  });
  await refused.succeed(1);

  await until('acme has heard of the end', () => heard.acme.includes('call.ended'), SOON_MS);
  await call(two, NUMBER, agentPort, '127.0.0.1');
  await until('the others have heard of theirs', () => heard.default.includes('call.ended'), SOON_MS);
  expect(heard.acme).not.toContain(NUMBER);
  expect(heard.default).not.toContain(ACME_NUMBER);
  const paths = {
    trunk: `/sip-credentials/${trunk.id}`,
    agent: `/agents/${agent.id}`,
    number: `/phone-numbers/${number.id}`,
  };
  for (const gateway of [one, two]) {
    for (const path of Object.values(paths)) {
      expect((await ask(gateway, 'GET', path)).status, path).toBe(404);
      expect((await ask(gateway, 'PATCH', path, { description: 'taken' })).status, path).not.toBe(200);
      expect((await ask(gateway, 'DELETE', `${path}?force=true`)).status, path).toBe(404);
    }
    // The trunk of another is no trunk.
    const [others, none] = [trunk.id, 'trunk_none'].map((credentialsId) =>
      ask(gateway, 'POST', '/phone-numbers', { phoneNumber: '+15550001111', credentialsId }),
    );
    const told = [(await others!).body, (await none!).body].map((body) =>
      JSON.stringify(body.errors ?? body),
    );
    expect(told[0]!.replaceAll(trunk.id, 'ID')).toBe(told[1]!.replaceAll('trunk_none', 'ID'));
    for (const list of [
      '/sip-credentials',
      '/sip-trunks',
      '/agents',
      '/phone-numbers',
      '/calls',
      '/tokens',
      '/audit',
      '/cps-keys',
      '/organizations',
    ]) {
      const ours = await ask(gateway, 'GET', list, undefined, token);
      expect(ours.status, list).toBe(200);
      for (const foreign of ['"carrier"', '"sales"', NUMBER]) expect(ours.text, list).not.toContain(foreign);
      if (list === '/organizations') continue;
      const theirs = await ask(gateway, 'GET', list);
      expect(theirs.status, list).toBe(200);
      for (const foreign of [trunk.id, agent.id, number.id, ACME_NUMBER])
        expect(theirs.text, list).not.toContain(foreign);
    }
  }
  expect((await ask(one, 'GET', paths.trunk, undefined, token)).body).toMatchObject({
    description: null,
    hasPassword: true,
  });
  expect((await ask(one, 'DELETE', `/tokens/${token.split('_')[1]}`, undefined, token)).status).toBe(204);
  await soon(
    'the token is refused',
    [two, 'GET', '/agents', undefined, token],
    ({ status }) => status === 401,
  );
});

/** What a writer has been told is done. */
interface Done {
  readonly trunks: Set<string>;
  readonly numbers: Map<string, string>;
  readonly removed: Set<string>;
  /** Trunks whose removal was asked for. */
  readonly leaving: Set<string>;
  failures: number;
}

test('a node may be stopped or killed at any moment while both write and the other carries calls', {
  timeout: 180_000,
}, async () => {
  const steady = await node();
  const seconds = 20;
  const agentSide = await Sipp.start({ scenario: 'uas/load', port: agentPort, calls: 10 * seconds });
  closing.push(() => agentSide.stop());
  const callerSide = await Sipp.start({
    scenario: 'uac/load',
    to: steady.port,
    service: NUMBER,
    calls: 10 * seconds,
    rate: 10,
    pauseMs: 500,
  });
  closing.push(() => callerSide.stop());

  const done: Done = {
    trunks: new Set(),
    numbers: new Map(),
    removed: new Set(),
    leaving: new Set(),
    failures: 0,
  };
  let next = 15550000000;
  /** Writes until it is told to stop; what fails was perhaps done, what succeeds was. */
  async function write(gateway: Gateway, going: () => boolean): Promise<void> {
    const attempt = async (...args: Parameters<typeof ask>): Promise<Answer | undefined> => {
      const told = await ask(...args).catch(() => undefined);
      if (told !== undefined && told.status < 300) return told;
      if (told !== undefined && told.status !== 503)
        throw new Error(`${args[1]} ${args[2]}: ${JSON.stringify(told)}`);
      done.failures++;
      return undefined;
    };
    for (let round = 0; going(); round++) {
      const trunk = await attempt(gateway, 'POST', '/sip-credentials', {
        server: 'sip.provider.example',
        authUser: 'u',
        authPassword: `secret ${round}`,
      });
      if (trunk === undefined) continue;
      const { id } = madeBy(trunk);
      done.trunks.add(id);
      for (let n = 0; n < 3; n++) {
        const fields = { phoneNumber: `+${next++}`, credentialsId: id, inboundAgentId: 'sales' };
        const number = await attempt(gateway, 'POST', '/phone-numbers', fields);
        if (number !== undefined) done.numbers.set(madeBy(number).id, id);
      }
      if (round % 3 > 0) continue;
      done.leaving.add(id);
      if (await attempt(gateway, 'DELETE', `/sip-credentials/${id}?force=true`)) done.removed.add(id);
    }
  }
  let ended = false;
  const steadily = write(steady, () => !ended);
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL', 'SIGTERM'] as const) {
    const mortal = await node();
    const before = done.trunks.size;
    const writing = write(mortal, () => mortal.program.exit === undefined);
    await until('it writes', () => done.trunks.size > before + 5, 20_000);
    await delay(Math.random() * 300);
    const exit = await mortal.stop(signal);
    if (signal === 'SIGTERM') expect(exit, mortal.program.tail).toEqual({ code: 0, signal: null });
    await writing;
  }
  ended = true;
  await steadily;
  expect(done.failures).toBeGreaterThan(0);
  expect(done.removed.size).toBeGreaterThan(0);

  await Promise.all([callerSide.succeed(10 * seconds), agentSide.succeed(10 * seconds)]);
  const fresh = await node();
  const all = async (gateway: Gateway, path: string): Promise<Made[]> => {
    const found: Made[] = [];
    for (let cursor = ''; ; ) {
      const list = await ask(gateway, 'GET', `${path}?limit=500${cursor}`);
      found.push(...itemsOf(list));
      const { nextCursor } = list.body;
      expect(nextCursor).toBeDefined();
      if (typeof nextCursor !== 'string') return found.filter(({ source }) => source === 'manual');
      cursor = `&cursor=${encodeURIComponent(nextCursor)}`;
    }
  };
  const [trunks, numbers] = await Promise.all([all(fresh, '/sip-credentials'), all(fresh, '/phone-numbers')]);
  // Both know the same, and what a fresh one reads is what the other has followed.
  await until(
    'both know the same',
    async () =>
      JSON.stringify([await all(steady, '/sip-credentials'), await all(steady, '/phone-numbers')]) ===
      JSON.stringify([trunks, numbers]),
    SOON_MS,
  );
  const there = new Set(trunks.map(({ id }) => id));
  for (const id of done.trunks) {
    if (done.removed.has(id)) expect(there.has(id), `${id} is gone`).toBe(false);
    else if (!done.leaving.has(id)) expect(there.has(id), `${id} is there`).toBe(true);
  }
  for (const { id, credentialsId } of numbers)
    expect(there.has(String(credentialsId)), `the trunk of ${id}`).toBe(true);
  const found = new Set(numbers.map(({ id }) => id));
  for (const [id, trunkId] of done.numbers) expect(found.has(id), id).toBe(there.has(trunkId));
  // Whose numbers could not be put on a trunk would be left out, and named here.
  const status = await command(fresh, 'store', 'status');
  expect(status).toContain(`sipCredentials ${trunks.length}`);
  expect(status).toContain(`phoneNumber ${numbers.length}`);
  expect(status).not.toMatch(/left out|not wholly in force/);
});

test('what an organisation may call in a day, it may over both nodes together', async () => {
  const bounded: GatewayConfig = {
    organizations: [{ id: 'default', limits: { callsPerDay: 3 } }],
    phoneNumbers: [{ id: 'main', phoneNumber: NUMBER, credentialsId: 'carrier' }],
    agents: [
      {
        id: 'sales',
        endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }],
        outboundNumberId: 'main',
      },
    ],
  };
  const [one, two] = await Promise.all([node(bounded), node(bounded)]);
  // Nobody answers for the agent; that they were made counts.
  const order = (gateway: Gateway): Promise<Answer> =>
    ask(gateway, 'POST', '/calls', { agentId: 'sales', to: ACME_NUMBER });
  const explain = '/routes/explain?direction=outbound&agentId=sales&to=%2B442079460000';
  const used = (told: Answer): string => /\d+ today of 3/.exec(told.text)?.[0] ?? told.text;
  for (const [n, gateway] of [one, two, one].entries()) {
    expect((await order(gateway)).status).toBe(202);
    for (const each of [one, two])
      await soon(`${n + 1} calls`, [each, 'GET', explain], (told) => used(told).startsWith(`${n + 1} `));
  }
  for (const gateway of [one, two]) {
    const refused = await order(gateway);
    expect(refused.body.code).toBe('organization_day_limit');
  }
});
