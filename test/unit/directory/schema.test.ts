import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseHostPort } from '#directory/host-port.js';
import { agentSchema, numberSchema, trunkSchema } from '#directory/schema.js';
import { Secret } from '#directory/secret.js';

const trunk = { id: 'a', server: 'sip.example.com' };

function messages(result: {
  success: boolean;
  error?: { issues: { path: PropertyKey[]; message: string }[] } | undefined;
}) {
  return result.error?.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`) ?? [];
}

describe('host and port', () => {
  it.each([
    ['sip.provider.com:5060', { host: 'sip.provider.com', port: 5060 }],
    ['SIP.Provider.com', { host: 'sip.provider.com', port: undefined }],
    ['[2001:DB8::1]:5061', { host: '2001:db8::1', port: 5061 }],
    ['[2001:db8::1]', { host: '2001:db8::1', port: undefined }],
    ['192.0.2.1', { host: '192.0.2.1', port: undefined }],
    ['_sip.provider.com', { host: '_sip.provider.com', port: undefined }],
    ['localhost:5060', { host: 'localhost', port: 5060 }],
  ])('reads %s', (text, expected) => {
    expect(parseHostPort(text)).toEqual(expected);
  });

  it.each([
    ['sip:provider.com', 'scheme'],
    ['sips:acme@provider.com', 'scheme'],
    ['acme@provider.com', 'user'],
    ['provider.com;transport=tcp', 'parameters'],
    ['2001:db8::1', 'brackets'],
    ['provider.com:0', 'port'],
    ['provider.com:65536', 'port'],
    ['provider.com:', 'port'],
    ['300.1.1.1', 'host name'],
    ['', 'host name'],
    ['[::1', 'not host'],
    ['a b', 'host name'],
    ['-a.com', 'host name'],
    [`${'a'.repeat(64)}.com`, 'host name'],
    ['a.com\n', 'host name'],
  ])('refuses %j', (text, message) => {
    expect(parseHostPort(text)).toContain(message);
  });
});

describe('a trunk', () => {
  it('needs an id and a server only', () => {
    expect(trunkSchema.parse(trunk)).toMatchObject({
      transport: 'udp',
      didSource: ['ruri', 'to', 'x-dest-user', 'diversion'],
      callerIdMode: 'from',
      numberFormat: 'asIs',
    });
  });

  it.each([
    [{ headers: { To: 'x' } }, 'headers.To is written by the gateway itself'],
    [{ headers: { t: 'x' } }, 'headers.t is written by the gateway itself'],
    [{ headers: { 'X A': 'x' } }, 'headers.X A is not a header field name'],
    [{ headers: { 'X-A': 'a\r\nb' } }, 'headers.X-A must not have control characters'],
    [{ country: 'UK' }, 'country must be an ISO 3166'],
    [{ country: 'us' }, 'country must be an ISO 3166'],
    [{ numberFormat: 'national' }, 'country is needed'],
    [{ authPassword: 'x' }, 'authUser is needed'],
    [{ allowedAddresses: ['10.0.0.1/8'] }, 'allowedAddresses.0 has address bits'],
    [{ failoverStatuses: [486] }, 'failoverStatuses.0 is an answer for the caller'],
    [{ relayHeaders: ['*x'] }, ''],
    [{ relayHeaders: ['X:'] }, 'relayHeaders.0 must be a header field name'],
    [{ cpsLimit: 0 }, 'cpsLimit'],
    [{ tls: { clientCert: 'x' } }, 'tls needs both'],
    [{ description: 'a\u0000' }, 'description must not have control'],
    [{ id: 'a b' }, 'id must be 1 to 128'],
  ])('with %j is told what is wrong', (more, message) => {
    const told = messages(trunkSchema.safeParse({ ...trunk, ...more }));
    if (message === '') expect(told).toEqual([]);
    else expect(told.join('\n')).toContain(message);
  });

  it('hides its password', () => {
    const parsed = trunkSchema.parse({ ...trunk, authUser: 'u', authPassword: 'hunter2' });
    expect(parsed.authPassword?.reveal()).toBe('hunter2');
    for (const shown of [JSON.stringify(parsed), inspect(parsed, { depth: 9 }), `${parsed.authPassword}`]) {
      expect(shown).not.toContain('hunter2');
    }
    expect(`${new Secret('x')}`).toBe('[secret]');
  });
});

describe('an agent', () => {
  it.each([
    ['sip:sales@127.0.0.1:5090', true],
    ['sips:sales@agents.example.com', true],
    ['sip:agents.example.com;transport=TLS', true],
    ['tel:+14155550100', false],
    ['sales@example.com', false],
    ['sip:a@b?Subject=x', false],
    ['sip:a@b;transport=sctp', false],
    ['sips:a@b;transport=udp', false],
    ['sip:a@b\r\nX: y', false],
    ['sip:a @b', false],
  ])('at %j: %s', (uri, valid) => {
    expect(agentSchema.safeParse({ id: 'a', endpoints: [{ uri }] }).success).toBe(valid);
  });

  it('has defaults', () => {
    expect(agentSchema.parse({ id: 'a', endpoints: [{ uri: 'sip:a@b' }] })).toMatchObject({
      enabled: true,
      platform: 'sip',
      endpoints: [{ priority: 1, weight: 1 }],
    });
  });
});

describe("an agent's own registration", () => {
  const account = { domain: 'pbx.example', username: '1001', password: 'hunter2' };
  const parse = (more: object) =>
    agentSchema.safeParse({ id: 'a', sipRegistration: { ...account, ...more } });

  it('needs where, who and the password, which is not shown', () => {
    const parsed = parse({}).data;
    expect(parsed?.sipRegistration).toMatchObject({ transport: 'udp', subscribe: false });
    expect(JSON.stringify(parsed)).not.toContain('hunter2');
    for (const name of ['domain', 'username', 'password']) {
      expect(parse({ [name]: undefined }).error?.issues[0]?.path).toEqual(['sipRegistration', name]);
    }
  });

  it.each([
    ['sub.account_1+2@x~/-', 'sub.account_1+2@x~/-'],
    ['', undefined],
  ])('takes X-Dest-User %j as %j', (xDestUser, expected) => {
    expect(parse({ xDestUser }).data?.sipRegistration?.xDestUser).toBe(expected);
  });

  it.each([
    ['a b', '" "'],
    ['a\r\nX: y', '"\\r"'],
    ['grün', '"ü"'],
    ['a;b', '";"'],
  ])('names the character that X-Dest-User may not have: %j', (xDestUser, named) => {
    expect(parse({ xDestUser }).error?.issues[0]?.message).toContain(`must not have ${named}`);
  });
});

describe('a number', () => {
  it('is kept as given', () => {
    const parsed = numberSchema.parse({ phoneNumber: '020 7123 4567', credentialsId: 'a' });
    expect(parsed).toMatchObject({ phoneNumber: '020 7123 4567', registration: false });
    expect(numberSchema.safeParse({ phoneNumber: ' 1', credentialsId: 'a' }).success).toBe(false);
    const copied = numberSchema.safeParse({ phoneNumber: '\u202a+14155550100', credentialsId: 'a' });
    expect(copied.error?.issues[0]?.message).toContain('U+202A');
  });
});
