/** What the API writes, through the real process: live at once, nothing else disturbed, there after a restart. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { Program, ROOT, temporaryFolder, until } from '../kit/processes.js';
import { Sipp } from '../kit/sipp.js';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function ask(
  gateway: Gateway,
  method: string,
  path: string,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${API_TOKEN}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

async function phone(options: Parameters<typeof Sipp.start>[0]): Promise<Sipp> {
  const sipp = await Sipp.start(options);
  closing.push(() => sipp.stop());
  return sipp;
}

/** A caller at 127.0.0.2 reaches the agent at this port by the number. */
async function calls(gateway: Gateway, service: string, agentPort: number): Promise<void> {
  const agent = await phone({ scenario: 'uas/answered', port: agentPort, pauseMs: 0 });
  const caller = await phone({
    scenario: 'uac/answered',
    to: gateway.port,
    service,
    address: '127.0.0.2',
    pauseMs: 0,
  });
  await caller.succeed(1);
  await agent.succeed(1);
}

test('edits go live without dropping a call or an unrelated registration, and outlive the process', async () => {
  const folder = temporaryFolder('store');
  const registrar = await KamailioRegistrar.start({ users: { unrelated: 'secret' } });
  closing.push(() => registrar.stop());
  const holder = await phone({ scenario: 'uas/answered', pauseMs: 0 });
  const spare = await phone({ scenario: 'uas/answered', pauseMs: 0 });
  const agentPort = spare.port;
  await spare.stop();
  const config = {
    store: { path: join(folder, 'trunkline.db'), secretKeyFile: join(folder, 'secret-key') },
    sipCredentials: [
      { id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] },
      {
        id: 'provider',
        server: `127.0.0.1:${registrar.port}`,
        authUser: 'unrelated',
        authPassword: 'secret',
        domain: 'registrar.test',
      },
    ],
    phoneNumbers: [
      { phoneNumber: '+14155550100', credentialsId: 'carrier', inboundAgentId: 'sales' },
      { phoneNumber: '+14155550111', credentialsId: 'provider', registration: true },
    ],
    agents: [{ id: 'sales', endpoints: [{ uri: `sip:agent@127.0.0.1:${holder.port}` }] }],
  };
  const gateway = await Gateway.start({ config });
  closing.push(() => gateway.stop());
  expect(statSync(join(folder, 'secret-key')).mode & 0o777).toBe(0o600);
  await until('it says that a key was made', () =>
    gateway.program.stdout.includes('a key for secrets at rest was made'),
  );
  const registered = async (): Promise<number> => {
    const { items } = (await ask(gateway, 'GET', '/registrations')) as { items: { state: string }[] };
    return items.filter(({ state }) => state === 'registered').length;
  };
  await until('the unrelated account is registered', async () => (await registered()) === 1);
  const registers = registrar.seen.length;
  const caller = await phone({
    scenario: 'uac/answered',
    to: gateway.port,
    service: '+14155550100',
    pauseMs: 4_000,
  });
  await until('a call is up', async () => (await gateway.held()).calls === 1);

  const trunk = await ask(gateway, 'POST', '/sip-credentials', {
    server: 'sip.provider.example',
    authUser: 'u',
    authPassword: 'open-sesame',
    allowedAddresses: ['127.0.0.2'],
  });
  const agent = await ask(gateway, 'POST', '/agents', {
    name: 'Written',
    endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }],
  });
  const number = await ask(gateway, 'POST', '/phone-numbers', {
    phoneNumber: '+442079460000',
    credentialsId: trunk.id,
    inboundAgentId: agent.id,
  });
  await calls(gateway, '+442079460000', agentPort);
  await ask(gateway, 'PATCH', `/phone-numbers/${number.id}`, { phoneNumber: '+442079460001' });
  await calls(gateway, '+442079460001', agentPort);
  // Saving the file merges both anew; the call and the registration stay all the same.
  writeFileSync(gateway.configPath, `${readFileSync(gateway.configPath, 'utf8')}\n# saved\n`);
  await until('it is reloaded', () => gateway.program.stdout.includes('the configuration was reloaded'));
  await calls(gateway, '+442079460001', agentPort);
  expect((await gateway.held()).calls).toBe(1);
  await caller.succeed(1);
  await holder.succeed(1);
  expect(registrar.seen.length).toBe(registers);
  expect(await registered()).toBe(1);
  await gateway.stop();
  for (const name of ['trunkline.db', 'secret-key']) {
    expect(readFileSync(join(folder, name), 'latin1')).not.toContain('open-sesame');
  }

  const again = await Gateway.start({ config });
  closing.push(() => again.stop());
  expect(again.program.stdout).not.toContain('a key for secrets at rest was made');
  expect(await ask(again, 'GET', `/sip-credentials/${trunk.id}`)).toMatchObject({
    hasPassword: true,
    source: 'manual',
  });
  await calls(again, '+442079460001', agentPort);
  await ask(again, 'DELETE', `/sip-credentials/${trunk.id}?force=true`);
  const refused = await phone({
    scenario: 'uac/unknown-source',
    to: again.port,
    service: '+442079460001',
    address: '127.0.0.2',
  });
  await refused.succeed(1);
  await again.stop();

  // Another key: nothing could be opened, and the message says which key is wanted.
  const other = new Program(
    'gateway',
    process.execPath,
    [join(ROOT, 'dist/main.js'), '--config', again.configPath],
    {
      cwd: folder,
      env: { ...process.env, TRUNKLINE_API_TOKEN: API_TOKEN, TRUNKLINE_SECRET_KEY: 'A'.repeat(43) },
    },
  );
  expect((await other.exited).code).toBe(1);
  expect(other.stderr).toMatch(
    /were sealed with key [0-9a-f]{16}, but TRUNKLINE_SECRET_KEY has [0-9a-f]{16}: give that key too/,
  );
});

