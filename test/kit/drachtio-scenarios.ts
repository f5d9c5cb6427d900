/** Loaded before each test file when TRUNKLINE_ENGINE=drachtio: skips, by name and reason, what differs there. */
import { beforeEach } from 'vitest';

const DIFFERENCES: readonly { readonly test: string | RegExp; readonly reason: string }[] = [
  {
    test: 'with unknownSources: drop a stranger hears nothing, and a known trunk is served',
    reason: 'it sends 100 Trying before the gateway can screen a source',
  },
  {
    test: 'deadUdp: nobody at the first port (cancelled), the second answers',
    reason: 'it tells of a closed UDP port at once, so that nothing is left to cancel',
  },
  {
    test: 'subscribes after registering, tells what NOTIFYs say, and takes both off at the end',
    reason: 'its engine holds no subscriptions',
  },
  {
    test: /^(bothReliable|callerOnly|callerLate): prack-/,
    reason: 'nothing is sent to callers reliably, since an unacknowledged response kills it',
  },
  {
    test: /\((untrusted|expired|misnamed|trusted)\)$|Kamailio at the agent: we verify it/,
    reason: 'it verifies no certificate, so a trunk that asks for a verified peer is refused',
  },
  {
    test: /^tls: |^un-registers when it stops$/,
    reason: 'it verifies no certificate, so a trunk that asks for a verified peer is refused',
  },
  {
    test: /^(?!the probe says).*\((deadTcp|deadTls|deadUdp|tlsToUdp|tcpToTls)\)$/,
    reason: 'its 503 does not say why a peer was not reached',
  },
];

beforeEach(({ task, skip }) => {
  const found = DIFFERENCES.find(({ test }) =>
    typeof test === 'string' ? test === task.name : test.test(task.name),
  );
  if (found !== undefined) skip(`drachtio-server: ${found.reason}`);
});
