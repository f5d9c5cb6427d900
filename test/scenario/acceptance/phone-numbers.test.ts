/** The page "Phone numbers": every field, end-point, error and rule of it, on the real process. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Acceptance, OpenRegistrar, startAcceptance } from '../../kit/acceptance.js';
import { faultyFields } from '../../kit/ask.js';
import { until } from '../../kit/processes.js';

let world: Acceptance;
let trunk: string;
beforeAll(async () => {
  world = await startAcceptance();
  const made = await world.make('/sip-credentials', {
    server: 'sip.telnyx.com',
    allowedAddresses: ['127.0.0.1'],
  });
  trunk = made.id;
});
afterAll(() => world.stop());

describe('fields', () => {
  it('phoneNumber and credentialsId are required', async () => {
    const { status, body } = await world.ask('/phone-numbers', { method: 'POST', body: {} });
    expect(status).toBe(400);
    expect(faultyFields(body.errors)).toEqual(['phoneNumber', 'credentialsId']);
  });

  it('displayName, description, registration (default false)', async () => {
    const plain = await world.make('/phone-numbers', { phoneNumber: '+14155550100', credentialsId: trunk });
    expect(plain).toMatchObject({
      displayName: null,
      description: null,
      registration: false,
      registrationStatus: null,
    });
    const named = {
      phoneNumber: '+14155550101',
      credentialsId: trunk,
      displayName: 'Acme',
      description: 'Line',
    };
    expect(await world.make('/phone-numbers', named)).toMatchObject(named);
  });

  it('other forms than E.164 are kept as given', async () => {
    const made = await world.make('/phone-numbers', { phoneNumber: '(415) 555-0109', credentialsId: trunk });
    expect(made.phoneNumber).toBe('(415) 555-0109');
  });

  it('the same number on two trunks is legal, twice on one is not', async () => {
    const other = await world.make('/sip-credentials', { server: 'sip.bandwidth.com' });
    await world.make('/phone-numbers', { phoneNumber: '+14155550100', credentialsId: other.id });
    const twice = { phoneNumber: '+14155550100', credentialsId: trunk };
    const refused = await world.ask('/phone-numbers', { method: 'POST', body: twice });
    expect([refused.status, refused.body.code]).toEqual([409, 'conflict']);
  });
});

describe('linking to agents', () => {
  it('for inbound calls: the call goes to the agent from then on', async () => {
    const agent = await world.make('/agents', {
      name: 'Sales',
      endpoints: [{ uri: 'sip:sales@127.0.0.1:5090' }],
    });
    const number = await world.make('/phone-numbers', { phoneNumber: '+14155550110', credentialsId: trunk });
    const explain = '/routes/explain?direction=inbound&source=127.0.0.1&to=%2B14155550110';
    expect((await world.ask(explain)).body).toMatchObject({ status: 480, code: 'number_without_agent' });
    const link = { method: 'PATCH', body: { inboundAgentId: agent.id } };
    expect((await world.ask(`/phone-numbers/${number.id}`, link)).body.inboundAgentId).toBe(agent.id);
    expect((await world.ask(explain)).body).toMatchObject({ decision: 'route', agentId: agent.id });
  });

  it('for outbound calls: without a number "No outbound config"', async () => {
    const agent = await world.make('/agents', {
      name: 'Caller',
      endpoints: [{ uri: 'sip:c@127.0.0.1:5091' }],
    });
    const order = { method: 'POST', body: { agentId: agent.id, to: '+14155550199' } };
    const refused = await world.ask('/calls', order);
    expect([refused.status, refused.body.code, refused.body.title]).toEqual([
      409,
      'no_outbound_config',
      'No outbound config',
    ]);
    const number = await world.make('/phone-numbers', { phoneNumber: '+14155550111', credentialsId: trunk });
    const patch = { method: 'PATCH', body: { outboundNumberId: number.id } };
    expect((await world.ask(`/agents/${agent.id}`, patch)).body.outboundNumberId).toBe(number.id);
  });

  it('what is using a number is told before it is changed or deleted', async () => {
    const agent = await world.make('/agents', { name: 'Both' });
    const number = await world.make('/phone-numbers', {
      phoneNumber: '+14155550112',
      credentialsId: trunk,
      inboundAgentId: agent.id,
    });
    await world.ask(`/agents/${agent.id}`, { method: 'PATCH', body: { outboundNumberId: number.id } });
    const usage = await world.ask(`/phone-numbers/${number.id}/usage`);
    expect(usage.body).toMatchObject({
      agents: [{ id: agent.id, name: 'Both', inbound: true, outbound: true }],
    });
    expect((await world.ask(`/agents/${agent.id}/usage`)).body.phoneNumbers).toEqual([
      { id: number.id, phoneNumber: '+14155550112', inbound: true, outbound: true },
    ]);
  });
});

describe('registration', () => {
  it('a number that is saved with registration registers at once, and un-registers when it is deleted', async () => {
    const registrar = await OpenRegistrar.start();
    const account = await world.make('/sip-credentials', {
      server: `127.0.0.1:${registrar.port}`,
      authUser: 'acme',
      authPassword: 'secret',
    });
    const number = await world.make('/phone-numbers', {
      phoneNumber: '+14155550120',
      credentialsId: account.id,
      registration: true,
    });
    await registrar.heard('the REGISTER', (request) => /^To: .*acme@/im.test(request));
    await until('the number is registered', async () => {
      const { body } = await world.ask(`/phone-numbers/${number.id}`);
      return body.registrationStatus === 'registered';
    });
    expect((await world.ask(`/phone-numbers/${number.id}`, { method: 'DELETE' })).status).toBe(204);
    await registrar.heard('un-registering', (request) => /expires[=:] ?0/i.test(request));
    registrar.stop();
  });
});

describe('inbound calls that do not connect', () => {
  it('404: the number does not exist', async () => {
    const { body } = await world.ask('/routes/explain?direction=inbound&source=127.0.0.1&to=%2B19995550100');
    expect(body).toMatchObject({ decision: 'refuse', status: 404, code: 'unknown_number' });
  });

  it('the agent is not enabled', async () => {
    const agent = await world.make('/agents', {
      name: 'Off',
      enabled: false,
      endpoints: [{ uri: 'sip:x@127.0.0.1' }],
    });
    const linked = { phoneNumber: '+14155550130', credentialsId: trunk, inboundAgentId: agent.id };
    await world.make('/phone-numbers', linked);
    const { body } = await world.ask('/routes/explain?direction=inbound&source=127.0.0.1&to=%2B14155550130');
    expect(body).toMatchObject({ status: 480, code: 'agent_disabled' });
  });
});