test('the commands work on the store of a running gateway', async () => {
  const folder = temporaryFolder('store');
  const config = { store: { path: join(folder, 'trunkline.db'), secretKeyFile: join(folder, 'secret-key') } };
  const gateway = await Gateway.start({ config });
  closing.push(() => gateway.stop());
  const manage = async (...args: string[]): Promise<{ code: number | null; out: string; err: string }> => {
    const program = new Program('manage', process.execPath, [
      join(ROOT, 'dist/manage.js'),
      ...args,
      '--config',
      gateway.configPath,
    ]);
    const { code } = await program.exited;
    return { code, out: program.stdout, err: program.stderr };
  };
  const created = await manage('token', 'create', '--name', 'ci', '--scopes', 'read');
  expect(created).toMatchObject({ code: 0, out: expect.stringMatching(/^tl_\S+\n$/) });
  const token = created.out.trim();
  const status = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(`http://127.0.0.1:${gateway.httpPort}/api/v1/agents`, { headers })).status;
  };
  await until('the running gateway knows it', async () => (await status()) === 200, 3_000);

  const credentials = { server: 'a.example', authUser: 'u', authPassword: 'open-sesame' };
  await ask(gateway, 'POST', '/sip-credentials', credentials);
  const file = join(folder, 'saved.jsonl');
  expect((await manage('store', 'backup', file)).out).toMatch(/^\d+ objects were saved/);
  expect(readFileSync(file, 'utf8')).not.toContain('open-sesame');
  await ask(gateway, 'POST', '/agents', { name: 'later' });
  expect(await manage('store', 'rotate-key')).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^secrets of 1 objects/),
  });
  const { items } = (await ask(gateway, 'GET', '/sip-credentials')) as { items: { id: string }[] };
  await ask(gateway, 'PATCH', `/sip-credentials/${items[0]?.id}`, { description: 'after the rotation' });
  expect((await manage('store', 'restore', file)).code).toBe(0);
  await until('the running gateway has taken it over', async () => {
    const agents = (await ask(gateway, 'GET', '/agents')) as { items: unknown[] };
    return agents.items.length === 0;
  });
  expect(await ask(gateway, 'GET', `/sip-credentials/${items[0]?.id}`)).toMatchObject({ hasPassword: true });
  const id = token.split('_')[1] ?? '';
  expect((await manage('token', 'list')).out).toContain(id);
  expect((await manage('token', 'revoke', id)).code).toBe(0);
  await until('the running gateway refuses it', async () => (await status()) === 401, 3_000);
  expect(await manage('store', 'restore', gateway.configPath)).toMatchObject({
    code: 1,
    err: expect.stringContaining('no back-up'),
  });
  expect((await manage('store', 'status')).out).toContain('sipCredentials 1');
});
