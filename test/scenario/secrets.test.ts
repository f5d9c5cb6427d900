/**
 * Secrets with marks go every way that secrets go, through the real process and its commands. Afterwards no mark is
 * anywhere but where it belongs: not in logs, answers, metrics, events, records, databases, back-ups, nor on the wire.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Canaries } from '../kit/canaries.js';
import { createAuthority } from '../kit/certificates.js';
import { Gateway } from '../kit/gateway.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { freePorts } from '../kit/ports.js';
import { Program, ROOT, temporaryFolder, until } from '../kit/processes.js';
import { RedisServer } from '../kit/redis.js';
import { type HeaderLines, Message, SDP, unique } from '../kit/sip-message.js';
import { hopByHop, SipPeer } from '../kit/sip-peer.js';
import { Sipp } from '../kit/sipp.js';
import { TcpRelay } from '../kit/tcp-relay.js';
import { TWILIO_ACCOUNT, TWILIO_MISSING, TWILIO_TOKEN, twilioServer } from '../kit/twilio.js';
import { QUICK } from './quick.js';

const NUMBER = '+14155550100';
const FILED_NUMBER = '+14155550111';
/** Of PBXs that call with a password: by the file, by the API. */
const PBX_NUMBER = '+14155550133';
const ROAMING_NUMBER = '+14155550134';
const CALLEE = '+15551230000';
/** No secret: it shows that a place was really looked at. */
const PUBLIC = 'everybody-may-read-this';

/** Everything that a password may be made of and a Kamailio script may quote. */
const mark = (): string => `m4rk ${randomBytes(9).toString('hex')}+@~`;

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

test('the look-out sees a secret however it is written', () => {
  const secret = 'p"ss wörd/+&%?@~end';
  for (const written of [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams({ password: secret, next: '1' }).toString(),
    JSON.stringify({ password: secret }),
    ...['', 'a:', 'ab:', 'abc:'].flatMap((user) =>
      (['base64', 'base64url', 'hex'] as const).map((how) =>
        Buffer.from(`${user}${secret} and more`).toString(how),
      ),
    ),
  ]) {
    const canaries = new Canaries();
    canaries.add('password', secret);
    canaries.look('here', `something ${written} something`);
    expect(canaries.seen, written).not.toEqual([]);
  }
});

/** What is secret of a token: the rest is its id. */
const partOf = (token: string): string => token.replace(/^tl_[a-z2-7]{16}_/, '');

/** What is gathered, until all secrets are known. */
class Bag {
  readonly things: [place: string, content: string | Buffer][] = [];

  add(place: string, content: string | Buffer): void {
    this.things.push([place, content]);
  }

  /** Of all things whose place begins so, those that hold the text. */
  holds(place: string, text: string): boolean {
    return this.things.some(([where, content]) => where.startsWith(place) && content.includes(text));
  }
}

