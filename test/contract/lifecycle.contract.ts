/** Start, stop, drain, health and gauges. */
import { createServer } from 'node:net';
import { expect } from 'vitest';
import { freePort } from '../kit/ports.js';
import { OTHER_SDP, SDP } from '../kit/sip-message.js';
import { SipPeer } from '../kit/sip-peer.js';
import { acknowledge, answeredIncoming, answeredOutgoing, incoming } from './calls.js';
import { FAST, HOST, type ListenAt, type Scenario } from './rig.js';

export function lifecycle(scenario: Scenario): void {
  scenario('start binds every listener and tells the ports', async (rig) => {
    const ids = rig.engine.listeners.map(({ id }) => id);
    expect(rig.engine.listeners.map(({ transport, host }) => [transport, host])).toEqual([
      ['udp', HOST],
      ['tcp', HOST],
    ]);
    expect(new Set(ids).size).toBe(2);
    for (const { transport } of rig.engine.listeners) {
      const peer = await rig.peer(transport);
      expect(rig.at(transport).port).toBeGreaterThan(0);
      await peer.fence(rig.at(transport));
    }
  });

  scenario(
    'start names the listener that cannot be bound and binds none',
    async (rig) => {
      await expect(rig.start()).rejects.toThrow(new RegExp(`tcp.*${taken.port}`, 'i'));
      const freed = await SipPeer.open('udp', { port: alsoWanted.port });
      await freed.close();
      await taken.close();
      expect(rig.engine.health().ready).toBe(false);
    },
    { start: false, listen: refusedListeners },
  );

  scenario('health is ready between start and stop, and gauges of an idle engine are 0', async (rig) => {
    expect(rig.engine.health()).toMatchObject({
      ready: true,
      gauges: { transactions: 0, dialogs: 0, connections: 0, timers: 0 },
    });
    await rig.engine.stop(0);
    expect(rig.engine.health().ready).toBe(false);
  });

  scenario(
    'gauges return to 0 after calls of both directions over every transport',
    async (rig) => {
      for (const transport of ['udp', 'tcp'] as const) {
        const inward = await answeredIncoming(rig, { transport });
        const outward = await answeredOutgoing(rig, { transport });
        expect(rig.gauges.dialogs).toBe(2);
        for (const call of [inward, outward]) {
          call.way.send(call.remote.request('BYE'));
          await call.peer.expect('200 BYE');
          expect((await call.events.ended.next()).kind).toBe('bye');
        }
        const refused = await incoming(rig, { transport });
        refused.record.invite.reject(486, 'Busy Here');
        acknowledge(refused.way, refused.invite, await refused.peer.expect(486));
      }
      await rig.disconnect();
      await rig.idle();
      expect(rig.gauges).toEqual({ transactions: 0, dialogs: 0, connections: 0, timers: 0 });
    },
    { timers: FAST },
  );

  scenario('drain refuses new INVITEs with 503 and Retry-After while live calls go on', async (rig) => {
    const live = await answeredIncoming(rig);
    rig.engine.drain();
    const peer = await rig.peer();
    const to = rig.at('udp');
    (await peer.way(to)).send(peer.request({ method: 'INVITE', to, body: SDP }));
    const refusal = await peer.expect(503);
    expect(Number(refusal.header('Retry-After'))).toBeGreaterThan(0);
    expect(rig.invites.all).toHaveLength(1);
    // The live call can still change and end, and health checks are still heard.
    live.way.send(live.remote.request('INVITE', { body: OTHER_SDP }));
    (await live.events.requests.next()).respond(200, 'OK', [], SDP);
    const ok = await live.peer.expect('200 INVITE');
    live.way.send(live.remote.request('ACK', { cseq: ok.cseq }));
    await peer.fence(to);
    live.way.send(live.remote.request('BYE'));
    await live.peer.expect('200 BYE');
  });

  scenario('stop waits for live calls to end', async (rig) => {
    const live = await answeredIncoming(rig);
    let stopped = false;
    const stop = rig.engine.stop(20_000).then(() => {
      stopped = true;
    });
    const peer = await rig.peer();
    const to = rig.at('udp');
    (await peer.way(to)).send(peer.request({ method: 'INVITE', to, body: SDP }));
    await peer.expect(503);
    expect(stopped).toBe(false);
    live.way.send(live.remote.request('BYE'));
    await live.peer.expect('200 BYE');
    await live.events.ended.next();
    await stop;
  });

  scenario(
    'stop ends what is left at the deadline: BYE, CANCEL, a final answer, closed connections',
    async (rig) => {
      const live = await answeredIncoming(rig);
      const bystander = await rig.peer('tcp');
      const connection = await bystander.connect(rig.at('tcp'));
      const ringing = await incoming(rig);
      ringing.record.invite.progress({ status: 180, reason: 'Ringing' });
      await ringing.peer.expect(180);
      const callee = await rig.peer();
      const outgoing = rig.call(callee);
      const invite = await callee.expect('INVITE');
      callee.respond(invite, 180, 'Ringing');
      await outgoing.progress.next();
      const stop = rig.engine.stop(100);
      live.peer.respond(await live.peer.expect('BYE'), 200, 'OK');
      const cancel = await callee.expect('CANCEL');
      callee.respond(cancel, 200, 'OK');
      callee.respond(invite, 487, 'Request Terminated');
      const final = await ringing.peer.expect((message) => message.status >= 300);
      expect(final.cseqMethod).toBe('INVITE');
      await stop;
      expect((await live.events.ended.next()).kind).toBe('engine-down');
      expect(outgoing.finals).toBe(1);
      await connection.untilClosed();
    },
  );

  scenario('an engine that is stopped reports engine-down', async (rig) => {
    const peer = await rig.peer();
    await rig.engine.stop(0);
    expect((await rig.call(peer).faults.next()).kind).toBe('engine-down');
    const outcome = await rig.request(peer).next();
    expect(outcome.kind === 'fault' && outcome.fault.kind).toBe('engine-down');
    expect(peer.received).toEqual([]);
  });

  scenario('an address family that no listener has is unreachable', async (rig) => {
    for (const transport of ['udp', 'tcp'] as const) {
      const target = { transport, address: '::1', port: 5060 };
      expect((await rig.call(target).faults.next()).kind).toBe('unreachable');
      const outcome = await rig.request(target).next();
      expect(outcome.kind === 'fault' && outcome.fault.kind).toBe('unreachable');
      expect(rig.engine.leavesFrom(target)).toBeUndefined();
    }
  });
}

/** The TCP port that one test finds taken, and the UDP port that has to stay free. Filled by `prepareListeners`. */
const taken = { port: 0, close: async (): Promise<void> => undefined };
const alsoWanted = { port: 0 };
const refusedListeners: ListenAt[] = [];

/** To be called before the suite runs. */
export async function prepareListeners(): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, HOST, () => resolve()));
  const bound = server.address();
  taken.port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  taken.close = () => new Promise<void>((done) => server.close(() => done()));
  alsoWanted.port = await freePort();
  refusedListeners.push(
    { transport: 'udp', host: HOST, port: alsoWanted.port },
    { transport: 'tcp', host: HOST, port: taken.port },
  );
}
