/** Reading and rewriting session descriptions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { heldAnswer, isUsableOffer, ShownOrigin, sameSession, sdpIn } from '#sip/sdp.js';

const lines = (...text: string[]): string => `${text.join('\r\n')}\r\n`;

const OFFER = lines(
  'v=0',
  'o=agent 42 7 IN IP4 192.0.2.20',
  's=agent',
  'c=IN IP4 192.0.2.20',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'm=audio 50000 RTP/AVP 8 0 101',
  'a=rtpmap:8 PCMA/8000',
  'a=rtpmap:101 telephone-event/8000',
  'a=fmtp:101 0-15',
  'a=mid:0',
  'a=ptime:20',
  'a=sendrecv',
  'm=video 50002 RTP/SAVPF 96',
  'a=rtpmap:96 VP8/90000',
  'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret',
  'a=mid:1',
  'm=image 0 udptl t38',
);

describe('an answer that holds', () => {
  it('has the media lines of the offer, open ones inactive and others refused', () => {
    expect(heldAnswer(OFFER, '4711')).toBe(
      lines(
        'v=0',
        'o=- 4711 1 IN IP4 0.0.0.0',
        's=-',
        'c=IN IP4 0.0.0.0',
        't=0 0',
        'm=audio 9 RTP/AVP 8 0 101',
        'a=rtpmap:8 PCMA/8000',
        'a=rtpmap:101 telephone-event/8000',
        'a=fmtp:101 0-15',
        'a=mid:0',
        'a=inactive',
        'm=video 0 RTP/SAVPF 96',
        'a=mid:1',
        'm=image 0 udptl t38',
      ),
    );
  });

  it('keeps the times and the address family', () => {
    const offer = lines(
      'v=0',
      'o=- 1 1 IN IP6 2001:db8::1',
      's=-',
      'c=IN IP6 2001:db8::1',
      't=3034423619 3042462419',
      'm=audio 4 RTP/AVPF 0',
    );
    expect(heldAnswer(offer, '1')).toBe(
      lines(
        'v=0',
        'o=- 1 1 IN IP6 ::',
        's=-',
        'c=IN IP6 ::',
        't=3034423619 3042462419',
        'm=audio 9 RTP/AVPF 0',
        'a=inactive',
      ),
    );
  });

  it('never throws and always has as many media lines as the offer', () => {
    const line = fc.oneof(
      fc.constantFrom('m=audio 1 RTP/AVP 0', 'm=', 'm=audio', 'm=audio 0', 'a=mid:1', 'c=IN IP4', 'v=0', ''),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('\r\n', '\n'), (text, end) => {
        const offer = text.join(end);
        const count = (sdp: string): number =>
          sdp.split(/\r?\n/).filter((one) => one.startsWith('m=')).length;
        expect(count(heldAnswer(offer, '1'))).toBe(count(offer));
      }),
    );
  });
});

describe('the same session', () => {
  it('is the same whatever the origin says', () => {
    expect(sameSession(OFFER, OFFER.replace('agent 42 7', 'agent 42 8'))).toBe(true);
    expect(sameSession(OFFER, OFFER.replaceAll('\r\n', '\n'))).toBe(true);
  });

  it('is another one when a port, an address or a direction differs', () => {
    for (const [from, to] of [
      ['50000', '50010'],
      ['c=IN IP4 192.0.2.20', 'c=IN IP4 192.0.2.21'],
      ['sendrecv', 'inactive'],
    ] as const) {
      expect(sameSession(OFFER, OFFER.replace(from, to))).toBe(false);
    }
  });
});

describe('the origin that an end is shown', () => {
  const from = (origin: string, port: number): string =>
    lines('v=0', `o=${origin}`, 's=-', 't=0 0', `m=audio ${port} RTP/AVP 0`);

  it('leaves descriptions of one origin as they are', () => {
    const origin = new ShownOrigin();
    for (const sdp of [from('a 1 1 IN IP4 192.0.2.1', 4), from('a 1 2 IN IP4 192.0.2.1', 6)]) {
      expect(origin.show(sdp)).toBe(sdp);
    }
  });

  it('gives others the first one, with a version that grows when the content changes', () => {
    const origin = new ShownOrigin();
    const held = from('- 4711 1 IN IP4 0.0.0.0', 9);
    expect(origin.show(held)).toBe(held);
    const early = from('b 5 99999999999999999999 IN IP4 192.0.2.2', 4);
    expect(origin.show(early)).toBe(from('- 4711 2 IN IP4 0.0.0.0', 4));
    expect(origin.show(early)).toBe(from('- 4711 2 IN IP4 0.0.0.0', 4));
    expect(origin.show(from('b 5 6 IN IP4 192.0.2.2', 6))).toBe(from('- 4711 3 IN IP4 0.0.0.0', 6));
    // Once another has spoken even the first one's own may not step back.
    expect(origin.show(held)).toBe(from('- 4711 4 IN IP4 0.0.0.0', 9));
  });

  it('counts on from versions beyond what a number holds', () => {
    const origin = new ShownOrigin();
    origin.show(from('a 1 18446744073709551615 IN IP4 192.0.2.1', 4));
    expect(origin.show(from('b 1 1 IN IP4 192.0.2.1', 6))).toContain('o=a 1 18446744073709551616 IN');
  });

  it('passes on what has no origin that can be read', () => {
    const origin = new ShownOrigin();
    origin.show(OFFER);
    for (const sdp of ['v=0\r\n', 'o=broken\r\n', '']) expect(origin.show(sdp)).toBe(sdp);
  });
});

describe('the description in a message', () => {
  it('is the body of that type', () => {
    expect(sdpIn('application/sdp', OFFER)).toBe(OFFER);
    expect(sdpIn('Application/SDP;charset=utf-8', OFFER)).toBe(OFFER);
    expect(sdpIn('text/plain', 'v=0')).toBe('');
    expect(sdpIn(undefined, OFFER)).toBe('');
    expect(sdpIn('application/sdp', '')).toBe('');
  });

  it('is found beside an ISUP part', () => {
    const body = [
      'preamble',
      '--edge one',
      'Content-Type: application/ISUP;version=ansi',
      '',
      '\x01\x02',
      '--edge one',
      'Content-Type : application/sdp',
      '',
      OFFER,
      '--edge one--',
      '',
    ].join('\r\n');
    const type = 'multipart/mixed;boundary="edge one"';
    expect(sdpIn(type, body)).toBe(OFFER);
    expect(sdpIn(type, 'nothing of it')).toBe('');
    expect(sdpIn('multipart/mixed', body)).toBe('');
  });

  it('is an offer only with a medium', () => {
    expect(isUsableOffer(OFFER)).toBe(true);
    expect(isUsableOffer('v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n')).toBe(false);
    expect(isUsableOffer('')).toBe(false);
  });
});
