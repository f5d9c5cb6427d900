/**
 * Spoiled messages to the gateway as a process: requests and responses of a known trunk over UDP and TCP, and answers
 * of an agent. It goes on answering OPTIONS, every caller gets a final answer, and nothing is left in the end.
 *
 * A failure prints fast-check's seed and path; `fc.assert(…, { seed, path })` repeats it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { until } from '../kit/processes.js';
import { type Address, Message, response, SDP, unique } from '../kit/sip-message.js';
import { hopByHop, PeerDialog, SipPeer } from '../kit/sip-peer.js';
import { spoil, steps } from './mutations.js';

const NUMBER = '+14155550100';
/** Each has several messages: about 8,000 over UDP and 2,400 over TCP. */
const UDP_RUNS = 1_000;
const TCP_RUNS = 300;
const ANSWER_RUNS = 500;

let gateway: Gateway;
let agent: SipPeer;
let trunk: SipPeer;
let to: Address;
let corpus: string[];

beforeAll(async () => {
  agent = await SipPeer.open('udp');
  trunk = await SipPeer.open('udp');
  gateway = await Gateway.start({
    config: {
      sip: { timers: { t1: 50, t2: 200, t4: 250 }, limits: { messageTimeoutMs: 2_000 } },
      calls: { setupTimeoutSeconds: 3, ringTimeoutSeconds: 3, attemptTimeoutSeconds: 1 },
      sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
      phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'agent' }],
      agents: [
        {
          id: 'agent',
          name: 'Agent',
          endpoints: [{ uri: `sip:a@${agent.hostPort}`, priority: 1, weight: 1 }],
        },
      ],
    },
  });
  to = { host: '127.0.0.1', port: gateway.port };
  corpus = makeCorpus();
});

afterAll(async () => {
  await agent.close();
  await trunk.close();
  await gateway.stop();
});

function makeCorpus(): string[] {
  const messages = fileURLToPath(new URL('../torture/messages/', import.meta.url));
  const torture = ['rfc4475', 'rfc5118'].flatMap((rfc) =>
    readdirSync(messages + rfc).map((name) => readFileSync(`${messages}${rfc}/${name}`, 'latin1')),
  );
  const uri = `sip:${NUMBER}@127.0.0.1`;
  const invite = new Message(trunk.request({ method: 'INVITE', to, uri, body: SDP }));
  const answer = new Message(response(invite, 200, 'OK', { contact: trunk.contact, body: SDP }));
  const dialog = PeerDialog.ofCaller(trunk, invite, answer);
  const ours = ['BYE', 'INFO', 'UPDATE', 'INVITE', 'PRACK', 'REFER', 'NOTIFY', 'MESSAGE'].map((method) =>
    dialog.request(method, { body: SDP, headers: [['RAck', '1 1 INVITE']] }),
  );
  const others = ['OPTIONS', 'REGISTER', 'SUBSCRIBE', 'MESSAGE'].map((method) =>
    trunk.request({ method, to, headers: [['Event', 'presence']] }),
  );
  return [
    ...torture,
    ...ours,
    ...others,
    invite.raw,
    trunk.request({ method: 'INVITE', to, uri: 'sip:+14155550199@127.0.0.1', body: SDP }),
    trunk.request({
      method: 'INVITE',
      to,
      uri,
      headers: [
        ['Supported', '100rel, timer'],
        ['Record-Route', '<sip:127.0.0.1;lr>'],
        ['Reason', 'Q.850;cause=16;text="x"'],
        ['User-to-User', '00;encoding=hex'],
      ],
      body: SDP,
    }),
    answer.raw,
    hopByHop('CANCEL', invite, invite.header('To')),
    hopByHop('ACK', invite, invite.header('To')),
  ];
}

/** Which message of the corpus, and how it is spoiled. */
const spoiled = fc.record({ which: fc.nat(1_000), list: steps });

function octetsOf({ which, list }: { which: number; list: Parameters<typeof spoil>[1] }): string {
  const message = corpus[which % corpus.length]!;
  // A Call-ID and branch of its own, so that it is not taken for a copy of an earlier one.
  return spoil(message.replaceAll(/z9hG4bK/g, `z9hG4bK${unique('z')}`), list);
}

/** Agents and trunk answer what reaches them, so that calls that slip through come to an end. */
function answerEverything(): void {
  agent.intercept = (message) => {
    if (message.method === 'INVITE') agent.respond(message, 486, 'Busy Here');
    else if (message.method !== '' && message.method !== 'ACK') agent.respond(message, 200, 'OK');
    return true;
  };
}

