/**
 * Agents that answer nonsense. Whatever they do, the caller gets a final answer within 36 seconds (30 of ringing and
 * what ends it), one and no more, and nothing is left in the gateway.
 *
 * All calls run at the same time, each to an agent of its own.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Gateway } from '../kit/gateway.js';
import { until } from '../kit/processes.js';
import { Message, response, SDP } from '../kit/sip-message.js';
import { hopByHop, PeerDialog, type Received, SipPeer } from '../kit/sip-peer.js';

const FINAL_MS = 36_000;

interface Nonsense {
  readonly name: string;
  /** What the agent does with the INVITE. Other requests are answered 200, unless `deaf`. */
  act(peer: SipPeer, invite: Received): void;
  readonly deaf?: boolean;
  /** Statuses that the caller may get; default any. */
  readonly allowed?: readonly number[];
}

const ok = (peer: SipPeer, invite: Received, toTag = 'uas'): string =>
  response(invite, 200, 'OK', { contact: peer.contact, toTag, body: SDP });

const CASES: readonly Nonsense[] = [
  { name: 'silence', deaf: true, act: () => undefined },
  { name: '100 and silence', act: (peer, invite) => void peer.respond(invite, 100, 'Trying') },
  { name: '180 and silence', deaf: true, act: (peer, invite) => void peer.respond(invite, 180, 'Ringing') },
  {
    name: 'status 999',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace('200 OK', '999 What')),
  },
  {
    name: 'status 099',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace('200 OK', '099 What')),
  },
  {
    name: 'status 0',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace('200 OK', '0 What')),
  },
  {
    name: 'status 4294967496',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace('200 OK', '4294967496 What')),
  },
  { name: '200 without To tag', act: (peer, invite) => peer.answer(invite, ok(peer, invite, '')) },
  {
    name: '200 with another Call-ID',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace(invite.callId, 'another')),
  },
  {
    name: '200 with another From tag',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace(invite.tag('From'), 'another')),
  },
  {
    name: '200 to another CSeq',
    act: (peer, invite) =>
      peer.answer(invite, ok(peer, invite).replace(/^CSeq: .*$/m, `CSeq: ${invite.cseq + 7} INVITE`)),
  },
  {
    name: '200 to BYE on the branch of the INVITE',
    act: (peer, invite) =>
      peer.answer(invite, ok(peer, invite).replace(/^CSeq: .*$/m, `CSeq: ${invite.cseq} BYE`)),
  },
  {
    name: '200 with another branch',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace(invite.branch, 'z9hG4bKother')),
  },
  {
    name: '200 without Via',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace(/^Via: .*\r\n/m, '')),
  },
  {
    name: '200 without Contact',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).replace(/^Contact: .*\r\n/m, '')),
  },
  {
    name: '200 with a Contact that is none',
    act: (peer, invite) =>
      peer.answer(invite, ok(peer, invite).replace(/^Contact: .*$/m, 'Contact: <<>>;,"')),
  },
  {
    name: '200 with a Record-Route that is none',
    act: (peer, invite) =>
      peer.answer(invite, ok(peer, invite).replace(/^(Contact: )/m, 'Record-Route: <>>,"\r\n$1')),
  },
  {
    name: '200 with 50 kB of SDP',
    allowed: [200],
    act: (peer, invite) =>
      void peer.respond(invite, 200, 'OK', {
        contact: peer.contact,
        body: `${SDP}${`a=x:${'y'.repeat(94)}\r\n`.repeat(500)}`,
      }),
  },
  {
    name: '200 shorter than it says',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).slice(0, -10)),
  },
  {
    name: '200 of 9,999 octets that never come',
    act: (peer, invite) =>
      peer.answer(invite, ok(peer, invite).replace(/^Content-Length: .*$/m, 'Content-Length: 9999')),
  },
  {
    name: '200 cut in its head',
    act: (peer, invite) => peer.answer(invite, ok(peer, invite).slice(0, 120)),
  },
  {
    name: '500 times 180',
    act: (peer, invite) => {
      for (let i = 0; i < 500; i++) peer.respond(invite, 180, 'Ringing', { contact: peer.contact });
    },
  },
  {
    name: '500 times 180 of 500 forks',
    act: (peer, invite) => {
      for (let i = 0; i < 500; i++) {
        peer.respond(invite, 180, 'Ringing', { toTag: `fork${i}`, contact: peer.contact });
      }
    },
  },
  {
    name: '500 reliable 183 with wild RSeq',
    act: (peer, invite) => {
      for (let i = 0; i < 500; i++) {
        peer.respond(invite, 183, 'Session Progress', {
          contact: peer.contact,
          headers: [
            ['Require', '100rel'],
            ['RSeq', String((i * 2_654_435_761) % 4_294_967_296)],
          ],
          body: SDP,
        });
      }
    },
  },
  {
    name: '50 times 200',
    allowed: [200],
    act: (peer, invite) => {
      for (let i = 0; i < 50; i++) peer.answer(invite, ok(peer, invite));
    },
  },
  {
    name: '50 times 200 of 50 forks',
    allowed: [200],
    act: (peer, invite) => {
      for (let i = 0; i < 50; i++) peer.answer(invite, ok(peer, invite, `fork${i}`));
    },
  },
  {
    name: '486 and then 200',
    allowed: [486],
    act: (peer, invite) => {
      peer.respond(invite, 486, 'Busy Here');
      peer.answer(invite, ok(peer, invite));
    },
  },
  {
    name: 'CR in the reason',
    act: (peer, invite) => void peer.respond(invite, 486, 'Bu\rsy'),
  },
  {
    name: 'LF in the reason',
    act: (peer, invite) => void peer.respond(invite, 486, 'Bu\nX-Evil: 1'),
  },
  {
    name: 'CR LF in the reason',
    // What follows is a header field like any other; the reason is what stands before.
    act: (peer, invite) => void peer.respond(invite, 486, 'Bu\r\nX-Evil: 1'),
  },
  {
    name: 'NUL in the reason',
    act: (peer, invite) => void peer.respond(invite, 486, 'Bu\u0000sy'),
  },
  {
    name: 'a challenge',
    act: (peer, invite) =>
      void peer.respond(invite, 401, 'Unauthorized', {
        headers: [['WWW-Authenticate', 'Digest realm="r", nonce="n"']],
      }),
  },
  {
    name: 'a redirection to itself',
    act: (peer, invite) => void peer.respond(invite, 302, 'Moved Temporarily', { contact: peer.contact }),
  },
  {
    name: 'BYE, CANCEL and INVITE instead of an answer',
    act: (peer, invite) => {
      peer.respond(invite, 180, 'Ringing', { contact: peer.contact });
      const dialog = PeerDialog.ofCallee(peer, invite);
      for (const method of ['BYE', 'INVITE', 'UPDATE', 'PRACK', 'REFER']) {
        peer.answer(invite, dialog.request(method, { body: SDP }));
      }
      peer.answer(invite, hopByHop('CANCEL', invite, invite.header('To')));
    },
  },
  {
    name: 'garbage',
    act: (peer, invite) => {
      for (const octets of [
        '\u0000'.repeat(1_000),
        'SIP/2.0',
        'SIP/2.0 200',
        '\r\n\r\n',
        'x'.repeat(60_000),
      ]) {
        peer.answer(invite, octets);
      }
    },
  },
  {
    name: 'its own INVITE sent back',
    act: (peer, invite) => peer.answer(invite, invite.raw),
  },
];

