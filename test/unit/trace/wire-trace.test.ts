import { describe, expect, it } from 'vitest';
import { WireTrace } from '#trace/wire-trace.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { LISTENER, message } from './kit.js';

const MIB = 1_048_576;

function trace(bytes = 2 * MIB) {
  const clock = new VirtualClock();
  const wire = new WireTrace({ clock, bytes });
  const hear = (octets: string, standing: 'known' | 'stranger' = 'known', direction: 'in' | 'out' = 'in') =>
    wire.message(direction, octets, LISTENER, '192.0.2.1', 5080, standing);
  return { clock, wire, hear };
}

describe('what crossed the wire', () => {
  it('is found by Call-ID, in order, whoever sent it', async () => {
    const { clock, wire, hear } = trace();
    hear(message('one'));
    hear(message('two'), 'stranger');
    clock.advance(1_000);
    hear(message('one'), 'stranger', 'out');
    hear(message('three'));
    const { messages, lostUntil } = await wire.find(new Set(['one', 'three']));
    expect(messages.map(({ callId, direction, at }) => [callId, direction, at - messages[0]!.at])).toEqual([
      ['one', 'in', 0],
      ['one', 'out', 1_000],
      ['three', 'in', 1_000],
    ]);
    expect(lostUntil).toBeUndefined();
  });

  it.each([
    ['in compact form', 'SIP/2.0 200 OK\r\ni:  wanted\r\n\r\n'],
    ['in capitals', 'SIP/2.0 200 OK\r\nCALL-ID\t: wanted\r\n\r\n'],
    ['folded', 'SIP/2.0 200 OK\r\nCall-ID:\r\n wanted\r\n\r\n'],
    ['with bare line feeds', 'SIP/2.0 200 OK\nCall-ID: wanted\n\n'],
  ])('reads the Call-ID %s', async (_, octets) => {
    const { wire, hear } = trace();
    hear(octets);
    expect((await wire.find(new Set(['wanted']))).messages).toHaveLength(1);
  });

  it('a Call-ID that only begins alike, or stands elsewhere, is another', async () => {
    const { wire, hear } = trace();
    hear(message('wanted-not'));
    hear(message('other', ['X: wanted'], 'wanted'));
    expect((await wire.find(new Set(['wanted']))).messages).toEqual([]);
  });

  it('keep-alives and what is no message are passed over', async () => {
    const { wire, hear } = trace();
    hear('\r\n\r\n');
    hear('\r\n');
    hear('nonsense without end');
    expect((await wire.find(new Set(['']))).messages).toEqual([]);
  });

  it('a flood of strangers pushes out no call', async () => {
    const { wire, hear } = trace();
    hear(message('call'));
    const flood = message('flood', [], 'x'.repeat(1_000));
    for (let i = 0; i < 10_000; i++) hear(flood, 'stranger');
    const { messages, lostUntil } = await wire.find(new Set(['call']));
    expect(messages).toHaveLength(1);
    expect(lostUntil).toBeDefined();
  });

  it('says until when messages were given up, and finds what came while it searched none the less', async () => {
    const { clock, wire, hear } = trace();
    const filler = message('filler', [], 'x'.repeat(5_000));
    hear(message('old'));
    for (let i = 0; i < 1_000; i++) {
      clock.advance(10);
      hear(filler);
    }
    hear(message('new'));
    const search = wire.find(new Set(['old', 'new']));
    for (let i = 0; i < 100; i++) hear(filler);
    const { messages, lostUntil } = await search;
    expect(messages.map(({ callId }) => callId)).toEqual(['new']);
    expect(lostUntil).toBeGreaterThan(clock.wallNow() - 10_000);
    expect(lostUntil).toBeLessThanOrEqual(clock.wallNow());
  });
});
