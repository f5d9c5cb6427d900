/** The page "SIP credentials": every field, end-point, error and rule of it, on the real process. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Acceptance, startAcceptance } from '../../kit/acceptance.js';
import { faultyFields } from '../../kit/ask.js';
import { freePort } from '../../kit/ports.js';
import { until } from '../../kit/processes.js';
import { SipPeer } from '../../kit/sip-peer.js';

let world: Acceptance;
beforeAll(async () => {
  world = await startAcceptance();
});
const closing: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
  await world.stop();
});

describe('configuration fields', () => {
  it('server: host name and optional port, the only required field', async () => {
    const made = await world.make('/sip-credentials', { server: 'sip.provider.com:5060' });
    expect(made).toMatchObject({ server: 'sip.provider.com:5060', transport: 'udp', source: 'manual' });
    const missing = await world.ask('/sip-credentials', { method: 'POST', body: {} });
    expect(missing.status).toBe(400);
    expect(missing.body.errors).toEqual([expect.objectContaining({ path: 'server', message: 'is missing' })]);
  });

  it.each(['sip:sip.provider.com', 'user@sip.provider.com', 'sip.provider.com;lr', 'sip.provider.com:0'])(
    'server: not %s',
    async (server) => {
      const refused = await world.ask('/sip-credentials', { method: 'POST', body: { server } });
      expect([refused.status, ...faultyFields(refused.body.errors)]).toEqual([400, 'server']);
    },
  );

  it('authUser, authPassword, domain, description: kept, and of the password only that there is one', async () => {
    const body = {
      server: 'sip.provider.com',
      authUser: 'your-username',
      authPassword: 'your-password',
      domain: 'provider.com',
      description: 'Main',
    };
    const made = await world.make('/sip-credentials', body);
    const { authPassword, ...shown } = body;
    expect(made).toMatchObject({ ...shown, hasPassword: true });
    expect(JSON.stringify(made)).not.toContain(authPassword);
    expect((await world.ask('/sip-credentials')).text).not.toContain(authPassword);
  });

  it.each(['udp', 'tcp', 'tls'])('transport: %s', async (transport) => {
    const made = await world.make('/sip-credentials', { server: 'sip.provider.com', transport });
    expect(made.transport).toBe(transport);
  });

  it('transport: nothing else', async () => {
    const body = { server: 'sip.provider.com', transport: 'ws' };
    const refused = await world.ask('/sip-credentials', { method: 'POST', body });
    expect(refused.body.errors).toEqual([
      expect.objectContaining({ path: 'transport', message: 'must be one of udp, tcp, tls' }),
    ]);
  });
});

describe('inboundAuth', () => {
  const body = {
    server: 'pbx.example.com',
    inboundAuth: { username: 'office-pbx', password: 'inbound-password' },
  };

  it('is kept, and of its password only that there is one; without it it is null', async () => {
    const made = await world.make('/sip-credentials', body);
    expect(made).toMatchObject({
      inboundAuth: { username: 'office-pbx', hasPassword: true },
      allowedAddresses: [],
      hasPassword: false,
    });
    const path = `/sip-credentials/${made.id}`;
    const read = await world.ask(path);
    expect(read.body).toEqual(made);
    expect(read.text + (await world.ask('/sip-credentials')).text).not.toContain('inbound-password');
    const renamed = { inboundAuth: { username: 'branch-pbx' } };
    const patched = await world.ask(path, { method: 'PATCH', body: renamed });
    expect(patched.body.inboundAuth).toEqual({ username: 'branch-pbx', hasPassword: true });
    const off = await world.ask(path, { method: 'PATCH', body: { inboundAuth: null } });
    expect([off.status, off.body.inboundAuth]).toEqual([200, null]);
    expect((await world.make('/sip-credentials', { server: 'sip.provider.com' })).inboundAuth).toBeNull();
  });

  it('needs user and password, and a user that no other trunk or agent has', async () => {
    const wrong = { server: 'pbx.example.com', inboundAuth: { username: '', realm: 'x' } };
    const refused = await world.ask('/sip-credentials', { method: 'POST', body: wrong });
    expect(refused.status).toBe(400);
    expect(refused.body.errors?.map(({ path }: { path: string }) => path).sort()).toEqual([
      'inboundAuth.password',
      'inboundAuth.realm',
      'inboundAuth.username',
    ]);
    const { inboundAuth } = body;
    const { id } = await world.make('/agents', { name: 'Login', inboundAuth });
    const taken = await world.ask('/sip-credentials', { method: 'POST', body });
    expect([taken.status, taken.body.code]).toEqual([409, 'conflict']);
    expect(taken.body.errors).toMatchObject([
      { path: 'inboundAuth.username', message: 'is taken already: office-pbx' },
    ]);
    expect((await world.ask(`/agents/${id}`, { method: 'DELETE' })).status).toBe(204);
    await world.make('/sip-credentials', body);
    const agent = await world.ask('/agents', { method: 'POST', body: { name: 'Late', inboundAuth } });
    expect([agent.status, agent.body.errors?.[0]?.path]).toEqual([409, 'inboundAuth.username']);
  });

  it('the dry run says that the password is needed, and what becomes of a call that shows it', async () => {
    const inboundAuth = { username: 'dry-run', password: 'inbound-password' };
    const trunk = await world.make('/sip-credentials', {
      server: 'pbx.example.com',
      allowedAddresses: ['192.0.2.0/24'],
      inboundAuth,
    });
    const agent = await world.make('/agents', { name: 'A', endpoints: [{ uri: 'sip:a@127.0.0.1:5999' }] });
    await world.make('/phone-numbers', {
      phoneNumber: '+14155550142',
      credentialsId: trunk.id,
      inboundAgentId: agent.id,
    });
    const explain = async (more: string) =>
      (await world.ask(`/routes/explain?to=%2B14155550142&${more}`)).body;
    const asked = await explain('source=192.0.2.7');
    expect(asked).toMatchObject({ status: 401, code: 'credentials_needed', trunkId: trunk.id });
    expect(asked.explanation).toContainEqual({
      subject: `trunk ${trunk.id}`,
      test: 'user and password (inboundAuth) are shown',
      outcome: 'fail',
      detail: 'user "dry-run"',
    });
    expect(await explain('source=192.0.2.7&username=dry-run')).toMatchObject({
      decision: 'route',
      trunkId: trunk.id,
      agentId: agent.id,
    });
    expect(await explain('source=198.51.100.1&username=dry-run')).toMatchObject({
      status: 403,
      code: 'caller_credentials_wrong',
    });
    const nobody = await world.ask('/routes/explain?to=1&username=nobody');
    expect([nobody.status, nobody.body.detail]).toEqual([400, 'username: is in `inboundAuth` of no trunk']);
    const outbound = await world.ask('/routes/explain?direction=outbound&to=1&agentId=x&username=dry-run');
    expect(outbound.body.errors).toMatchObject([{ path: 'username' }]);
    for (const code of ['credentials_needed', 'caller_credentials_wrong']) {
      expect((await world.ask(`/reasons/${code}`)).body.remedy).toEqual(expect.any(String));
    }
  });
});

describe('rate limiting', () => {
  it('cpsLimit: a limit of its own', async () => {
    const made = await world.make('/sip-credentials', { server: 'sip.provider.com', cpsLimit: 10 });
    expect(made).toMatchObject({ cpsLimit: 10, cpsKey: made.id, effectiveCpsLimit: 10 });
    const half = await world.make('/sip-credentials', { server: 'sip.provider.com', cpsLimit: 0.5 });
    expect(half.effectiveCpsLimit).toBe(0.5);
  });

  it('cpsKey: two trunks share one limit of 20 in total', async () => {
    const shared = { server: 'sip.provider.com', cpsLimit: 20, cpsKey: 'provider-shared' };
    const ids = [
      await world.make('/sip-credentials', shared),
      await world.make('/sip-credentials', shared),
    ].map(({ id }) => id);
    const line = await world.ask('/cps-keys/provider-shared');
    expect(line.status).toBe(200);
    expect(JSON.stringify(line.body)).toContain(ids[0]);
    expect(JSON.stringify(line.body)).toContain(ids[1]);
    for (const id of ids) expect((await world.ask(`/sip-credentials/${id}`)).body.effectiveCpsLimit).toBe(20);
  });
});

describe('usage and deletion', () => {
  it('affected-agents lists numbers with their agents and the calls that wait', async () => {
    const trunk = await world.make('/sip-credentials', { server: 'sip.provider.com' });
    const agent = await world.make('/agents', { name: 'Sales' });
    const linked = { phoneNumber: '+14155550101', credentialsId: trunk.id, inboundAgentId: agent.id };
    const number = await world.make('/phone-numbers', linked);
    const lonely = await world.make('/phone-numbers', {
      phoneNumber: '+14155550102',
      credentialsId: trunk.id,
    });
    const affected = await world.ask(`/sip-credentials/${trunk.id}/affected-agents`);
    expect(affected.body).toEqual({
      phoneNumbers: expect.arrayContaining([
        { id: number.id, phoneNumber: '+14155550101', linkedAgent: { id: agent.id, name: 'Sales' } },
        { id: lonely.id, phoneNumber: '+14155550102', linkedAgent: null },
      ]),
      agents: [{ id: agent.id, name: 'Sales' }],
      queuedCallsCount: 0,
      activeCallsCount: 0,
    });
    const refused = await world.ask(`/sip-credentials/${trunk.id}`, { method: 'DELETE' });
    expect([refused.status, refused.body.code]).toEqual([409, 'in_use']);
    expect(refused.body.phoneNumbers).toEqual(affected.body.phoneNumbers);
    expect((await world.ask(`/sip-credentials/${trunk.id}?force=true`, { method: 'DELETE' })).status).toBe(
      204,
    );
    expect((await world.ask(`/phone-numbers/${number.id}`)).status).toBe(404);
    expect((await world.ask(`/phone-numbers/${lonely.id}`)).status).toBe(404);
    expect((await world.ask(`/agents/${agent.id}`)).status).toBe(200);
  });

  it('calls in queue are counted, and fail with the reason when the credentials go', async () => {
    const server = `127.0.0.1:${await freePort()}`;
    // One call in 100 seconds: what comes behind the first waits.
    const trunk = await world.make('/sip-credentials', { server, cpsLimit: 0.01 });
    const number = await world.make('/phone-numbers', {
      phoneNumber: '+14155550105',
      credentialsId: trunk.id,
    });
    // It hears the call and says nothing: at a closed port the call would be over as soon as the engine knows.
    const silent = await SipPeer.open('udp');
    closing.push(() => silent.close());
    const endpoints = [{ uri: `sip:agent@127.0.0.1:${silent.port}` }];
    const agent = await world.make('/agents', { name: 'Caller', endpoints, outboundNumberId: number.id });
    const ids: string[] = [];
    for (const to of ['+14155550191', '+14155550192', '+14155550193']) {
      const placed = await world.ask('/calls', { method: 'POST', body: { agentId: agent.id, to } });
      expect([placed.status, placed.text]).toEqual([202, expect.any(String)]);
      ids.push(placed.body.id!);
    }
    const affected = await world.ask(`/sip-credentials/${trunk.id}/affected-agents`);
    expect(affected.body.queuedCallsCount).toBeGreaterThanOrEqual(1);
    expect((await world.ask(`/sip-credentials/${trunk.id}?force=true`, { method: 'DELETE' })).status).toBe(
      204,
    );
    const last = ids.at(-1)!;
    await until('the call in queue has failed', async () => {
      const { body } = await world.ask(`/calls/${last}`);
      return body.state === 'ended';
    });
    const { body } = await world.ask(`/calls/${last}`);
    expect([body.code, body.endedBy]).toEqual(['trunk_removed', 'gateway']);
    expect((await world.ask('/reasons/trunk_removed')).body.remedy).toEqual(expect.any(String));
  });

  it('without numbers they go without force', async () => {
    const { id } = await world.make('/sip-credentials', { server: 'sip.provider.com' });
    expect((await world.ask(`/sip-credentials/${id}`, { method: 'DELETE' })).status).toBe(204);
  });
});

describe('troubleshooting', () => {
  it('"Connection refused" is named by the test of the credentials', async () => {
    const server = `127.0.0.1:${await freePort()}`;
    const { id } = await world.make('/sip-credentials', { server, transport: 'tcp', authUser: 'a' });
    const { status, body } = await world.ask(`/sip-credentials/${id}/test`, { method: 'POST' });
    expect([status, body.verdict]).toMatchObject([200, { code: 'connection_refused' }]);
    const unsaved = { server, transport: 'tcp' };
    const again = await world.ask('/sip-credentials/test', { method: 'POST', body: unsaved });
    expect(again.body.verdict).toMatchObject({ code: 'connection_refused' });
  });
});

it('a request without a token is refused', async () => {
  const { status, body } = await world.ask('/sip-credentials', { token: 'YOUR_API_KEY' });
  expect([status, body.code]).toEqual([401, 'unauthorized']);
});
