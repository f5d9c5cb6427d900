/** Goal: a peer that hangs up in the same moment as we do hears 200, as RFC 5407 §3.2.1 has it, and no error. */
import { expect } from 'vitest';
import { EmbeddedEngine } from '#engine/embedded/engine.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { answeredIncoming } from '../../contract/calls.js';
import { scenarios } from '../../contract/rig.js';

const { scenario } = scenarios({
  name: 'embedded',
  create: ({ listen, timers, limits }) =>
    new EmbeddedEngine({ listen, timers, limits, clock: systemClock(), ids: new RandomIds() }),
  skip: [],
});

scenario(
  'a BYE that crosses ours is answered 200; of another Call-ID, or another request, 481',
  async (rig) => {
    const { peer, way, dialog, remote } = await answeredIncoming(rig);
    dialog.end();
    const bye = await peer.expect('BYE');
    way.send(remote.request('BYE').replace(/^Call-ID: /m, 'Call-ID: other-'));
    await peer.expect('481 BYE');
    way.send(remote.request('INFO'));
    await peer.expect('481 INFO');
    way.send(remote.request('BYE'));
    await peer.expect('200 BYE');
    peer.respond(bye, 200, 'OK');
    expect(rig.gauges.dialogs).toBe(0);
  },
);
