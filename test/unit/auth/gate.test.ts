/** Who calls, by digest: answers computed here by RFC 7616 alone, and what must not pass. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { DigestGate } from '#auth/gate.js';
import { Secret } from '#directory/secret.js';
import { SeededIds } from '#lib/ids.js';
import { challengesIn } from '#sip/digest.js';
import type { SipRequest } from '#sip/message.js';
import { request, response } from '../../kit/fake-engine.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const URI = 'sip:+14155550199@192.0.2.1';
const clock = () => new VirtualClock();
const gateOn = (on: VirtualClock, seed = 1) =>
  new DigestGate({ clock: on, ids: new SeededIds(seed), realm: 'ours' });
const passwords = (username: string) => (username === 'sales' ? new Secret('päss') : undefined);

function nonceOf(gate: DigestGate): string {
  const lines = gate.challenge(false).map(({ name, value }) => `${name}: ${value}`);
  return challengesIn(response(401, lines).headers, 'www-authenticate')[0]!.nonce;
}

interface Answer {
  readonly username?: string;
  readonly password?: string;
  readonly algorithm?: 'SHA-256' | 'MD5' | 'MD5-sess';
  readonly nc?: string;
  readonly uri?: string;
  readonly realm?: string;
  readonly method?: string;
  readonly qop?: boolean;
}

function answer(nonce: string, more: Answer = {}): SipRequest {
  const { username = 'sales', password = 'päss', algorithm = 'SHA-256', nc = '00000001', uri = URI } = more;
  const { realm = 'ours', method = 'INVITE', qop = true } = more;
  const hash = (text: string) =>
    createHash(algorithm === 'SHA-256' ? 'sha256' : 'md5')
      .update(text, 'utf8')
      .digest('hex');
  const ha1 = hash(`${username}:${realm}:${password}`);
  const ha2 = hash(`${method}:${uri}`);
  const digest = hash(qop ? `${ha1}:${nonce}:${nc}:0a4f:auth:${ha2}` : `${ha1}:${nonce}:${ha2}`);
  const line = `Authorization: Digest username="${username}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${digest}", algorithm=${algorithm}`;
  return request('INVITE', [qop ? `${line}, cnonce="0a4f", qop=auth, nc=${nc}` : line], '', URI);
}

describe('the challenge', () => {
  it('offers SHA-256 before MD5, with one nonce and qop', () => {
    const gate = gateOn(clock());
    const lines = gate.challenge(true).map(({ name, value }) => `${name}: ${value}`);
    const read = challengesIn(response(401, lines).headers, 'www-authenticate');
    expect(read).toMatchObject([
      { algorithm: 'SHA-256', realm: 'ours', qop: 'auth', stale: true },
      { algorithm: 'MD5', realm: 'ours', qop: 'auth', stale: true },
    ]);
    expect(read[0]!.nonce).toBe(read[1]!.nonce);
    // Where there is room for one, it is the one that every client knows.
    expect(gate.challenge(true).map(({ ifRoom }) => ifRoom)).toEqual([true, false]);
    expect(gate.challenge(false)[0]!.value).not.toContain('stale');
    expect(nonceOf(gate)).not.toBe(nonceOf(gate));
  });
});

describe('a gate that offers less', () => {
  it('takes nothing else, and always has room for its only one', () => {
    const on = clock();
    const gate = new DigestGate({ clock: on, ids: new SeededIds(1), realm: 'ours', algorithms: ['MD5'] });
    expect(gate.challenge(false)).toMatchObject([
      { value: expect.stringContaining('algorithm=MD5'), ifRoom: false },
    ]);
    const nonce = nonceOf(gate);
    expect(gate.check(answer(nonce, { algorithm: 'SHA-256' }), passwords).kind).toBe('wrong');
    expect(gate.check(answer(nonce, { algorithm: 'MD5' }), passwords).kind).toBe('right');
    gate.algorithms = ['SHA-256'];
    expect(gate.check(answer(nonce, { algorithm: 'MD5', nc: '00000002' }), passwords).kind).toBe('wrong');
    expect(gate.challenge(false)).toMatchObject([{ value: expect.stringContaining('algorithm=SHA-256') }]);
  });
});

describe('an answer', () => {
  it.each(['SHA-256', 'MD5'] as const)('with %s is right', (algorithm) => {
    const gate = gateOn(clock());
    expect(gate.check(answer(nonceOf(gate), { algorithm }), passwords)).toEqual({
      kind: 'right',
      username: 'sales',
    });
  });

  it('passes once; the next use of its nonce counts on', () => {
    const gate = gateOn(clock());
    const nonce = nonceOf(gate);
    expect(gate.check(answer(nonce), passwords).kind).toBe('right');
    expect(gate.check(answer(nonce), passwords).kind).toBe('stale');
    expect(gate.check(answer(nonce, { nc: '00000002' }), passwords).kind).toBe('right');
    expect(gate.check(answer(nonce, { nc: '00000001' }), passwords).kind).toBe('stale');
  });

  it('ages: a minute later it is stale', () => {
    const on = clock();
    const gate = gateOn(on);
    const nonce = nonceOf(gate);
    on.advance(60_500);
    expect(gate.check(answer(nonce), passwords).kind).toBe('stale');
    // Stale says that the password was right.
    expect(gate.check(answer(nonce, { password: 'x' }), passwords).kind).toBe('wrong');
  });

  it('to a nonce of another process, or of nobody, is stale', () => {
    const gate = gateOn(clock());
    expect(gate.check(answer(nonceOf(gateOn(clock(), 2))), passwords).kind).toBe('stale');
    expect(gate.check(answer('made-up'), passwords).kind).toBe('stale');
    const nonce = nonceOf(gate);
    expect(gate.check(answer(`9${nonce}`), passwords).kind).toBe('stale');
  });

  it.each([
    ['a wrong password', { password: 'wrong' }],
    ['an unknown user', { username: 'support' }],
    ['the digest of another method', { method: 'BYE' }],
    ['another number than the Request-URI', { uri: 'sip:+19005550199@192.0.2.1' }],
    ['another host', { uri: 'sip:+14155550199@192.0.2.77' }],
    ['an algorithm that was not offered', { algorithm: 'MD5-sess' }],
    ['no qop', { qop: false }],
    ['a count that is none', { nc: '1' }],
  ] satisfies [string, Answer][])('with %s is wrong', (_what, more) => {
    const gate = gateOn(clock());
    expect(gate.check(answer(nonceOf(gate), more), passwords).kind).toBe('wrong');
  });

  it('may leave parameters of the URI out', () => {
    const gate = gateOn(clock());
    const shown = answer(nonceOf(gate));
    const line = `Authorization: ${shown.headers.get('authorization')}`;
    const sent = request('INVITE', [line], '', `${URI};user=phone`);
    expect(gate.check(sent, passwords).kind).toBe('right');
  });

  it('for another realm, or none, is no answer', () => {
    const gate = gateOn(clock());
    expect(gate.check(request('INVITE'), passwords).kind).toBe('none');
    expect(gate.check(answer(nonceOf(gate), { realm: 'theirs' }), passwords).kind).toBe('none');
    expect(gate.check(request('INVITE', ['Authorization: Basic c2FsZXM6eA==']), passwords).kind).toBe('none');
  });
});

it('forgets old nonces without letting them pass again', () => {
  const on = clock();
  const gate = gateOn(on);
  const first = nonceOf(gate);
  expect(gate.check(answer(first), passwords).kind).toBe('right');
  on.advance(1);
  for (let i = 0; i < 20_000; i++) gate.check(answer(nonceOf(gate), { algorithm: 'MD5' }), passwords);
  expect(gate.check(answer(first), passwords).kind).toBe('stale');
});
