/** The page "Set SIP registration": every field, error and rule of it, on the real process. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Acceptance, OpenRegistrar, startAcceptance } from '../../kit/acceptance.js';
import { faultyFields } from '../../kit/ask.js';
import { until } from '../../kit/processes.js';

const PASSWORD = 'c4nary-secret';
let world: Acceptance;
let registrar: OpenRegistrar;
beforeAll(async () => {
  world = await startAcceptance();
  registrar = await OpenRegistrar.start();
});
afterAll(async () => {
  await world.stop();
  registrar.stop();
});

const agent = async (more: object = {}): Promise<string> =>
  (await world.make('/agents', { name: 'A', ...more })).id;
const put = (id: string, body: object) =>
  world.ask(`/agents/${id}/sip-registration`, { method: 'PUT', body });

describe('PUT', () => {
  it('requires domain, username and password, all named at once', async () => {
    const { status, body } = await put(await agent(), {});
    expect(status).toBe(400);
    expect([...faultyFields(body.errors)].sort()).toEqual(['domain', 'password', 'username']);
  });

  it('saves every field, with registrationEnabled and extension, and never shows the password', async () => {
    const id = await agent({ platform: 'livekit' });
    const body = {
      domain: 'sip.example.com',
      username: '1001',
      password: PASSWORD,
      proxy: `127.0.0.1:${registrar.port}`,
      port: 5061,
      transport: 'udp',
      subscribe: true,
      authUsername: '1001-auth',
      did: '+15551234567',
      xDestUser: 'routing.user+1@example',
    };
    const saved = await put(id, body);
    const { password, ...shown } = body;
    expect(saved.status).toBe(200);
    expect(saved.body.sipRegistrationData).toMatchObject({
      ...shown,
      registrationEnabled: true,
      extension: '1001',
      hasPassword: true,
    });
    for (const text of [saved.text, (await world.ask(`/agents/${id}/sip-registration`)).text]) {
      expect(text).not.toContain(password);
    }
  });

  it('saving registers at once; GET is the status; DELETE un-registers', async () => {
    const id = await agent();
    const account = { domain: '127.0.0.1', port: registrar.port, username: '2002', password: PASSWORD };
    expect((await put(id, account)).status).toBe(200);
    await registrar.heard('the REGISTER', (request) => /^To: .*2002@/im.test(request));
    let status = await world.ask(`/agents/${id}/sip-registration`);
    await until('it is registered', async () => {
      status = await world.ask(`/agents/${id}/sip-registration`);
      return status.body.state === 'registered';
    });
    expect(status.body).toMatchObject({
      agentId: id,
      registrar: `udp:127.0.0.1:${registrar.port}`,
      expiresAt: expect.any(String),
      lastVerdict: { code: 'ok' },
      timeline: [expect.objectContaining({ verdict: 'ok' })],
    });
    expect((await world.ask(`/agents/${id}/sip-registration`, { method: 'DELETE' })).status).toBe(204);
    await registrar.heard(
      'un-registering',
      (request) => /2002@/.test(request) && /expires[=:] ?0/i.test(request),
    );
    expect((await world.ask(`/agents/${id}/sip-registration`)).status).toBe(404);
    expect((await world.ask(`/agents/${id}`)).body.hasSipRegistration).toBe(false);
  });

  it.each(['udp', 'tcp', 'tls'])('transport %s', async (transport) => {
    const saved = await put(await agent({ enabled: false }), {
      domain: 'sip.example.com',
      username: '1',
      password: 'x',
      transport,
    });
    expect(saved.body.sipRegistrationData).toMatchObject({ transport });
  });

  it('an empty xDestUser is unset, and what was not named is unset by the next PUT', async () => {
    const id = await agent({ enabled: false });
    const account = { domain: 'sip.example.com', username: '1', password: 'x' };
    await put(id, { ...account, xDestUser: 'a', did: '+15550' });
    const saved = await put(id, { ...account, xDestUser: '' });
    expect(saved.body.sipRegistrationData).toMatchObject({ xDestUser: null, did: null });
  });

  it.each([
    ['a b', '" "'],
    ['a;b', '";"'],
    ['ü', '"ü"'],
    ['a\r\nX: y', '"\\r"'],
  ])('xDestUser %j is refused, naming the character', async (xDestUser, character) => {
    const account = { domain: 'sip.example.com', username: '1', password: 'x', xDestUser };
    const { status, body } = await put(await agent(), account);
    expect([status, ...faultyFields(body.errors)]).toEqual([400, 'xDestUser']);
    expect(body.errors?.[0]?.message).toContain(character);
  });
});

describe('troubleshooting', () => {
  it('"Agent not found"', async () => {
    const account = { domain: 'sip.example.com', username: '1', password: 'x' };
    const { status, body } = await put('00000000-0000-4000-8000-000000000000', account);
    expect([status, body.detail]).toEqual([404, 'Agent not found']);
  });

  it('"Cannot update vida agents via this API" for a platform that cannot register', async () => {
    const id = await agent({ platform: 'vida' });
    const account = { domain: 'sip.example.com', username: '1', password: 'x' };
    const { status, body } = await put(id, account);
    expect([status, body.title]).toEqual([400, 'Cannot update vida agents via this API']);
    expect((await world.ask(`/agents/${id}`)).body.hasSipRegistration).toBe(false);
  });

  it('"SIP registration failed": the status end-point says why', async () => {
    const id = await agent();
    const account = { domain: '127.0.0.1', port: 1, transport: 'tcp', username: '9', password: 'x' };
    await put(id, account);
    await until('the failure is told', async () => {
      const { body } = await world.ask(`/agents/${id}/sip-registration`);
      return body.lastVerdict?.code === 'connection_refused';
    });
  });
});

it('no secret is in what the process wrote', () => {
  const { stdout, stderr } = world.gateway.program;
  expect(stdout.length).toBeGreaterThan(100);
  expect(`${stdout}${stderr}`).not.toContain(PASSWORD);
});
