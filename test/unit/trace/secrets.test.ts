import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withoutSecrets } from '#trace/secrets.js';
import { message } from './kit.js';

const DIGEST =
  'Digest username="acme", realm="sip.example", nonce="abc,def", uri="sip:b@example", response="0123456789abcdef", algorithm=MD5, cnonce="zz", nc=00000001, qop=auth';

describe('a message without its secrets', () => {
  it('says who logs in where, and nothing that proves it', () => {
    const shown = withoutSecrets(message('a', [`Authorization: ${DIGEST}`]));
    expect(shown).toContain(
      'Authorization: Digest username="acme", realm="sip.example", nonce="*******", uri="sip:b@example", response="****************", algorithm=MD5, cnonce="**", nc=00000001, qop=auth\r\n',
    );
  });

  it.each([
    [
      'of a proxy, in capitals, over two lines',
      'PROXY-AUTHORIZATION : Digest username="u",\r\n response="SECRET"',
    ],
    ['without quotes', 'Authorization: Digest username=u, response=SECRET'],
    ['with a quoted comma and an escape', 'Authorization: Digest response="a\\"b, SECRET"'],
    ['that is not closed', 'Authorization: Digest response="SECRET, x'],
    ['of another scheme', 'Authorization: Bearer SECRET'],
    ['without scheme', 'Authorization: SECRET'],
    ['that is no parameter', 'Authorization: Digest SECRET'],
    ['by a parameter of no meaning', 'Authorization: Digest username="u", token=SECRET'],
    ['after a bare line feed', 'X: y\nAuthorization: Bearer SECRET'],
  ])('masks credentials %s', (_, line) => {
    const shown = withoutSecrets(message('a', [line], 'v=0\r\n'));
    expect(shown).not.toContain('SECRET');
  });

  it('masks the keys of the media', () => {
    const sdp = [
      'v=0',
      'k=base64:SECRET',
      'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^20|1:32;inline:SECRET|2^20|2:4',
      'a=key-mgmt:mikey SECRET==',
      'a=ice-ufrag:abcd',
      'a=ice-pwd:SECRET',
      '',
    ].join('\r\n');
    const shown = withoutSecrets(message('a', [], sdp));
    expect(shown).not.toContain('SECRET');
    expect(shown).toContain(
      'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:******|2^20|1:32;inline:******|2^20|2:4\r\n',
    );
    expect(shown).toContain('a=ice-ufrag:abcd\r\n');
  });

  it('keeps every length, and what holds no secret as it is', () => {
    const line = fc.stringMatching(/^[A-Za-z-]{1,12}: [\x20-\x7e]{0,60}$/);
    fc.assert(
      fc.property(fc.array(line), fc.string({ unit: 'binary-ascii' }), (lines, body) => {
        const octets = message('a', lines, body);
        expect(withoutSecrets(octets)).toHaveLength(octets.length);
        if (!/authorization|inline:|a=|k=/i.test(octets)) expect(withoutSecrets(octets)).toBe(octets);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), (value) => {
        const octets = message('a', [`Authorization: Digest ${value}`]);
        expect(withoutSecrets(octets)).toHaveLength(octets.length);
      }),
    );
  });
});
