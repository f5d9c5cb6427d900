/** Calls over TLS: a client that verifies us, and a real Kamailio as peer in both directions. */
import { expect, test } from 'vitest';
import { createAuthority } from '../kit/certificates.js';
import { type Kamailio, startKamailio } from '../kit/kamailio.js';
import { freePort } from '../kit/ports.js';
import { Sipp } from '../kit/sipp.js';
import { useSwitchboard } from '../kit/switchboard.js';
import { TlsCaller } from '../kit/tls-caller.js';
import { QUICK } from './quick.js';

const authority = createAuthority();

const kamailios: Kamailio[] = [];

const board = useSwitchboard(
  {
    udp: {},
    kamailio: { transport: 'tls', host: 'localhost' },
    mistrusted: { transport: 'tls', host: 'localhost' },
  },
  {
    config: QUICK,
    tls: authority.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']),
    // Agents are verified against the system's roots; this adds ours to them.
    env: { NODE_EXTRA_CA_CERTS: authority.caFile },
  },
  async () => {
    // Their connections would stay open.
    for (const kamailio of kamailios) await kamailio.stop();
  },
);

test('a client that verifies the name and chain of the gateway calls an agent by UDP', async () => {
  const calls = 5;
  const agent = await Sipp.start({ scenario: 'uas/answered', port: board.lines.udp.ports[0], calls });
  const caller = await TlsCaller.open({
    port: board.gateway.tlsPort,
    ca: authority.ca,
    serverName: 'localhost',
  });
  expect(caller.socket.authorized).toBe(true);
  for (let i = 0; i < calls; i++) {
    const answer = await caller.call(board.lines.udp.number);
    expect(answer).toContain('SIP/2.0 200');
    expect(answer).toContain('x-sdp-of:agent');
    expect(answer).toMatch(/\r\nContact: *<sips?:[^>]*transport=tls|\r\nContact: *<sips:/i);
  }
  await agent.succeed(calls);
  caller.close();
  const records = await board.gateway.waitForRecords(calls, ({ transport }) => transport === 'tls');
  for (const record of records) expect(record).toMatchObject({ sipStatus: 200, endedBy: 'caller' });
});

test('a client that trusts others does not get through', async () => {
  await expect(
    TlsCaller.open({
      port: board.gateway.tlsPort,
      ca: createAuthority('Another').ca,
      serverName: 'localhost',
    }),
  ).rejects.toThrow(/unable to|self-signed|verify/);
});

test('Kamailio verifies us and brings calls by TLS', async () => {
  const calls = 10;
  const kamailio = await startKamailio({
    gatewayPort: board.gateway.tlsPort,
    agentPort: 9,
    certificate: authority.issue('carrier', ['DNS:localhost', 'IP:127.0.0.1']),
    caFile: authority.caFile,
  });
  kamailios.push(kamailio);
  const { records } = await board.call({
    line: 'udp',
    caller: 'answered',
    agent: 'answered',
    calls,
    callerOptions: { to: kamailio.udpPort, pauseMs: 200 },
  });
  for (const record of records) expect(record).toMatchObject({ transport: 'tls', sipStatus: 200 });
});

test('Kamailio at the agent: we verify it and bring it calls by TLS', async () => {
  const calls = 10;
  const agentPort = await freePort();
  kamailios.push(
    await startKamailio({
      gatewayPort: 9,
      agentPort,
      certificate: authority.issue('agent', ['DNS:localhost']),
      caFile: authority.caFile,
      tlsPort: board.lines.kamailio.ports[0],
    }),
  );
  const { records } = await board.call({
    line: 'kamailio',
    caller: 'answered',
    agent: 'answered-behind-proxy',
    calls,
    callerOptions: { pauseMs: 200 },
    agentOptions: { port: agentPort, transport: 'u1' },
  });
  for (const record of records) {
    expect(record.attempts).toMatchObject([{ outcome: 'answered' }]);
    expect(record.attempts[0]?.target).toMatch(/^tls:/);
  }
});

test('a Kamailio whose certificate names somebody else gets no call', async () => {
  kamailios.push(
    await startKamailio({
      gatewayPort: 9,
      agentPort: 9,
      certificate: authority.issue('elsewhere', ['DNS:elsewhere.example']),
      caFile: authority.caFile,
      tlsPort: board.lines.mistrusted.ports[0],
    }),
  );
  const { records } = await board.call({ line: 'mistrusted', caller: 'unreachable' });
  expect(records).toMatchObject([{ sipStatus: 480, code: 'agent_unreachable' }]);
  expect(records[0]?.detail).toContain('TLS');
});
