/**
 * An agent's call on a registered trunk: it leaves by the connection that is registered, from the same listener, with
 * the Contact that the registrar knows. Kamailio is the registrar and the provider's edge.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { freePorts } from '../kit/ports.js';
import { Sipp } from '../kit/sipp.js';
import { QUICK } from './quick.js';

let gateway: Gateway;
const registrars: KamailioRegistrar[] = [];
const agentPorts: Record<string, number> = {};
const calleePorts: Record<string, number> = {};
const TRANSPORTS = ['tcp', 'udp'] as const;

beforeAll(async () => {
  const sipCredentials: Record<string, unknown>[] = [];
  const phoneNumbers: Record<string, unknown>[] = [];
  const agents: Record<string, unknown>[] = [];
  for (const [i, transport] of TRANSPORTS.entries()) {
    const [agentPort = 0, calleePort = 0] = await freePorts(2);
    agentPorts[transport] = agentPort;
    calleePorts[transport] = calleePort;
    const registrar = await KamailioRegistrar.start({ users: { acme: 'secret' }, outboundPort: calleePort });
    registrars.push(registrar);
    sipCredentials.push({
      id: transport,
      server: `127.0.0.1:${registrar.port}`,
      transport,
      authUser: 'acme',
      authPassword: 'secret',
      domain: 'registrar.test',
    });
    const phoneNumber = `+1415555010${i}`;
    phoneNumbers.push({ phoneNumber, credentialsId: transport, registration: true });
    agents.push({
      id: transport,
      endpoints: [{ uri: `sip:sales@127.0.0.1:${agentPort}` }],
      outboundNumberId: phoneNumber,
    });
  }
  gateway = await Gateway.start({
    config: { sip: QUICK.sip, calls: QUICK.calls, sipCredentials, phoneNumbers, agents },
  });
});

afterAll(async () => {
  await gateway?.stop();
  await Promise.all(registrars.map((registrar) => registrar.stop()));
});

test.each(TRANSPORTS)('by %s', async (transport) => {
  const registrar = registrars[TRANSPORTS.indexOf(transport)]!;
  const binding = await registrar.bound('acme');
  const callee = await Sipp.start({
    scenario: 'provider/answered-behind-proxy',
    port: calleePorts[transport],
  });
  const agent = await Sipp.start({
    scenario: 'agent/answered',
    to: gateway.port,
    port: agentPorts[transport],
    service: '+15551230000',
  });
  await Promise.all([agent.succeed(1), callee.succeed(1)]);
  const { seenInvites } = registrar;
  expect(seenInvites.map(({ authorised }) => authorised)).toEqual([false, true]);
  const flow = /^sip:([^;>]+)/.exec(binding.received)?.[1];
  const contactUser = /sip:([^@]+)@/.exec(binding.contact)?.[1];
  expect(contactUser).toMatch(/^reg_/);
  for (const { protocol, source, contact } of seenInvites) {
    expect(protocol).toBe(transport);
    expect(source).toBe(flow);
    expect(contact).toContain(`sip:${contactUser}@`);
  }
  const [record] = await gateway.waitForRecords(1, ({ trunkId }) => trunkId === transport);
  expect(record).toMatchObject({
    direction: 'outbound',
    code: 'normal_clearing',
    attempts: [{ challenges: 1, target: `${transport}:127.0.0.1:${registrar.port}` }],
  });
});