describe.each(['sqlite', 'redis'] as const)('with the store in %s', (kind) => {
  let secrets: Record<
    | 'filedTrunk'
    | 'filedAgent'
    | 'wrongTrunk'
    | 'trunk'
    | 'account'
    | 'inbound'
    | 'wrongInbound'
    | 'filedInbound'
    | 'trunkInbound'
    | 'wrongTrunkInbound'
    | 'administrator'
    | 'wrongToken'
    | 'redis'
    | 'wrongRedis'
    | 'faulty',
    string
  >;
  let canaries: Canaries;
  let bag: Bag;
  let folder: string;
  let redis: RedisServer;
  let registrar: KamailioRegistrar;
  let calleePort: number;
  let agentPort: number;
  let relay: TcpRelay;
  let receiver: Server;

  beforeEach(async () => {
    canaries = new Canaries();
    bag = new Bag();
    const made = (name: string): string => canaries.add(name, mark());
    secrets = {
      filedTrunk: made('password of a trunk of the file'),
      filedAgent: made('password of an account of the file'),
      wrongTrunk: made('wrong password of a trunk'),
      trunk: made('password of a trunk'),
      account: made('password of an account of an agent'),
      inbound: made('password of an agent that calls'),
      wrongInbound: made('wrong password of an agent that calls'),
      filedInbound: made('password of calls by a trunk of the file'),
      trunkInbound: made('password of calls by a trunk'),
      wrongTrunkInbound: made('wrong password of calls by a trunk'),
      administrator: canaries.add('token of the administrator', randomBytes(16).toString('hex')),
      wrongToken: canaries.add('wrong token', randomBytes(16).toString('hex')),
      redis: canaries.add('password of Redis', `m4rk:${randomBytes(9).toString('hex')}/@`),
      wrongRedis: canaries.add('wrong password of Redis', `m4rk:${randomBytes(9).toString('hex')}/@`),
      faulty: made('password among faults'),
    };
    folder = temporaryFolder('secrets');
    [calleePort = 0, agentPort = 0] = await freePorts(2);
    redis = await RedisServer.start();
    closing.push(() => redis.stop());
    await redis.command('ACL', 'SETUSER', 'trunkline', 'on', `>${secrets.redis}`, '~*', '&*', '+@all');
    registrar = await KamailioRegistrar.start({
      users: {
        acme: secrets.trunk,
        filed: secrets.filedTrunk,
        desk: secrets.account,
        pbx: secrets.filedAgent,
      },
      outboundPort: calleePort,
    });
    closing.push(() => registrar.stop());
    relay = await TcpRelay.open(registrar.port, (octets) => bag.add('wire', octets));
    closing.push(() => relay.close());
    receiver = createServer((request, response) => {
      let body = '';
      request.on('data', (part) => {
        body += part;
      });
      request.on('end', () => {
        bag.add('webhook', `${request.rawHeaders.join('\n')}\n${body}`);
        response.writeHead(204).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    closing.push(() => {
      receiver.closeAllConnections();
      receiver.close();
    });
  });

  const redisUrl = (password: string): string =>
    `redis://trunkline:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`;

  const environment = (): Record<string, string> => ({
    FILED_TRUNK: secrets.filedTrunk,
    FILED_AGENT: secrets.filedAgent,
    FILED_INBOUND: secrets.filedInbound,
    FAULTY: secrets.faulty,
  });

  /** Runs a command of ours to its end; what it says goes into the bag, but for what it must say once. */
  async function command(
    script: 'main.js' | 'manage.js',
    args: readonly string[],
    shows?: RegExp,
  ): Promise<{ readonly code: number | null; readonly out: string }> {
    const program = new Program(script, process.execPath, [join(ROOT, 'dist', script), ...args], {
      cwd: folder,
      env: { ...process.env, ...environment() },
    });
    const { code } = await program.exited;
    const said = `${program.stdout}${program.stderr}`;
    bag.add(`command ${args.slice(0, 2).join(' ')}`, shows === undefined ? said : said.replace(shows, ''));
    return { code, out: program.stdout };
  }

  interface Asking {
    readonly method?: string;
    readonly body?: unknown;
    /** The body as it is. */
    readonly text?: string;
    readonly token?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly status?: number;
    /** A field of the answer that shows a secret this once. */
    readonly shows?: string;
  }

  async function asker(gateway: Gateway) {
    return async (path: string, how: Asking = {}): Promise<Record<string, unknown>> => {
      const { method = 'GET', token = secrets.administrator } = how;
      const body = how.text ?? (how.body === undefined ? undefined : JSON.stringify(how.body));
      const response = await fetch(`http://127.0.0.1:${gateway.httpPort}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...how.headers,
        },
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.text();
      const fields: Record<string, unknown> =
        response.headers.get('content-type')?.includes('json') && text !== '' ? JSON.parse(text) : {};
      let shown = `${response.status} ${JSON.stringify([...response.headers])}\n${text}`;
      if (how.shows !== undefined) {
        const secret = String(fields[how.shows]);
        expect(secret.length).toBeGreaterThan(20);
        // Of a token the part behind its id says everything.
        canaries.add(`${how.shows} that ${method} ${path} made`, partOf(secret));
        shown = shown.replace(secret, '');
      }
      bag.add(`answer to ${method} ${path}`, shown);
      if (how.status !== undefined) expect(response.status, `${method} ${path}: ${text}`).toBe(how.status);
      else if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return fields;
    };
  }

  test('no secret is where it does not belong', { timeout: 180_000 }, async () => {
    const authority = createAuthority();
    const client = authority.issue('client', ['DNS:localhost']);
    const clientKey = readFileSync(client.keyFile, 'utf8');
    canaries.add('private key', clientKey.split('\n')[1]!);
    canaries.add('authToken of Twilio', TWILIO_TOKEN);
    const twilio = TWILIO_MISSING === '' ? twilioServer() : undefined;
    const twilioUrl = await twilio?.start();
    if (twilio !== undefined) closing.push(() => twilio.stop());

    const config = {
      ...QUICK,
      log: { level: 'debug', format: 'json' },
      cdr: { path: join(folder, 'calls.jsonl') },
      http: { token: secrets.administrator },
      store: { kind, path: join(folder, 'trunkline.db'), secretKeyFile: join(folder, 'secret-key') },
      redis: { url: redisUrl(secrets.redis) },
      webhooks: { allowedAddresses: ['127.0.0.1'] },
      ...(twilioUrl === undefined
        ? {}
        : { providers: { twilio: { apiUrl: twilioUrl, trunkingUrl: twilioUrl } } }),
      sipCredentials: [
        { id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.2'], description: PUBLIC },
        {
          id: 'filed',
          server: `127.0.0.1:${relay.port}`,
          transport: 'tcp',
          authUser: 'filed',
          authPassword: '${FILED_TRUNK}',
          domain: 'registrar.test',
        },
        {
          id: 'filed-pbx',
          server: 'pbx.example',
          inboundAuth: { username: 'filed-pbx', password: '${FILED_INBOUND}' },
        },
      ],
      phoneNumbers: [
        { phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'sales' },
        { phoneNumber: FILED_NUMBER, credentialsId: 'filed', registration: true },
        { phoneNumber: PBX_NUMBER, credentialsId: 'filed-pbx', inboundAgentId: 'sales' },
      ],
      agents: [
        {
          id: 'sales',
          endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }],
          outboundNumberId: FILED_NUMBER,
        },
        {
          id: 'pbx',
          sipRegistration: {
            domain: 'registrar.test',
            proxy: `127.0.0.1:${relay.port}`,
            transport: 'tcp',
            username: 'pbx',
            password: '${FILED_AGENT}',
          },
        },
      ],
    };
    const gateway = await Gateway.start({ config, env: environment() });
    closing.push(() => gateway.stop('SIGKILL'));
    const ask = await asker(gateway);

    // What is told while all the rest happens.
    const stream = new AbortController();
    closing.push(() => stream.abort());
    const events = await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/events`, {
      headers: { authorization: `Bearer ${secrets.administrator}` },
      signal: stream.signal,
    });
    const heard = (async () => {
      for await (const part of events.body!) bag.add('events', Buffer.from(part));
    })().catch((error: unknown) => {
      if (!stream.signal.aborted) throw error;
    });
    const hook = await ask('/api/v1/webhooks', {
      method: 'POST',
      body: {
        url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`,
        events: ['*'],
        description: PUBLIC,
      },
      shows: 'secret',
    });
    const { token, id: tokenId } = (await ask('/api/v1/tokens', {
      method: 'POST',
      body: { name: PUBLIC, scopes: ['read', 'write', 'calls'] },
      shows: 'token',
    })) as { token: string; id: string };

    // Registration: a wrong password, then the right one.
    const trunkFields = {
      server: `127.0.0.1:${relay.port}`,
      transport: 'tcp',
      authUser: 'acme',
      domain: 'registrar.test',
      description: PUBLIC,
    };
    const key = { 'idempotency-key': unique('canary') };
    const trunk = await ask('/api/v1/sip-credentials', {
      method: 'POST',
      token,
      headers: key,
      body: { ...trunkFields, authPassword: secrets.wrongTrunk },
    });
    await ask('/api/v1/sip-credentials', {
      method: 'POST',
      token,
      headers: key,
      body: { ...trunkFields, authPassword: secrets.wrongTrunk },
      status: 201,
    });
    await ask('/api/v1/sip-credentials', {
      method: 'POST',
      token,
      headers: key,
      body: { ...trunkFields, authPassword: secrets.trunk },
      status: 422,
    });
    const trunkPath = `/api/v1/sip-credentials/${trunk.id}`;
    await ask('/api/v1/phone-numbers', {
      method: 'POST',
      body: { phoneNumber: '+14155550122', credentialsId: trunk.id, registration: true },
    });
    const stateOf = async (user: string): Promise<unknown> => {
      const { items } = (await ask('/api/v1/registrations')) as { items: { aor: string; state: string }[] };
      return items.find(({ aor }) => aor.includes(`${user}@`))?.state;
    };
    await until('the wrong password is rejected', async () => (await stateOf('acme')) === 'auth_rejected');
    await ask(trunkPath, {
      method: 'PATCH',
      headers: { 'if-match': '"no"' },
      body: { authPassword: secrets.trunk },
      status: 412,
    });
    await ask(trunkPath, { method: 'PATCH', body: { authPassword: secrets.trunk } });
    await registrar.bound('acme');
    await ask(`${trunkPath}/test`, { method: 'POST' });
    for (const authPassword of [secrets.trunk, secrets.wrongTrunk])
      await ask('/api/v1/sip-credentials/test', { method: 'POST', body: { ...trunkFields, authPassword } });
    await ask('/api/v1/sip-credentials', {
      method: 'POST',
      body: {
        server: `localhost:${relay.port}`,
        transport: 'tls',
        description: PUBLIC,
        tls: { clientCert: readFileSync(client.certFile, 'utf8'), clientKey, verify: false },
        optionsPing: { intervalSeconds: 1 },
      },
    });
    await ask('/api/v1/sip-trunks', {
      method: 'POST',
      body: { name: PUBLIC, host: '127.0.0.1', port: 5099, username: 'transfers', password: secrets.trunk },
    });
    const agent = await ask('/api/v1/agents', {
      method: 'POST',
      body: {
        name: 'Caller',
        inboundAuth: { username: 'caller', password: secrets.inbound },
        outboundNumberId: FILED_NUMBER,
      },
    });
    const pbx = await ask('/api/v1/sip-credentials', {
      method: 'POST',
      body: {
        server: 'roaming.example',
        inboundAuth: { username: 'roaming', password: secrets.wrongTrunkInbound },
      },
    });
    await ask(`/api/v1/sip-credentials/${pbx.id}`, {
      method: 'PATCH',
      body: { inboundAuth: { password: secrets.trunkInbound } },
    });
    await ask('/api/v1/phone-numbers', {
      method: 'POST',
      body: { phoneNumber: ROAMING_NUMBER, credentialsId: pbx.id, inboundAgentId: 'sales' },
    });
    const accountPath = `/api/v1/agents/${agent.id}/sip-registration`;
    const account = {
      domain: 'registrar.test',
      proxy: `127.0.0.1:${relay.port}`,
      transport: 'tcp',
      username: 'desk',
      password: secrets.account,
    };
    await ask(accountPath, { method: 'PUT', body: account });
    for (const user of ['desk', 'pbx', 'filed']) await registrar.bound(user);

    // A provider whose API takes the token in Basic authentication.
    if (twilio !== undefined) {
      const provider = {
        type: 'twilio',
        accountSid: TWILIO_ACCOUNT,
        authToken: TWILIO_TOKEN,
        originationUri: 'sip:198.51.100.7:5060',
      };
      const wrong = { ...provider, authToken: secrets.wrongToken };
      await ask('/api/v1/providers', { method: 'POST', body: wrong, status: 400 });
      const { id } = await ask('/api/v1/providers', { method: 'POST', body: provider });
      await ask(`/api/v1/providers/${id}/available-numbers`);
      twilio.upset({
        method: 'GET',
        path: '/IncomingPhoneNumbers',
        with: { status: 400, body: { code: 21_000, message: 'no' } },
      });
      await ask(`/api/v1/providers/${id}/available-numbers`, { status: 502 });
    }

    // What is refused.
    const faulty = secrets.faulty;
    const post = (path: string, body: unknown, status = 400): Promise<unknown> =>
      ask(`/api/v1${path}`, { method: 'POST', body, status });
    await post('/sip-credentials', {
      server: `sip:acme:${faulty}@sip.example`,
      authUser: 'a',
      authPassword: faulty,
    });
    await post('/sip-credentials', { server: 'sip.example', authUser: 'a', authPassword: [faulty] });
    await post('/sip-credentials', {
      server: 'sip.example',
      authPassword: faulty,
      transport: faulty,
      country: faulty,
    });
    await post('/sip-credentials', {
      server: 'sip.example',
      domain: faulty,
      fromDomain: faulty,
      cpsLimit: faulty,
    });
    await post('/sip-credentials', { server: 'sip.example', tls: { clientKey: faulty, ca: faulty } });
    await post('/sip-credentials', {
      server: 'sip.example',
      headers: { Authorization: faulty, 'X-Odd': `${faulty}\r\n` },
    });
    await post('/sip-credentials', {
      server: 'sip.example',
      authUser: 'a',
      authPassword: faulty.repeat(3_000),
    });
    await post('/sip-trunks', {
      name: 'x',
      host: '127.0.0.1',
      port: faulty,
      username: 'u',
      password: faulty,
    });
    await post('/agents', { name: 'x', inboundAuth: { username: 'caller', password: faulty } }, 409);
    await post('/agents', { name: 'x', inboundAuth: { password: faulty } });
    const taken = { username: 'caller', password: faulty };
    await post('/sip-credentials', { server: 'sip.example', inboundAuth: taken }, 409);
    await post('/sip-credentials', { server: 'sip.example', inboundAuth: { ...taken, realm: faulty } });
    await post('/sip-credentials', { server: 'sip.example', inboundAuth: faulty });
    await post('/agents', { name: 'x', endpoints: [{ uri: `sip:a:${faulty}@` }] });
    await post('/webhooks', { url: `http://user:${encodeURIComponent(faulty)}@127.0.0.1/`, events: ['*'] });
    await post('/providers', {
      type: 'twilio',
      accountSid: faulty,
      authToken: faulty,
      originationUri: faulty,
    });
    await post('/tokens', { name: 'x', scopes: [faulty] });
    await post('/sip-credentials/test', { server: `a:${faulty}`, authPassword: faulty });
    await ask('/api/v1/agents/none/sip-registration', { method: 'PUT', body: account, status: 404 });
    await ask(accountPath, {
      method: 'PUT',
      body: { ...account, port: faulty, xDestUser: faulty },
      status: 400,
    });
    const broken = `{"server":"sip.example","authPassword":"${faulty}`;
    await ask('/api/v1/sip-credentials', { method: 'POST', text: broken, status: 400 });
    await ask('/api/v1/sip-credentials', { method: 'POST', text: `${broken}" "${faulty}"}`, status: 400 });
    await ask('/api/v1/sip-credentials', {
      method: 'POST',
      text: `authPassword=${faulty}`,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      status: 415,
    });
    await ask('/api/v1/agents', { token: secrets.wrongToken, status: 401 });
    await ask('/api/v1/agents', {
      headers: { authorization: `Basic ${Buffer.from(`admin:${secrets.administrator}`).toString('base64')}` },
      status: 401,
    });
    await ask(`/api/v1/agents?token=${secrets.administrator}`, { status: 400 });
    await ask(`/api/v1/agents/${secrets.administrator}`, { status: 404 });
    await ask(`/nowhere?token=${secrets.administrator}`, { status: 404 });

    // Calls: in, out with a challenge, and of an agent that is challenged itself.
    const inbound = await Sipp.start({ scenario: 'uas/answered', port: agentPort, pauseMs: 0 });
    closing.push(() => inbound.stop());
    const caller = await Sipp.start({
      scenario: 'uac/answered',
      to: gateway.port,
      service: NUMBER,
      address: '127.0.0.2',
      pauseMs: 0,
    });
    await Promise.all([caller.succeed(1), inbound.succeed(1)]);
    const callee = await Sipp.start({ scenario: 'provider/answered-behind-proxy', port: calleePort });
    closing.push(() => callee.stop());
    const calling = await Sipp.start({
      scenario: 'agent/answered',
      to: gateway.port,
      port: agentPort,
      service: CALLEE,
    });
    await Promise.all([calling.succeed(1), callee.succeed(1)]);
    await login(gateway, {
      user: 'caller',
      right: secrets.inbound,
      wrong: secrets.wrongInbound,
      number: CALLEE,
      calleePort,
    });
    for (const [user, right, number] of [
      ['filed-pbx', secrets.filedInbound, PBX_NUMBER],
      ['roaming', secrets.trunkInbound, ROAMING_NUMBER],
    ] as const) {
      const wrong = secrets.wrongTrunkInbound;
      await login(gateway, { user, right, wrong, number, calleePort: agentPort });
      await ask(`/api/v1/routes/explain?to=${encodeURIComponent(number)}&username=${user}`);
    }

    // A reload with faults, one with another level and password, and commands on what is stored.
    const sound = readFileSync(gateway.configPath, 'utf8');
    const reload = async (text: string, said: string): Promise<void> => {
      const count = (): number => gateway.program.stdout.split(said).length;
      const before = count();
      writeFileSync(gateway.configPath, text);
      await until(
        () => `${said}. ${gateway.program.tail}`,
        () => count() > before,
      );
    };
    for (const text of faultyFiles(sound, faulty)) {
      await reload(text, 'the configuration was not reloaded');
      const file = join(folder, 'faulty.yaml');
      writeFileSync(file, text);
      expect((await command('main.js', ['--config', file, '--check'])).code).toBe(1);
    }
    await reload(`${sound}\ndrain: { timeoutSeconds: 7 }\n`, 'the configuration was reloaded');
    await reload(
      sound.replace(encodeURIComponent(secrets.redis), encodeURIComponent(secrets.wrongRedis)),
      'these changes wait for a restart',
    );
    expect((await command('main.js', ['--config', gateway.configPath, '--check'])).code).toBe(0);
    await reload(sound, 'the configuration was reloaded');
    const manage = (...args: string[]) => command('manage.js', [...args, '--config', gateway.configPath]);
    const saved = join(folder, 'saved.backup');
    expect((await manage('store', 'backup', saved)).code).toBe(0);
    expect((await manage('store', 'rotate-key')).code).toBe(0);
    expect((await manage('store', 'restore', saved)).code).toBe(0);
    expect((await manage('store', 'reseal')).code).toBe(0);
    expect((await manage('store', 'status')).code).toBe(0);
    const create = ['token', 'create', '--name', PUBLIC, '--config', gateway.configPath];
    const { out } = await command('manage.js', create, /tl_\S+/);
    canaries.add('token of the command', partOf(out.trim()));
    expect((await manage('token', 'list')).code).toBe(0);
    const second = join(folder, 'again.backup');
    expect((await manage('store', 'backup', second)).code).toBe(0);

    // Everything that can be read, the marked token itself still among those who read.
    await until('the token is known again', async () => {
      const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/agents`, {
        headers: { authorization: `Bearer ${token}` },
      });
      return response.ok;
    });
    await ask(`/api/v1/webhooks/${hook.id}/rotate-secret`, { method: 'POST', shows: 'secret' });
    for (const path of [
      ...['/healthz', '/readyz', '/metrics', '/api/v1/openapi.json', '/api/v1/sip-credentials', trunkPath],
      ...[`${trunkPath}/affected-agents`, '/api/v1/sip-trunks', '/api/v1/phone-numbers', '/api/v1/agents'],
      ...[`/api/v1/agents/${agent.id}`, accountPath, '/api/v1/tokens', `/api/v1/tokens/${tokenId}`],
      ...['/api/v1/webhooks', `/api/v1/webhooks/${hook.id}`, '/api/v1/dead-letters', '/api/v1/providers'],
      ...['/api/v1/organizations', '/api/v1/registrations', '/api/v1/targets', '/api/v1/cps-keys'],
      ...['/api/v1/calls', '/api/v1/audit?limit=500', '/api/v1/sip-credentials/filed', '/api/v1/agents/pbx'],
      `/api/v1/routes/explain?direction=outbound&agentId=sales&to=${encodeURIComponent(CALLEE)}`,
      `/api/v1/routes/explain?to=${encodeURIComponent(NUMBER)}&source=127.0.0.2`,
    ]) {
      await ask(path, { token: path.startsWith('/api') ? token : '' });
    }
    for (const address of ['healthz', 'readyz', 'metrics'] as const)
      expect(bag.holds(`answer to GET /${address}`, '200')).toBe(true);
    await ask(`${trunkPath}?force=true`, { method: 'DELETE' });

    // The power goes, and what is on disk is looked at.
    await until('the webhook has heard it', () => bag.holds('webhook', 'call.ended'));
    stream.abort();
    await heard;
    await readRedis();
    bag.add('records', readFileSync(join(folder, 'calls.jsonl')));
    await gateway.stop('SIGKILL');
    bag.add('log', `${gateway.program.stdout}\n${gateway.program.stderr}`);
    const files = readdirSync(folder).filter((name) => name !== 'faulty.yaml');
    for (const name of files) bag.add(`file ${name}`, readFileSync(join(folder, name)));
    const home = join(gateway.configPath, '..');
    for (const name of readdirSync(home, { recursive: true, withFileTypes: true })) {
      const file = join(name.parentPath, name.name);
      if (name.isFile() && file !== gateway.configPath) bag.add(`file ${file}`, readFileSync(file));
    }
    // A gateway that Redis does not let in says so.
    const shut = join(folder, 'shut.yaml');
    writeFileSync(
      shut,
      sound.replace(encodeURIComponent(secrets.redis), encodeURIComponent(secrets.wrongRedis)),
    );
    if (kind === 'redis') {
      const { code } = await command('main.js', ['--config', shut]);
      expect(code).toBe(1);
    }

    for (const [place, content] of bag.things) canaries.look(place, content);
    expect(canaries.seen).toEqual([]);

    // None of that would mean anything if the places had been empty.
    expect(bag.holds('wire', 'Digest username="acme"')).toBe(true);
    expect(bag.holds('wire', 'INVITE sip:')).toBe(true);
    expect(bag.holds('records', CALLEE)).toBe(true);
    expect(bag.holds('events', 'registration.changed')).toBe(true);
    expect(bag.holds('log', '"level":"debug"')).toBe(true);
    expect(bag.holds('answer to GET /api/v1/audit', String(trunk.id))).toBe(true);
    expect(bag.holds('file saved.backup', PUBLIC)).toBe(true);
    if (kind === 'sqlite') {
      expect(files).toEqual(expect.arrayContaining(['trunkline.db', 'trunkline.db-wal', 'trunkline.db-shm']));
      expect(bag.holds('file trunkline.db', PUBLIC)).toBe(true);
    } else {
      for (const place of ['Redis value', 'Redis file']) expect(bag.holds(place, PUBLIC), place).toBe(true);
      expect(bag.holds('command --config', 'WRONGPASS')).toBe(true);
    }
    const hash = createHash('sha256').update(partOf(token)).digest('hex');
    expect(bag.holds(kind === 'sqlite' ? 'file trunkline.db' : 'Redis value', hash)).toBe(true);
  });

  /** An agent or a trunk shows a wrong password, then the right one; the callee is busy. */
  async function login(
    gateway: Gateway,
    how: {
      readonly user: string;
      readonly right: string;
      readonly wrong: string;
      readonly number: string;
      readonly calleePort: number;
    },
  ): Promise<void> {
    const { user, right, wrong, number } = how;
    const callee = await SipPeer.open('udp', { port: how.calleePort });
    const peer = await SipPeer.open('udp', { host: '127.0.0.9' });
    closing.push(() => callee.close());
    closing.push(() => peer.close());
    const to = { host: '127.0.0.1', port: gateway.port };
    const uri = `sip:${number}@127.0.0.1:${gateway.port}`;
    const way = await peer.way(to);
    const common = { method: 'INVITE', to, uri, fromTag: 'a', callId: unique('canary'), body: SDP };
    const invite = async (cseq: number, status: number, authorization?: string) => {
      // As long as telephones' are: a stranger's answer is never longer than what it sent.
      const headers: HeaderLines = [
        ['Allow', 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY'],
        ['Supported', 'replaces, timer, norefersub, outbound, path, gruu'],
        ['User-Agent', 'canary/1.0 (in a cage, of brass)'],
        ...(authorization === undefined ? [] : [['Authorization', authorization] as const]),
      ];
      const octets = peer.request({ ...common, cseq, headers });
      way.send(octets);
      const final = await peer.expect(status);
      way.send(hopByHop('ACK', new Message(octets), final.header('To')));
      return final;
    };
    const nonce = /nonce="([^"]+)"/.exec((await invite(1, 401)).header('WWW-Authenticate'))?.[1] ?? '';
    const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
    const answer = (password: string, nc: string): string => {
      const inner = sha(`${user}:trunkline:${password}`);
      const response = sha(`${inner}:${nonce}:${nc}:0a4f:auth:${sha(`INVITE:${uri}`)}`);
      return `Digest username="${user}",realm="trunkline",nonce="${nonce}",uri="${uri}",response="${response}",algorithm=SHA-256,qop=auth,nc=${nc},cnonce="0a4f"`;
    };
    await invite(2, 403, answer(wrong, '00000001'));
    // What a client that misunderstands Digest would send.
    await invite(3, 401, `Basic ${Buffer.from(`${user}:${right}`).toString('base64')}`);
    const busy = callee.expect('INVITE').then((request) => callee.respond(request, 486, 'Busy Here'));
    await invite(4, 486, answer(right, '00000002'));
    await busy;
    for (const { raw } of [...peer.received, ...callee.received]) bag.add('wire of SIP', raw);
    for (const close of closing.splice(-2)) await close();
  }

  /** Every key and value of Redis, and what it has on disk. */
  async function readRedis(): Promise<void> {
    const client = new Redis(redis.url);
    try {
      const [, directory = ''] = (await client.config('GET', 'dir')) as string[];
      await client.config('SET', 'rdbcompression', 'no');
      await client.config('SET', 'appendfsync', 'always');
      let keys = 0;
      for await (const found of client.scanStream()) {
        for (const redisKey of found as string[]) {
          keys++;
          const type = await client.type(redisKey);
          const value: unknown =
            type === 'string'
              ? await client.getBuffer(redisKey)
              : type === 'hash'
                ? await client.hgetallBuffer(redisKey)
                : type === 'set'
                  ? await client.smembersBuffer(redisKey)
                  : type === 'zset'
                    ? await client.zrangeBuffer(redisKey, '0', '-1')
                    : type === 'list'
                      ? await client.lrangeBuffer(redisKey, 0, -1)
                      : await client.callBuffer('XRANGE', redisKey, '-', '+');
          bag.add(`Redis value ${redisKey}`, flat(redisKey, value));
        }
      }
      expect(keys).toBeGreaterThan(0);
      await client.save();
      for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
        if (entry.isFile())
          bag.add(`Redis file ${entry.name}`, readFileSync(join(entry.parentPath, entry.name)));
      }
      expect(existsSync(join(directory, 'dump.rdb'))).toBe(true);
    } finally {
      client.disconnect();
    }
  }
});

/** A value of Redis with everything in it, one after the other. */
function flat(name: string, value: unknown): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return Buffer.concat(value.map((each) => flat(name, each)));
  if (typeof value === 'object' && value !== null)
    return Buffer.concat(
      Object.entries(value).map(([field, each]) => Buffer.concat([Buffer.from(field), flat(name, each)])),
    );
  return Buffer.from(String(value));
}

/** Files with a secret and something wrong about it, or about what stands beside it. */
function faultyFiles(sound: string, secret: string): string[] {
  const quoted = JSON.stringify(secret);
  return [
    `${sound}\ndrain: { timeoutSeconds: "${secret}`,
    `${sound}\ndrain: { timeoutSeconds: ${quoted}, ${quoted} }}`,
    `${sound}\nlog: { level: ${quoted} }`,
    sound.replace(
      'sipCredentials:',
      `sipCredentials:\n  - { id: odd, server: ${JSON.stringify(`sip:a:${secret}@b`)}, authPassword: [${quoted}] }`,
    ),
    sound.replace(
      'sipCredentials:',
      `sipCredentials:\n  - { id: odd, server: b.example, authPassword: ${quoted}, tls: { clientKey: ${quoted} } }`,
    ),
    sound.replace(
      'sipCredentials:',
      `sipCredentials:\n  - { id: "\${FAULTY}", server: "\${FAULTY}", transport: "\${FAULTY}", country: ${quoted}, authPassword: ${quoted} }`,
    ),
    sound.replace(
      'agents:',
      `agents:\n  - { id: odd, inboundAuth: { username: 7, password: ${quoted} }, sipRegistration: { domain: ${quoted}, password: ${quoted} } }`,
    ),
    sound.replace(
      /redis:\n {2}url: .*/,
      `redis: { url: ${JSON.stringify(`redis://u:${secret}@host:port`)} }`,
    ),
    sound.replace(/redis:\n {2}url: .*/, `redis: { url: ${JSON.stringify(`http://u:${secret}@host`)} }`),
    sound.replace(/(http:\n {2}host: .*\n)/, `$1  tls: ${quoted}\n`),
  ];
}
