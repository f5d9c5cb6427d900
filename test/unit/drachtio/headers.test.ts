/** Who refreshes a session on a drachtio-server (RFC 4028): the peer of each leg, wherever the RFC leaves that to us. */
import { describe, expect, it } from 'vitest';
import { peerRefreshes } from '#engine/drachtio/headers.js';
import type { HeaderField } from '#sip/message.js';
import { request } from '../../kit/fake-engine.js';

const X: HeaderField = { name: 'X-Other', value: '1' };
const expires = (value: string, name = 'Session-Expires'): HeaderField => ({ name, value });

describe('the refresher', () => {
  it.each([
    ['none is named', '1800', '1800;refresher=uas'],
    ['we are', '1800;refresher=uac', '1800;refresher=uas'],
    ['the peer is', '1800;refresher=uas', '1800;refresher=uas'],
    ['other parameters stay', '1800; Refresher = uac ;x=1', '1800;x=1;refresher=uas'],
  ])('of a request is the peer: %s', (_, given, sent) => {
    expect(peerRefreshes([X, expires(given)])).toEqual([X, expires(sent)]);
    expect(peerRefreshes([expires(given, 'x'), X])).toEqual([expires(sent, 'x'), X]);
  });

  it.each([
    ['it names none', ['Supported: timer', 'Session-Expires: 1800'], '1800;refresher=uac'],
    [
      'it offers to',
      ['Supported: 100rel, timer', 'Session-Expires: 1800;refresher=uac'],
      '1800;refresher=uac',
    ],
    ['its offer is in short', ['k: timer', 'x: 1800;refresher=uac'], '1800;refresher=uac'],
    ['unless it asks us to', ['Supported: timer', 'Session-Expires: 90;refresher=UAS'], '1800;refresher=uas'],
    ['unless it has no timers', ['Supported: 100rel'], '1800;refresher=uas'],
  ])('of an answer is who asked: %s', (_, lines, sent) => {
    const asked = request('INVITE', lines);
    expect(peerRefreshes([expires('1800;refresher=uas'), X], asked)).toEqual([expires(sent), X]);
  });

  it('is nobody where there is no session timer', () => {
    expect(peerRefreshes([X])).toEqual([X]);
    expect(peerRefreshes([X], request('INVITE', ['Supported: timer']))).toEqual([X]);
  });
});
