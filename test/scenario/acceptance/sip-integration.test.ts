/** The page "SIP integration": its steps from credentials to a call that an agent gets, on the real process. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Acceptance, startAcceptance } from '../../kit/acceptance.js';
import { freePorts } from '../../kit/ports.js';
import { Sipp } from '../../kit/sipp.js';

let world: Acceptance;
beforeAll(async () => {
  world = await startAcceptance();
});
afterAll(() => world.stop());

it('takes the settings of the example: domain, username, password, proxy, transport TLS, port 5061', async () => {
  const made = await world.make('/sip-credentials', {
    server: 'your-domain.pstn.twilio.com:5061',
    domain: 'your-domain.pstn.twilio.com',
    authUser: 'your-sip-username',
    authPassword: 'your-sip-password',
    outboundProxy: 'sip.twilio.com:5061',
    transport: 'tls',
  });
  expect(made).toMatchObject({
    domain: 'your-domain.pstn.twilio.com',
    authUser: 'your-sip-username',
    hasPassword: true,
    outboundProxy: 'sip.twilio.com:5061',
    transport: 'tls',
  });
});

it('a number that was configured and assigned by the API gets its calls to the agent', async () => {
  const [agentPort = 0, callerPort = 0] = await freePorts(2);
  const trunk = await world.make('/sip-credentials', {
    server: `127.0.0.1:${callerPort}`,
    allowedAddresses: ['127.0.0.1'],
  });
  const agent = await world.make('/agents', {
    name: 'Agent',
    endpoints: [{ uri: `sip:agent@127.0.0.1:${agentPort}` }],
  });
  const number = await world.make('/phone-numbers', {
    phoneNumber: '+14155550100',
    credentialsId: trunk.id,
    inboundAgentId: agent.id,
  });
  await world.ask(`/agents/${agent.id}`, { method: 'PATCH', body: { outboundNumberId: number.id } });
  const answering = await Sipp.start({ scenario: 'uas/answered', port: agentPort, pauseMs: 0 });
  const to = world.gateway.port;
  const calling = await Sipp.start({
    scenario: 'uac/answered',
    to,
    port: callerPort,
    service: '+14155550100',
  });
  expect(await calling.result()).toMatchObject({ successful: 1, failed: 0 });
  expect(await answering.result()).toMatchObject({ successful: 1, failed: 0 });
  const [record] = await world.gateway.waitForRecords(1);
  expect(record).toMatchObject({
    agentId: agent.id,
    phoneNumberId: number.id,
    trunkId: trunk.id,
    endedBy: 'caller',
  });
  const shown = await world.ask(`/calls/${record!.id}`);
  expect(shown.body).toMatchObject({ id: record!.id, state: 'ended' });
});
