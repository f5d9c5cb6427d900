/** The dialog of a subscription (RFC 6665 §4.1): SUBSCRIBE goes out, NOTIFY comes in, nobody else gets in. */
import { expect } from 'vitest';
import type { IncomingRequest, RequestOutcome, Subscription } from '#engine/engine.js';
import type { HeaderField } from '#sip/message.js';
import type { Received, SipPeer } from '../kit/sip-peer.js';
import { Queue, type Rig, type Scenario } from './rig.js';

const EVENT: readonly HeaderField[] = [
  { name: 'Event', value: 'dialog' },
  { name: 'Expires', value: '600' },
];

interface Subscribed {
  readonly subscription: Subscription;
  readonly notifies: Queue<IncomingRequest>;
  send(headers?: readonly HeaderField[]): Queue<RequestOutcome>;
}

function subscribe(rig: Rig, peer: SipPeer): Subscribed {
  const notifies = new Queue<IncomingRequest>('a NOTIFY');
  const subscription = rig.engine.subscribe?.(
    {
      uri: 'sip:watched@presence.example',
      target: { transport: peer.transport, address: peer.host, port: peer.port },
      from: '<sip:acme@presence.example>',
      to: '<sip:watched@presence.example>',
      contactUser: 'tok',
      route: ['<sip:edge.example;lr>'],
    },
    { onNotify: (notify) => notifies.push(notify) },
  );
  if (subscription === undefined) throw new Error('this engine holds no subscriptions');
  return {
    subscription,
    notifies,
    send: (headers = EVENT) => {
      const outcomes = new Queue<RequestOutcome>('the outcome of the SUBSCRIBE');
      let inside = true;
      subscription.send(headers, (outcome) => {
        expect(inside).toBe(false);
        outcomes.push(outcome);
      });
      inside = false;
      return outcomes;
    },
  };
}

/** The peer's NOTIFY for a SUBSCRIBE it got. */
async function notify(
  rig: Rig,
  peer: SipPeer,
  subscribe: Received,
  options: {
    cseq: number;
    fromTag?: string;
    toTag?: string;
    callId?: string;
    method?: string;
    state?: string;
  },
): Promise<Received> {
  const way =
    subscribe.connection === undefined ? await peer.way(rig.at(peer.transport)) : subscribe.connection;
  const method = options.method ?? 'NOTIFY';
  way.send(
    peer.request({
      method,
      to: rig.at(peer.transport),
      uri: subscribe.contactUri,
      fromUri: 'sip:watched@presence.example',
      toUri: 'sip:acme@presence.example',
      fromTag: options.fromTag ?? 'uas',
      toTag: options.toTag ?? subscribe.tag('From'),
      callId: options.callId ?? subscribe.callId,
      cseq: options.cseq,
      headers: [
        ['Event', 'dialog'],
        ['Subscription-State', options.state ?? 'active;expires=600'],
      ],
    }),
  );
  return peer.expect((message) => message.status >= 200 && message.cseqMethod === method);
}

async function outcomeOf(outcomes: Queue<RequestOutcome>): Promise<number | string> {
  const outcome = await outcomes.next();
  return outcome.kind === 'response' ? outcome.response.status : outcome.fault.kind;
}