/** Keeps what a peer has received from growing over thousands of runs. */
function forget(): void {
  trunk.received.length = 0;
  agent.received.length = 0;
}

const PARAMETERS = { endOnFailure: false, verbose: 1 } as const;

test(`${UDP_RUNS} times spoiled messages over UDP`, { timeout: 240_000 }, async () => {
  answerEverything();
  const way = await trunk.way(to);
  const statuses = new Map<number, number>();
  trunk.intercept = (message) => {
    statuses.set(message.status, (statuses.get(message.status) ?? 0) + 1);
    return false;
  };
  await fc.assert(
    fc.asyncProperty(fc.array(spoiled, { minLength: 4, maxLength: 12 }), async (batch) => {
      forget();
      for (const one of batch) way.send(octetsOf(one).slice(0, 65_000));
      await trunk.fence(to, way);
    }),
    { ...PARAMETERS, numRuns: UDP_RUNS },
  );
  trunk.intercept = undefined;
  // What came was read to every depth: refused as broken, as of no dialog, by routing, and by the agent.
  for (const status of [400, 404, 481, 486]) {
    expect(statuses.get(status) ?? 0, `answers ${status}`).toBeGreaterThan(10);
  }
});

test(`${TCP_RUNS} times spoiled messages over TCP`, { timeout: 240_000 }, async () => {
  answerEverything();
  const stream = await SipPeer.open('tcp');
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(spoiled, { minLength: 4, maxLength: 12 }),
        fc.array(fc.nat(2_000), { maxLength: 6 }),
        async (batch, cuts) => {
          forget();
          stream.received.length = 0;
          const connection = await stream.connect(to);
          // In segments of any size.
          let octets = batch.map(octetsOf).join('');
          for (const cut of cuts) {
            connection.send(octets.slice(0, cut));
            octets = octets.slice(cut);
          }
          connection.send(octets);
          await trunk.fence(to);
          stream.disconnect();
        },
      ),
      { ...PARAMETERS, numRuns: TCP_RUNS },
    );
  } finally {
    await stream.close();
  }
});

test(`${ANSWER_RUNS} times spoiled answers of an agent: the caller gets a final one`, {
  timeout: 600_000,
}, async () => {
  const way = await trunk.way(to);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ status: fc.constantFrom(100, 180, 183, 200, 302, 401, 486, 503), list: steps }), {
        minLength: 1,
        maxLength: 6,
      }),
      async (answers) => {
        forget();
        agent.intercept = (message) => {
          if (message.method === 'INVITE') {
            for (const { status, list } of answers) {
              const octets = response(message, status, 'Spoiled', {
                contact: agent.contact,
                headers: [
                  ['Require', '100rel'],
                  ['RSeq', '1'],
                ],
                body: SDP,
              });
              agent.answer(message, spoil(octets, list));
            }
            agent.respond(message, 486, 'Busy Here');
          } else if (message.method !== '' && message.method !== 'ACK') agent.respond(message, 200, 'OK');
          return true;
        };
        const invite = new Message(
          trunk.request({ method: 'INVITE', to, uri: `sip:${NUMBER}@127.0.0.1`, body: SDP }),
        );
        way.send(invite.raw);
        const final = await trunk.expect(
          (message) => message.callId === invite.callId && message.status >= 200,
          20_000,
        );
        if (final.status >= 300) way.send(hopByHop('ACK', invite, final.header('To')));
        else {
          const dialog = PeerDialog.ofCaller(trunk, invite, final);
          way.send(dialog.request('ACK', { cseq: invite.cseq }));
          way.send(dialog.request('BYE'));
          // The agent's half may have been spoiled so that it never ends by itself; ours does.
          await trunk.expect((message) => message.callId === invite.callId && message.cseqMethod === 'BYE');
        }
        await trunk.fence(to, way);
      },
    ),
    { ...PARAMETERS, numRuns: ANSWER_RUNS },
  );
});

test('nothing is left', { timeout: 120_000 }, async () => {
  answerEverything();
  // Dialogs that a spoiled 2xx or a lost BYE left open end when their peers answer or their timers fire.
  await gateway.idle(90_000);
  await until('no connection', async () => (await gateway.held()).connections === 0);
  expect(gateway.program.exit).toBeUndefined();
  expect(gateway.log().filter(({ level }) => level === 50 || level === 'error')).toEqual([]);
});