interface Prepared {
  readonly nonsense: Nonsense;
  readonly number: string;
  readonly agent: SipPeer;
}

let gateway: Gateway;
let prepared: Prepared[];
/** Of the calls, all made at the same time. */
let outcomes: Promise<readonly Received[] | Error>[];

beforeAll(async () => {
  prepared = await Promise.all(
    CASES.map(async (nonsense, i) => {
      const agent = await SipPeer.open('udp');
      agent.intercept = (message) => {
        if (message.method === 'INVITE' && message.tag('To') === '') {
          if (agent.count('INVITE') === 0 || nonsense.name !== 'silence') nonsense.act(agent, message);
        } else if (!nonsense.deaf && message.method !== '' && message.method !== 'ACK') {
          agent.respond(message, 200, 'OK');
        }
        return false;
      };
      return { nonsense, agent, number: `+1415555${String(1_000 + i)}` };
    }),
  );
  gateway = await Gateway.start({
    config: {
      sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
      phoneNumbers: prepared.map(({ number }, i) => ({
        phoneNumber: number,
        credentialsId: 'carrier',
        inboundAgentId: `agent-${i}`,
      })),
      agents: prepared.map(({ agent }, i) => ({
        id: `agent-${i}`,
        name: `Agent ${i}`,
        endpoints: [{ uri: `sip:agent@${agent.hostPort}`, priority: 1, weight: 1 }],
      })),
    },
  });
  outcomes = prepared.map((one) =>
    call(one).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))),
  );
});