export function subscriptions(scenario: Scenario): void {
  for (const transport of ['udp', 'tcp'] as const) {
    scenario(
      `SUBSCRIBE over ${transport} makes a dialog, refreshes it, and gets its NOTIFYs`,
      async (rig) => {
        const peer = await rig.peer(transport);
        const one = subscribe(rig, peer);
        const first = one.send();
        const begin = await peer.expect('SUBSCRIBE');
        expect(begin.startLine).toBe('SUBSCRIBE sip:watched@presence.example SIP/2.0');
        expect([begin.tag('To'), begin.header('Event'), begin.header('Expires')]).toEqual([
          '',
          'dialog',
          '600',
        ]);
        expect(begin.contactUri).toContain('sip:tok@127.0.0.1');
        peer.respond(begin, 200, 'OK', { contact: peer.contact });
        expect(await outcomeOf(first)).toBe(200);

        const answered = notify(rig, peer, begin, { cseq: 7 });
        const incoming = await one.notifies.next();
        expect(incoming.request.headers.get('subscription-state')).toBe('active;expires=600');
        incoming.respond(200, 'OK');
        expect((await answered).status).toBe(200);

        const second = one.send();
        const refresh = await peer.expect('SUBSCRIBE');
        expect(refresh.uri).toBe(peer.contact);
        expect([refresh.callId, refresh.tag('From'), refresh.tag('To')]).toEqual([
          begin.callId,
          begin.tag('From'),
          'uas',
        ]);
        expect(refresh.cseq).toBe(begin.cseq + 1);
        peer.respond(refresh, 481, 'Subscription Does Not Exist');
        expect(await outcomeOf(second)).toBe(481);
        one.subscription.close();
        expect(rig.gauges.dialogs).toBe(0);
      },
    );
  }

  scenario('a challenged SUBSCRIBE is sent again with Call-ID, From tag and the next CSeq', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    const first = one.send();
    const begin = await peer.expect('SUBSCRIBE');
    peer.respond(begin, 401, 'Unauthorized');
    expect(await outcomeOf(first)).toBe(401);
    const second = one.send([...EVENT, { name: 'Authorization', value: 'Digest x="y"' }]);
    const again = await peer.expect('SUBSCRIBE');
    expect([again.callId, again.tag('From'), again.tag('To'), again.cseq]).toEqual([
      begin.callId,
      begin.tag('From'),
      '',
      begin.cseq + 1,
    ]);
    expect(again.header('Authorization')).toBe('Digest x="y"');
    peer.respond(again, 200, 'OK', { contact: peer.contact });
    expect(await outcomeOf(second)).toBe(200);
    one.subscription.close();
  });

  scenario('a NOTIFY that overtakes the 2xx makes the dialog', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    const first = one.send();
    const begin = await peer.expect('SUBSCRIBE');
    const answered = notify(rig, peer, begin, { cseq: 1, fromTag: 'early' });
    (await one.notifies.next()).respond(200, 'OK');
    expect((await answered).status).toBe(200);
    peer.respond(begin, 200, 'OK', { toTag: 'early', contact: peer.contact });
    expect(await outcomeOf(first)).toBe(200);
    one.send();
    const refresh = await peer.expect('SUBSCRIBE');
    expect([refresh.tag('To'), refresh.uri]).toEqual(['early', peer.contact]);
    peer.respond(refresh, 200, 'OK', { contact: peer.contact });
    one.subscription.close();
  });

  scenario('a SUBSCRIBE outside the dialog carries the route it is given', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    one.send();
    const begin = await peer.expect('SUBSCRIBE');
    expect(begin.header('Route')).toBe('<sip:edge.example;lr>');
    peer.respond(begin, 489, 'Bad Event');
    one.subscription.close();
  });

  scenario('the Contact of a NOTIFY is the next target', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    const first = one.send();
    const begin = await peer.expect('SUBSCRIBE');
    peer.respond(begin, 200, 'OK', { contact: `${peer.contact};q=dialog` });
    await outcomeOf(first);
    const answered = notify(rig, peer, begin, { cseq: 7 });
    (await one.notifies.next()).respond(200, 'OK');
    await answered;
    one.send();
    const refresh = await peer.expect('SUBSCRIBE');
    expect(refresh.uri).toBe(peer.contact);
    peer.respond(refresh, 200, 'OK', { contact: peer.contact });
    one.subscription.close();
  });

  scenario('the NOTIFY that ends a subscription is answered', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    const first = one.send();
    const begin = await peer.expect('SUBSCRIBE');
    peer.respond(begin, 200, 'OK', { contact: peer.contact });
    await outcomeOf(first);
    const answered = notify(rig, peer, begin, { cseq: 1, state: 'terminated;reason=timeout' });
    const incoming = await one.notifies.next();
    expect(incoming.request.headers.get('subscription-state')).toBe('terminated;reason=timeout');
    incoming.respond(200, 'OK');
    expect((await answered).status).toBe(200);
    one.subscription.close();
  });

  scenario('what does not belong to the subscription is refused', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    const first = one.send();
    const begin = await peer.expect('SUBSCRIBE');
    peer.respond(begin, 200, 'OK', { contact: peer.contact });
    await outcomeOf(first);
    const good = notify(rig, peer, begin, { cseq: 5 });
    (await one.notifies.next()).respond(200, 'OK');
    await good;
    // Another fork, another Call-ID, an unknown tag, a late CSeq, another method.
    expect((await notify(rig, peer, begin, { cseq: 6, fromTag: 'fork' })).status).toBe(481);
    expect((await notify(rig, peer, begin, { cseq: 6, callId: 'other' })).status).toBe(481);
    expect((await notify(rig, peer, begin, { cseq: 6, toTag: 'stranger' })).status).toBe(481);
    expect((await notify(rig, peer, begin, { cseq: 4 })).status).toBe(500);
    expect((await notify(rig, peer, begin, { cseq: 6, method: 'MESSAGE' })).status).toBe(405);
    expect(one.notifies.all).toHaveLength(1);
    one.subscription.close();
    expect((await notify(rig, peer, begin, { cseq: 8 })).status).toBe(481);
    expect(await outcomeOf(one.send())).toBe('flow-lost');
    expect(one.notifies.all).toHaveLength(1);
  });

  scenario(
    'at the bound of dialogs nothing is sent',
    async (rig) => {
      const peer = await rig.peer();
      const one = subscribe(rig, peer);
      const other = subscribe(rig, peer);
      expect(await outcomeOf(other.send())).toBe('capacity');
      other.subscription.close();
      expect(peer.count('SUBSCRIBE')).toBe(0);
      one.subscription.close();
      expect(rig.gauges.dialogs).toBe(0);
    },
    { limits: { dialogs: 1 } },
  );

  scenario('a stopped engine sends no SUBSCRIBE and forgets its subscriptions', async (rig) => {
    const peer = await rig.peer();
    const one = subscribe(rig, peer);
    await rig.engine.stop(0);
    expect(rig.gauges.dialogs).toBe(0);
    expect(await outcomeOf(one.send())).toBe('flow-lost');
  });
}
