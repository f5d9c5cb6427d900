import { describe, expect, it } from 'vitest';
import { mediaWarnings, unreachableMedia } from '#call/media-reach.js';
import { request } from '../../kit/fake-engine.js';
import { CallHouse, route } from './kit.js';

const sdp = (session: string, ...media: string[]) =>
  [
    'v=0',
    'o=- 1 1 IN IP4 10.9.9.9',
    's=-',
    ...(session === '' ? [] : [`c=IN ${session}`]),
    't=0 0',
    ...media,
    '',
  ].join('\r\n');
const audio = (port = 4000) => `m=audio ${port} RTP/AVP 0`;
const end = (address: string, body: string) => ({ side: 'caller', address, body }) as const;
const other = (address: string) => ({ side: 'agent', address, body: '' }) as const;
const at = (media: string) => sdp(`IP4 ${media}`, audio());

describe('media that will not arrive', () => {
  it.each([
    ['a private one from a public source', '198.51.100.7', '10.0.0.5', '10.1.1.1'],
    ['a private one towards a public side', '10.0.0.5', '192.168.1.1', '198.51.100.7'],
    ['a carrier-grade one', '198.51.100.7', '100.64.1.1', '198.51.100.8'],
    ['a link-local one', '198.51.100.7', '169.254.1.1', '198.51.100.8'],
    ['the machine itself, seen from its network', '10.0.0.5', '127.0.0.1', '10.0.0.6'],
    ['the last of 172.16/12', '198.51.100.7', '172.31.255.255', ''],
  ])('%s', (_, from, media, to) => {
    expect(unreachableMedia(end(from, at(media)), other(to))).toBe(media);
  });

  it.each([
    ['public everywhere', '198.51.100.7', '198.51.100.9', '198.51.100.8'],
    ['private everywhere', '10.0.0.5', '192.168.1.1', '172.16.0.1'],
    ['all on one machine', '127.0.0.1', '127.0.0.1', '127.0.0.2'],
    ['on hold', '198.51.100.7', '0.0.0.0', '198.51.100.8'],
    ['beside 172.16/12', '198.51.100.7', '172.32.0.1', '198.51.100.8'],
    ['where nobody knows where the ends are', '', '10.0.0.1', ''],
  ])('nothing is said of media %s', (_, from, media, to) => {
    expect(unreachableMedia(end(from, at(media)), other(to))).toBeUndefined();
  });

  it('IPv6 alike', () => {
    const of = (address: string) => sdp(`IP6 ${address}`, audio());
    expect(unreachableMedia(end('2600::1', of('fd00::1')), other('2600::2'))).toBe('fd00::1');
    expect(unreachableMedia(end('2600::1', of('FE80::1')), other('2600::2'))).toBe('FE80::1');
    expect(unreachableMedia(end('2600::1', of('2600::3')), other('2600::2'))).toBeUndefined();
    expect(unreachableMedia(end('2600::1', of('::')), other('2600::2'))).toBeUndefined();
  });

  it.each([
    [
      'of a stream before that of the session',
      sdp('IP4 198.51.100.7', audio(), 'c=IN IP4 10.0.0.1'),
      '10.0.0.1',
    ],
    [
      'of the second stream',
      sdp('IP4 198.51.100.7', audio(), 'm=video 5000 RTP/AVP 96', 'c=IN IP4 10.0.0.2'),
      '10.0.0.2',
    ],
    [
      'not of a stream that is off',
      sdp('IP4 198.51.100.7', audio(), 'm=video 0 RTP/AVP 96', 'c=IN IP4 10.0.0.2'),
      undefined,
    ],
    [
      'not where the session has one of its own for each',
      sdp('IP4 10.0.0.1', audio(), 'c=IN IP4 198.51.100.7'),
      undefined,
    ],
    ['not of a session without streams', sdp('IP4 10.0.0.1'), undefined],
    [
      'not where ICE finds the way',
      sdp('IP4 10.0.0.1', audio(), 'a=candidate:1 1 UDP 1 198.51.100.7 4000 typ host'),
      undefined,
    ],
    ['not of a name', sdp('IP4 media.example', audio()), undefined],
    [
      'in a multipart body',
      `--b\r\nContent-Type: application/isup\r\n\r\nxx\r\n--b\r\nContent-Type: application/sdp\r\n\r\n${at('10.0.0.9')}\r\n--b--\r\n`,
      '10.0.0.9',
    ],
    ['not in nonsense', 'c=IN IP4 10.0.0.1', undefined],
  ])('the address counts %s', (_, body, media) => {
    expect(unreachableMedia(end('198.51.100.7', body), other('198.51.100.8'))).toBe(media);
  });

  it('is told of each side, by its name', () => {
    expect(
      mediaWarnings(end('198.51.100.7', at('10.0.0.1')), { ...other('198.51.100.8'), body: at('10.0.0.2') }),
    ).toEqual([
      {
        code: 'private_media_address',
        side: 'caller',
        detail:
          'the caller at 198.51.100.7 wants its media at 10.0.0.1, which the agent at 198.51.100.8 may not reach: one-way audio',
      },
      {
        code: 'private_media_address',
        side: 'agent',
        detail:
          'the agent at 198.51.100.8 wants its media at 10.0.0.2, which the caller at 198.51.100.7 may not reach: one-way audio',
      },
    ]);
  });
});

describe('the record of an answered call', () => {
  it('warns of what the caller offered', () => {
    const house = new CallHouse();
    house.call(route(), [], at('10.0.0.1'));
    house.engine.last.answer([], at('198.51.100.20')).peerEnds();
    expect(house.observer.record.warnings).toMatchObject([{ side: 'caller' }]);
  });

  it('warns of the answer in the ACK of a delayed offer', () => {
    const house = new CallHouse();
    const caller = house.call(route(), [], '');
    const dialog = house.engine.last.answer([], at('198.51.100.20'));
    expect(house.calls.list()[0]!.warnings).toEqual([]);
    caller.dialog!.events!.onAck!(request('ACK', [], at('192.168.0.4')));
    dialog.peerEnds();
    expect(house.observer.record.warnings).toMatchObject([{ side: 'caller', code: 'private_media_address' }]);
  });

  it('has nothing to warn of otherwise', () => {
    const house = new CallHouse();
    house.call(route(), [], at('198.51.100.10'));
    house.engine.last.answer([], at('198.51.100.20')).peerEnds();
    expect(house.observer.record.warnings).toEqual([]);
  });
});