afterAll(async () => {
  for (const { agent } of prepared) await agent.close();
  await gateway.stop();
});

/** Calls the agent, and returns what the caller got by the time that the call is over. */
async function call({ nonsense, number, agent }: Prepared): Promise<readonly Received[]> {
  const caller = await SipPeer.open('udp');
  try {
    const to = { host: '127.0.0.1', port: gateway.port };
    const way = await caller.way(to);
    const invite = new Message(
      caller.request({ method: 'INVITE', to, uri: `sip:${number}@127.0.0.1`, body: SDP }),
    );
    way.send(invite.raw);
    const isFinal = (message: Received): boolean =>
      message.status >= 200 && message.cseqMethod === 'INVITE' && message.callId === invite.callId;
    const final = await caller.expect(isFinal, FINAL_MS);
    expect(agent.count('INVITE')).toBeGreaterThan(0);
    if (nonsense.allowed !== undefined) expect(nonsense.allowed).toContain(final.status);
    if (final.status < 300) {
      const dialog = PeerDialog.ofCaller(caller, invite, final);
      way.send(dialog.request('ACK', { cseq: invite.cseq }));
      way.send(dialog.request('BYE'));
      await caller.expect('200 BYE');
    } else way.send(hopByHop('ACK', invite, final.header('To')));
    await caller.fence(to, way);
    expect(new Set(caller.received.filter(isFinal).map(({ raw }) => raw)).size).toBe(1);
    return caller.received;
  } finally {
    await caller.close();
  }
}

describe('the caller gets one final answer', () => {
  test.each(CASES.map(({ name }, index) => ({ name, index })))(
    'agent: $name',
    { timeout: FINAL_MS + 20_000 },
    async ({ index }) => {
      const outcome = await outcomes[index]!;
      if (outcome instanceof Error) throw outcome;
      for (const { raw, body } of outcome) {
        expect(raw.slice(0, raw.length - body.length).replaceAll('\r\n', '')).not.toMatch(/[\r\n\u0000]/);
      }
    },
  );
});

test('forks that answered too late were acknowledged and ended, as many as a callee may reasonably have', () => {
  const { agent } = prepared[CASES.findIndex(({ name }) => name === '50 times 200 of 50 forks')]!;
  const tagsOf = (method: string): string[] => [
    ...new Set(agent.received.filter((m) => m.method === method).map((m) => m.tag('To'))),
  ];
  expect(tagsOf('ACK').length).toBeGreaterThanOrEqual(16);
  expect(tagsOf('BYE').sort()).toEqual(tagsOf('ACK').sort());
});

test('nothing is left, and the log is whole', { timeout: 90_000 }, async () => {
  await gateway.idle(60_000);
  expect(gateway.program.exit).toBeUndefined();
  expect((await gateway.held()).calls).toBe(0);
  // The INVITE that was sent back is a call of its own, refused as a loop.
  await until('a record for each call', () => gateway.records().length > CASES.length);
  expect(gateway.records()).toHaveLength(CASES.length + 1);
  expect(gateway.records().filter(({ code }) => code === 'loop_detected')).toHaveLength(1);
  expect(gateway.program.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  expect(gateway.log().filter(({ level }) => level === 50 || level === 'error')).toEqual([]);
});
