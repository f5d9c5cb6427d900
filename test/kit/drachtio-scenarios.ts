/** Loaded before each test file when TRUNKLINE_ENGINE=drachtio: skips, by name and reason, what differs there. */
import { beforeEach } from 'vitest';
import { foundServer } from './drachtio-found.js';

const DIFFERENCES: readonly { readonly test: string | RegExp; readonly reason: string }[] = [
  {
    test: /^an? (PBX|agent) whose INVITE is too short for two challenges gets the one that it knows$|^a challenge over UDP has no more octets/,
    reason: 'it answers strangers at any length, so both challenges go out (where SIPp stops at the first)',
  },
  {
    test: 'with unknownSources: drop a stranger hears nothing, and a known trunk is served',
    reason: 'it sends 100 Trying before the gateway can screen a source',
  },
  {
    test: /^trace: /,
    reason: 'the gateway does not see what its server sends and receives',
  },
  {
    test: /^deadUdp: nobody at the first port \(cancelled\)|^agentAway$|^a second trunk takes over from one that says nothing$/,
    reason: 'it tells of a closed UDP port at once, so that nothing is left to cancel',
  },
  {
    test: /^(bothReliable|callerOnly|callerLate): prack-|^a reliable provisional response crosses reliably$/,
    reason: 'nothing is sent to callers reliably, since an unacknowledged response kills it',
  },
  {
    test: /\((untrusted|expired|misnamed|trusted)\)$|Kamailio at the agent: we verify it/,
    reason: 'it verifies no certificate, so a trunk that asks for a verified peer is refused',
  },
  {
    test: /^tls: |^un-registers when it stops$|^POST \/sip-credentials\/\{id\}\/test and/,
    reason: 'it verifies no certificate, so a trunk that asks for a verified peer is refused',
  },
  {
    test: /^(tcp|tls) without a listener of ours: /,
    reason: 'it connects only where it has a listener of that transport',
  },
  {
    test: 'calls survive the loss of every tenth packet on both legs',
    reason:
      'it does not tell of a 100, so an endpoint whose 180 is lost may count as silent (seen: one call in fifty)',
  },
  {
    test: /^proxyThenRegistrar: answers a proxy/,
    reason: 'it puts Proxy-Authorization before Authorization, where SIPp takes one for the other',
  },
  {
    test: /^hundreds of contacts of others are counted/,
    reason: 'it drops a 200 whose fields it cannot read',
  },
  {
    test: /^Kamailio is killed and comes back|^cutTls: /,
    reason: 'it verifies no certificate, so a trunk that asks for a verified peer is refused',
  },
  {
    test: /^a connection that goes silent is found and left$|^cut: a connection that breaks/,
    reason: 'it does not tell that a connection has ended',
  },
  {
    test: /calls at 500\/s leave records and nothing else$/,
    reason:
      'the connection to the server stays open; test/scenario/drachtio-restart.test.ts looks for leaks there',
  },
  {
    test: /^the time line says that the first refused the connection$|^"SIP registration failed": the status end-point says why$|^(?!the probe says).*\((deadTcp|deadTls|deadUdp|tlsToUdp|tcpToTls)\)$/,
    reason: 'its 503 does not say why a peer was not reached',
  },
];

/** What a server that runs already has not. */
const OWN_SERVER: ReadonlySet<string> = new Set([
  // A TLS listener with the certificate of the test.
  'a client that verifies the name and chain of the gateway calls an agent by UDP',
  'a client that trusts others does not get through',
  'Kamailio verifies us and brings calls by TLS',
  'a Kamailio whose certificate names somebody else gets no call',
  // Timers as short as the test's.
  'held',
  'moved',
  'glare',
  'reinviteRefused',
  // Room for a second gateway.
  'calls that wait outlive their node, and none is dialled twice',
  'ring their agents one after the other, and show as queued until then',
  'holds for them at once',
  'an edit on one node is in force on the other, and organisations stay apart on both',
  'a node may be stopped or killed at any moment while both write and the other carries calls',
]);
const running = foundServer().kind === 'running';

beforeEach(({ task, skip }) => {
  const found = DIFFERENCES.find(({ test }) =>
    typeof test === 'string' ? test === task.name : test.test(task.name),
  );
  if (found !== undefined) skip(`drachtio-server: ${found.reason}`);
  if (running && OWN_SERVER.has(task.name)) skip('NOT RUN: needs a drachtio-server of its own');
});
