/** Digest by the examples of the RFCs, and challenges as servers write them. */
import { describe, expect, it } from 'vitest';
import { answerTo, type Challenge, challengesIn, isAnswerable, nextNonceIn, strongest } from '#sip/digest.js';
import type { SipResponse } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';

function response(...lines: readonly string[]): SipResponse {
  const message = parseMessage(
    [
      'SIP/2.0 401 Unauthorized',
      'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtest',
      'From: <sip:a@example.com>;tag=1',
      'To: <sip:a@example.com>;tag=2',
      'Call-ID: 1',
      'CSeq: 1 REGISTER',
      ...lines,
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
  );
  if (message.kind !== 'response') throw new Error('the test wrote a bad message');
  return message;
}

function challenges(...values: readonly string[]): Challenge[] {
  return challengesIn(
    response(...values.map((value) => `WWW-Authenticate: ${value}`)).headers,
    'www-authenticate',
  );
}

function first(value: string): Challenge {
  const [challenge] = challenges(value);
  if (challenge === undefined) throw new Error('no challenge was read');
  return challenge;
}

const RFC_2617 = {
  username: 'Mufasa',
  password: 'Circle Of Life',
  method: 'GET',
  uri: '/dir/index.html',
  body: '',
  nonceCount: 1,
} as const;

describe('the answer', () => {
  it('is that of RFC 2617 §3.5: MD5, qop auth', () => {
    const challenge = first(
      'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"',
    );
    const answer = answerTo({ ...RFC_2617, challenge, cnonce: '0a4f113b' });
    expect(answer).toContain('response="6629fae49393a05397450978507c4ef1"');
    expect(answer).toContain(',qop=auth,nc=00000001,cnonce="0a4f113b"');
    expect(answer).toContain(',opaque="5ccc069c403ebaf9f0171e9517f40e41"');
    // The server named no algorithm, so none is named back.
    expect(answer).not.toContain('algorithm');
  });

  it.each([
    ['MD5', '8ca523f5e9506fed4657c9700eebdbec'],
    ['SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'],
  ])('is that of RFC 7616 §3.9.1: %s', (algorithm, expected) => {
    const challenge = first(
      `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=${algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
    );
    const answer = answerTo({
      ...RFC_2617,
      password: 'Circle of Life',
      challenge,
      cnonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ',
    });
    expect(answer).toContain(`response="${expected}"`);
    expect(answer).toContain(`algorithm=${algorithm}`);
  });

  it('is that of RFC 2069 where no qop is offered', () => {
    // The value of erratum 749, since the example in the RFC is miscalculated.
    const challenge = first(
      'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"',
    );
    const answer = answerTo({ ...RFC_2617, password: 'CircleOfLife', challenge, cnonce: 'unused' });
    expect(answer).toContain('response="1949323746fe6a43ef61f9606e7febea"');
    expect(answer).not.toMatch(/qop|nc=|cnonce/);
  });

  it.each([
    // Computed with Python's hashlib by the formulas of RFC 7616 §3.4.
    ['MD5-sess', 'auth', '926de085b52d7bfe52fe059416673230'],
    ['SHA-256-sess', 'auth', '4fb87f9a32a64a182996baeb11951fb99234892b999487de46aaeb22742f5898'],
    ['SHA-512-256', 'auth', 'b0442ee23181ad345c5a6019674f9b72def3d35e2435bd5dae9357f6b087c858'],
    ['SHA-512-256-sess', 'auth-int', 'da90eaf3063e79e879685b661e9f18af22f2ea651660603ed0aa3cf067d7c280'],
    ['SHA-256', 'auth-int', '16ae8098f42e70d0b956c1e77ea5b863ce9ceb16e6d50800d1e404e2ea7817a3'],
    ['MD5', 'auth-int', '474e22a9d692378b11c3f75327650f7f'],
  ])('is right for %s with qop %s', (algorithm, qop, expected) => {
    const challenge = first(`Digest realm="r", nonce="n", algorithm=${algorithm}, qop="${qop}"`);
    const answer = answerTo({
      challenge,
      username: 'bob',
      password: 'zanzibar',
      method: 'REGISTER',
      uri: 'sip:example.com',
      body: 'v=0\r\n',
      nonceCount: 26,
      cnonce: 'second',
      sessionCnonce: 'first',
    });
    expect(answer).toContain(`response="${expected}"`);
    expect(answer).toContain(`qop=${qop},nc=0000001a,cnonce="second"`);
  });

  it('quotes what a server or a user puts into a realm or a name', () => {
    const challenge = first('Digest realm="a \\"b\\" \\\\c", nonce="n\\"1"');
    expect(challenge.realm).toBe('a "b" \\c');
    const answer = answerTo({ ...RFC_2617, username: 'x"\r\nEvil: 1', challenge, cnonce: 'c' });
    expect(answer).toContain('realm="a \\"b\\" \\\\c",nonce="n\\"1"');
    expect(answer).not.toMatch(/[\r\n]/);
  });
});

describe('challenges', () => {
  it('are read from one field or several, with commas in quotes', () => {
    const read = challenges(
      'Digest realm="one, two", nonce="1", qop="auth,auth-int", Digest realm="b",nonce="2",algorithm=SHA-256',
      'Basic realm="no", NTLM, Digest  nonce=3 , realm=bare, stale=TRUE, opaque=""',
    );
    expect(read.map(({ realm, nonce, stale, opaque }) => [realm, nonce, stale, opaque])).toEqual([
      ['one, two', '1', false, undefined],
      ['b', '2', false, undefined],
      ['bare', '3', true, ''],
    ]);
  });

  it.each([
    ['nothing to answer with', 'Digest qop="auth"'],
    ['a quote that never closes', 'Digest realm="a, nonce="b'],
    ['another scheme', 'Bearer realm="a", nonce="b"'],
    ['nonsense', ',,,;=="'],
    ['nothing', ''],
  ])('without sense are left out: %s', (_what, value) => {
    expect(challenges(value)).toEqual([]);
  });

  it('are bounded', () => {
    const many = Array.from({ length: 100 }, (_, index) => `Digest realm="r", nonce="${index}"`);
    expect(challenges(...many)).toHaveLength(16);
  });

  it('give the strongest that we can answer', () => {
    const offer = (algorithm: string, qop = ', qop="auth"') =>
      `Digest realm="r", nonce="${algorithm}", algorithm=${algorithm}${qop}`;
    const chosen = (...values: readonly string[]) => strongest(challenges(...values))?.nonce;
    expect(chosen(offer('MD5'), offer('SHA-256'), offer('SHA-512-256'))).toBe('SHA-512-256');
    expect(chosen(offer('SHA-256'), offer('MD5'))).toBe('SHA-256');
    expect(chosen(offer('SHA-512-512'), offer('MD5'))).toBe('MD5');
    expect(chosen(offer('SHA-256', ', qop="token"'), offer('MD5'))).toBe('MD5');
    expect(chosen(offer('AKAv1-MD5'))).toBeUndefined();
    expect(chosen()).toBeUndefined();
  });

  it('choose auth of an offer that has it', () => {
    expect(first('Digest realm="r",nonce="n",qop="auth-int,auth"').qop).toBe('auth');
    expect(first('Digest realm="r",nonce="n",qop="auth-int"').qop).toBe('auth-int');
    expect(first('Digest realm="r",nonce="n",qop=auth').qop).toBe('auth');
    expect(isAnswerable(first('Digest realm="r",nonce="n",qop=""'))).toBe(true);
    expect(isAnswerable(first('Digest realm="r",nonce="n",qop="x"'))).toBe(false);
  });

  it('cannot have an algorithm that would break the line', () => {
    expect(isAnswerable(first('Digest realm="r",nonce="n",algorithm="MD5\\", x"'))).toBe(false);
  });
});

it('reads the next nonce', () => {
  const next = (value: string) =>
    nextNonceIn(response(`Authentication-Info: ${value}`).headers, 'authentication-info');
  expect(next('nextnonce="47364c23", qop=auth')).toBe('47364c23');
  expect(next('rspauth="a",  NextNonce = "b"')).toBe('b');
  expect(next('qop=auth')).toBeUndefined();
  expect(next('nextnonce=""')).toBeUndefined();
});
