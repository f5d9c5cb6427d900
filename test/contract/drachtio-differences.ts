/**
 * What a drachtio-server does otherwise than the port asks, found by running the suite on 0.9.10 (9c2dd4c) with
 * drachtio-srf 5.0.29: the tests that it does not pass, under the reason why.
 */
import type { EngineFixture } from './rig.js';

const BOTH = ['with a caller', 'with a callee'];

const DIFFERENCES: readonly { readonly reason: string; readonly tests: readonly string[] }[] = [
  {
    reason:
      'the protocol between server and gateway is UTF-8 text: other octets arrive as U+FFFD, a body ends at NUL',
    tests: [
      ...BOTH.map((role) => `requests of ours ${role} carry the dialog`),
      ...BOTH.map((role) => `requests of ours ${role} over TCP carry the dialog`),
      'requests outside dialogs reach the user, once each',
    ],
  },
  {
    reason: 'the server normalises URIs (%61 to a), and sends no Route outside a dialog',
    tests: ['an INVITE goes out as asked', 'a request goes out as asked and brings its answer'],
  },
  {
    reason: 'a message of more than about 12 kB blocks the connection to the server, so none is sent',
    tests: ['a message of 60 kB crosses whole in both directions over TCP'],
  },
  {
    reason: 'the server ends when it cannot bind a listener; start then says that no server answers',
    tests: ['start names the listener that cannot be bound and binds none'],
  },
  {
    reason: 'an unacknowledged reliable provisional response kills the server (SIGSEGV), so none is sent',
    tests: [
      'Supported and Require name 100rel',
      'a reliable response is retransmitted until its PRACK, and the next one counts up',
      'a PRACK that names another response is 481',
      'a reliable response that is never acknowledged is reported, and the INVITE can be rejected',
      'a 2xx waits for the PRACK of a provisional response with a session description',
      'a PRACK with an offer is for the user to answer',
      'without a handler an offer in PRACK is 488 and an early UPDATE 501',
      'UPDATE crosses in both directions of an early dialog',
    ],
  },
  {
    reason: 'the server has one To tag per INVITE',
    tests: ['the early dialogs of a forked callee have their own To tags'],
  },
  {
    reason: 'the server sends PRACK without a body, so an INVITE without offer goes out without 100rel',
    tests: ['an offer in a reliable response waits for the answer of the user'],
  },
  {
    reason: 'the server makes a dialog for status 200 only, so any 2xx to an INVITE goes out as 200',
    tests: ['an answer carries status, reason, headers and the body octet by octet'],
  },
  {
    reason: 'the server sends 100 Trying to every INVITE before it tells of it',
    tests: [
      'a rejection carries status, reason, headers and body, and takes its ACK',
      'a status that is none never reaches the wire',
      'a stranger whose INVITE takes its time gets no 100',
      'requests for dialogs that do not exist are 481, an ACK meets silence',
    ],
  },
  {
    reason: 'the server parses and answers before the gateway can screen a source',
    tests: [
      'who is dropped meets silence and is not heard',
      'a stranger gets one short answer without retransmission, and nothing is kept of it',
      'a refusal of a stranger keeps what matters where there is no room for all, and all of it over TCP',
      'malformed messages of a stranger get at most one answer, no longer than they are',
    ],
  },
  {
    reason: 'the server does not tell of a 100 Trying that it receives',
    tests: [
      'provisional responses of forks are told apart by their To tags',
      'silence to a request is a time-out, heard or not (udp)',
      'silence to a request is a time-out, heard or not (tcp)',
      'silence after a 100 is cancelled after timeoutMs and was heard',
    ],
  },
  {
    reason: 'the 503 that the server makes up itself does not say what went wrong: all is unreachable',
    tests: ['a port where nobody listens is refused over TCP'],
  },
  {
    reason: 'the server sends no SNI, verifies no certificate and shows none of a trunk',
    tests: [
      'TLS failures are told apart',
      'TLS shows the name it wants, checks the chain, and shows its certificate when asked',
    ],
  },
  {
    reason: 'the server connects only where it has a listener of that transport',
    tests: ['tcp', 'tls'].map(
      (transport) =>
        `without a ${transport} listener requests leave over ${transport}, and the peer's come by the same connection`,
    ),
  },
  {
    reason: 'the server asks no client for a certificate',
    tests: ['a TLS listener that demands certificates refuses callers without a good one'],
  },
  {
    reason: "connections are the server's: it closes none when idle, slow or too many, and tells of none",
    tests: [
      'a caller whose connection dies while it rings is lost',
      'a message that does not get whole in time closes its connection',
      'an idle connection is closed, one with keep-alives or a dialog is not',
      'connections beyond the bound of one address are closed',
      'bounds on a message: head, header fields, whole',
    ],
  },
  {
    reason: 'the server answers on the connection of the request only',
    tests: [
      'a caller that has closed its connection is answered on a new one',
      'who has closed its connection is answered at its own address, whatever its Via says',
    ],
  },
  {
    reason: 'the server answers to the source port, rport or not',
    tests: ['an answer goes to the source port with rport, to the port of Via without'],
  },
  {
    reason: 'the server sends over the transport that it is told, whatever the length',
    tests: ['a large INVITE goes over TCP where the peer takes it, else over UDP'],
  },
  {
    reason:
      'the server takes a callee over IPv6 for one behind NAT, and its ACK goes nowhere (disable-nat-detection helps)',
    tests: ['IPv6 in both directions (udp)', 'IPv6 in both directions (tcp)'],
  },
  {
    reason: 'the server repeats a 2xx, and its ACK, over UDP only, and from 500 ms on whatever its T1',
    tests: [
      'the 2xx is retransmitted until its ACK (udp)',
      'the 2xx is retransmitted until its ACK (tcp)',
      'the answer is acknowledged, each copy of it again (tcp)',
      'a retransmitted INVITE gets the last response again and nobody hears of it',
    ],
  },
  {
    reason: 'the server forgets the ACK of a call that it ended, and sends none for another fork',
    tests: [
      'the second 2xx of another fork is acknowledged and ended, unseen',
      'a 2xx that crosses a CANCEL is acknowledged and ended (before the CANCEL could leave)',
      'a 2xx that crosses a CANCEL is acknowledged and ended (after the CANCEL has left)',
    ],
  },
  {
    reason: 'the server answers a CANCEL that crossed the 200 with 481, and ends the call',
    tests: ['CANCEL after the answer changes nothing, CANCEL of nothing is 481'],
  },
  {
    reason: 'the server retransmits in steps too coarse for a T1 of 25 ms',
    tests: ['silence ends in a time-out that has heard nothing, after retransmissions over UDP'],
  },
  {
    reason:
      'after a lone CRLF on a stream the server now and then misses the message behind it (once in six runs)',
    tests: ['a keep-alive is answered, and blank lines between messages are nothing'],
  },
  {
    reason: 'the server takes status 999 for a final answer',
    tests: ['answers that are none leave the INVITE as it was'],
  },
  {
    reason: 'the server answers requests of a callee in an early dialog with 500',
    tests: ['without a handler an early request of the callee is 501'],
  },
  {
    reason: 'the server answers an INVITE of the same Call-ID with 491 once the first one is answered',
    tests: ['an answered INVITE that comes back by another way makes no second call'],
  },
  {
    reason: 'the server keeps the remote target that the dialog began with',
    tests: [
      ...BOTH.map((role) => `re-INVITE of ours ${role}: answer, ACK, and a new target`),
      ...BOTH.map((role) => `UPDATE of the peer and of ours ${role} refresh the target`),
    ],
  },
  {
    reason:
      'the server forgets a re-INVITE with its first response: no 1xx, no second 200, no 487, no word of its CANCEL',
    tests: [
      ...BOTH.map((role) => `re-INVITE of the peer ${role}: answer, ACK, and a new target`),
      ...BOTH.map((role) => `a re-INVITE of the peer ${role} that is cancelled`),
      'the 2xx to a re-INVITE is retransmitted until its ACK, and BYE ends the call when none comes',
      'BYE answers a re-INVITE that waits',
    ],
  },
  {
    reason: 'the server does not rewrite the Request-URI for a strict router',
    tests: ['a strict router gets what it needs'],
  },
];

const skipped: EngineFixture['skip'] = DIFFERENCES.flatMap(({ reason, tests }) =>
  tests.map((test) => ({ test, reason })),
);

/** What a server that runs already cannot give: other listeners, faster timers, an end with the test. */
const OWN_SERVER = [
  'start binds every listener and tells the ports',
  'an address family that no listener has is unreachable',
  'stop ends what is left at the deadline: BYE, CANCEL, a final answer, closed connections',
  'a rejection is retransmitted over UDP until its ACK, and forgotten without one',
  'silence over TCP: sent once',
  'verify: false takes any certificate',
  'our TLS listener shows its certificate and serves calls',
  'octets that are no TLS do not disturb a TLS listener',
];

/** The skips for a server of the test's own, or for one that runs and why that is not enough. */
export function skippedOn(shortcoming: string | undefined): EngineFixture['skip'] {
  if (shortcoming === undefined) return skipped;
  return [...skipped, ...OWN_SERVER.map((test) => ({ test, reason: `NOT RUN: ${shortcoming}` }))];
}
