/** Registrations against registrars of every temper, on time that stands still until it is advanced. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { routeInbound } from '#routing/inbound.js';
import { snapshotOf } from '../../kit/directory.js';
import { request, source } from '../../kit/fake-engine.js';
import { answer, bench, DESCRIBED, granted, granting, header, type ScriptedEngine, TRUNK } from './kit.js';

const CHALLENGE = 'WWW-Authenticate: Digest realm="provider.example", nonce="n1", qop="auth"';
const views = (made: ReturnType<typeof bench>) =>
  Array.from(made.registrations.all(), (registration) => registration.view());
const view = (made: ReturnType<typeof bench>) => {
  const [first] = views(made);
  if (first === undefined) throw new Error('there is no registration');
  return first;
};
const md5 = (text: string) => createHash('md5').update(text).digest('hex');

/** Challenges, and checks the answer. */
function challenging(password: string, nonces: readonly string[] = ['n1']): ScriptedEngine['script'] {
  return (options, sent) => {
    if (options.method !== 'REGISTER') return { response: answer(200) };
    const authorization = header(options, 'Authorization') ?? '';
    const field = (name: string) => new RegExp(`[ ,]${name}="?([^",]*)`).exec(authorization)?.[1] ?? '';
    const nonce = nonces[Math.min(sent.length - 1, nonces.length - 1)] ?? 'n1';
    const expected = md5(
      `${md5(`acme:provider.example:${password}`)}:${field('nonce')}:${field('nc')}:${field('cnonce')}:auth:${md5('REGISTER:sip:provider.example')}`,
    );
    return field('response') === expected
      ? { response: answer(200, [`Contact: ${options.contact}`]) }
      : {
          response: answer(401, [
            `WWW-Authenticate: Digest realm="provider.example", nonce="${nonce}", qop="auth"`,
          ]),
        };
  };
}

describe('REGISTER', () => {
  it('goes to the domain without user, with a Contact of ours, and is refreshed before it expires', () => {
    const made = bench();
    made.engine.script = granting(300);
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    const [first] = made.engine.registers;
    expect(first?.options).toMatchObject({
      uri: 'sip:provider.example',
      from: '<sip:acme@provider.example>',
      to: '<sip:acme@provider.example>',
      cseq: 1,
    });
    expect(first?.options.contact).toMatch(/^<sip:reg_[a-z2-7]{20}@gw\.example\.net:5060>;expires=600$/);
    expect(header(first!.options, 'Expires')).toBe('600');
    expect(header(first!.options, 'Supported')).toBe('path');
    expect(view(made)).toMatchObject({
      state: 'registered',
      registrar: 'udp:198.51.100.1:5060',
      aor: 'sip:acme@provider.example',
      trunkId: 'carrier',
      phoneNumbers: ['+14155550100'],
      lastVerdict: { code: 'ok', status: 200 },
    });
    expect(made.dialled).toContain('198.51.100.1');
    expect(view(made).timeline.at(-1)).toMatchObject({
      grantedExpirySeconds: 300,
      foreignBindings: 0,
      status: 200,
    });
    // Half-way through the jitter: 80 % of 300 s.
    made.clock.advance(238_000);
    expect(made.engine.registers).toHaveLength(1);
    made.clock.advance(3_000);
    const [, second] = made.engine.registers;
    expect(second?.options.cseq).toBe(2);
    expect(second?.options.callId).toBe(first?.options.callId);
    expect(second?.options.fromTag).toBe(first?.options.fromTag);
    expect(second?.options.contact).toBe(first?.options.contact);
    expect(made.states.map(([, state]) => state)).toEqual([
      'registering',
      'registered',
      'refreshing',
      'registered',
    ]);
  });

  it('is one per AOR, however many numbers and agents ask', () => {
    const made = bench();
    made.engine.script = granting();
    made.apply({
      sipCredentials: [TRUNK, { ...TRUNK, id: 'same-account' }],
      phoneNumbers: [
        { id: 'a', phoneNumber: '+14155550100', credentialsId: 'carrier', registration: true },
        { id: 'b', phoneNumber: '+14155550101', credentialsId: 'carrier', registration: true },
        { id: 'c', phoneNumber: '+14155550102', credentialsId: 'same-account', registration: true },
        { id: 'd', phoneNumber: '+14155550103', credentialsId: 'carrier' },
      ],
      agents: [
        {
          id: 'sales',
          sipRegistration: {
            domain: 'provider.example',
            username: 'acme',
            password: 'secret',
            proxy: 'sip.provider.example',
          },
        },
        { id: 'off', enabled: false, sipRegistration: { domain: 'x.example', username: 'u', password: 'p' } },
      ],
    });
    made.clock.advance(1_000);
    expect(made.registrations.size).toBe(1);
    expect(made.engine.registers).toHaveLength(1);
    expect(view(made).phoneNumbers).toEqual(['+14155550100', '+14155550101', '+14155550102']);
    expect(made.registrations.ofNumber('b')?.id).toBe(made.registrations.ofNumber('c')?.id);
    expect(made.registrations.ofNumber('d')).toBeUndefined();
    expect(made.registrations.ofAgent('sales')?.state).toBe('registered');
  });

  it('goes by the outbound proxy where there is one', () => {
    const made = bench();
    made.engine.script = granting();
    made.apply({
      ...DESCRIBED,
      sipCredentials: [{ ...TRUNK, outboundProxy: '198.51.100.9:5070', transport: 'tcp' }],
    });
    made.clock.advance(1_000);
    expect(made.engine.registers[0]?.options).toMatchObject({
      uri: 'sip:provider.example',
      route: ['<sip:198.51.100.9:5070;transport=tcp;lr>'],
      target: { port: 5070, transport: 'tcp' },
    });
  });

  it('stays while others still ask for it, and is taken off with the last', () => {
    const made = bench();
    made.engine.script = granting();
    const number = (id: string) => ({ id, phoneNumber: id, credentialsId: 'carrier', registration: true });
    const described = (...ids: string[]) => ({ sipCredentials: [TRUNK], phoneNumbers: ids.map(number) });
    made.apply(described('+14155550100', '+14155550101'));
    made.clock.advance(5_000);
    made.apply(described('+14155550101'));
    made.clock.advance(5_000);
    expect(made.engine.registers).toHaveLength(1);
    expect(view(made).phoneNumbers).toEqual(['+14155550101']);
    made.apply(described());
    made.clock.advance(5_000);
    expect(made.engine.registers).toHaveLength(2);
    const last = made.engine.registers.at(-1)!.options;
    expect(last.contact).toMatch(/;expires=0$/);
    expect(header(last, 'Expires')).toBe('0');
    expect(made.registrations.size).toBe(0);
    expect(made.removed).toEqual(['sip:acme@provider.example']);
    expect(made.registrations.byToken(/sip:([^@]*)@/.exec(last.contact!)![1])).toBeUndefined();
    expect(made.clock.armedCount).toBe(0);
  });

  it('is asked for again when it comes back while it is being taken off', () => {
    const made = bench();
    made.engine.script = granting();
    made.apply(DESCRIBED);
    made.clock.advance(5_000);
    made.apply({});
    made.apply(DESCRIBED);
    made.clock.advance(10_000);
    expect(view(made).state).toBe('registered');
    expect(made.engine.registers.at(-1)?.options.contact).toMatch(/;expires=600$/);
  });

  it('finds its own binding among others', () => {
    const made = bench();
    made.engine.script = ({ contact }) => ({
      response: answer(200, [
        'Contact: <sip:other@192.0.2.77>;expires=3600, "x" <sip:reg_else@192.0.2.78>;expires=20',
        // Rewritten by a NAT on the way: only the user part is still ours.
        `Contact: <${/reg_[a-z2-7]+/.exec(contact ?? '')![0].replace('reg_', 'sip:reg_')}@203.0.113.5:40000>;expires=120`,
        'Expires: 1800',
        'Service-Route: <sip:edge.provider.example;lr>, <sip:core.provider.example;lr>',
        'Via: SIP/2.0/UDP gw.example.net:5060;branch=z9hG4bKtest;received=203.0.113.5;rport=40000',
      ]),
    });
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    expect(view(made).timeline.at(-1)).toMatchObject({
      grantedExpirySeconds: 120,
      foreignBindings: 2,
      natAddress: '203.0.113.5:40000',
    });
    expect(made.registrations.holder(view(made).id)).toMatchObject({
      route: ['<sip:edge.provider.example;lr>', '<sip:core.provider.example;lr>'],
      target: { address: '198.51.100.1' },
    });
  });

  it.each([
    ['the Expires field where the Contact is not ours', ['Contact: <sip:x@y.example>', 'Expires: 90'], 90],
    ['what was asked where nothing is said', [], 600],
    ['what was asked where nonsense is said', ['Expires: soon'], 600],
  ])('takes %s', (_what, lines, expected) => {
    const made = bench();
    made.engine.script = () => ({ response: answer(200, lines) });
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    expect(view(made).timeline.at(-1)?.grantedExpirySeconds).toBe(expected);
  });

  it('asks for longer after 423, and keeps to it', () => {
    const made = bench();
    made.engine.script = (options) =>
      Number(header(options, 'Expires')) < 1_200
        ? { response: answer(423, ['Min-Expires: 1200']) }
        : { response: answer(200, [`Contact: ${options.contact}`]) };
    made.apply(DESCRIBED);
    made.clock.advance(3_000);
    expect(made.engine.registers.map(({ options }) => header(options, 'Expires'))).toEqual(['600', '1200']);
    expect(made.attempts[0]).toMatchObject({ verdict: 'interval_too_brief', status: 423 });
    made.clock.advance(1_200_000);
    expect(made.engine.registers.slice(2).every(({ options }) => header(options, 'Expires') === '1200')).toBe(
      true,
    );
    expect(made.engine.registers.length).toBeGreaterThan(2);
  });

  it.each(['Min-Expires: 10', 'Min-Expires: 99999999', 'X-Nothing: 1'])(
    'does not loop on 423 with %s',
    (line) => {
      const made = bench();
      made.engine.script = () => ({ response: answer(423, [line]) });
      made.apply(DESCRIBED);
      made.clock.advance(20_000);
      expect(made.engine.registers).toHaveLength(1);
      expect(view(made).state).toBe('retrying');
    },
  );

  it('offers outbound on streams, and does without after 439', () => {
    const made = bench();
    made.engine.script = (options) =>
      header(options, 'Supported')?.includes('outbound')
        ? { response: answer(439) }
        : { response: answer(200, [`Contact: ${options.contact}`]) };
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport: 'tcp' }] });
    made.clock.advance(3_000);
    const [first, second] = made.engine.registers;
    expect(first?.options.contact).toMatch(
      /^<sip:reg_\w+@gw\.example\.net:5060;transport=tcp>;expires=600;\+sip\.instance="<urn:uuid:[0-9a-f-]{36}>";reg-id=1$/,
    );
    expect(second?.options.contact).not.toContain('reg-id');
    expect(view(made).state).toBe('registered');
    made.clock.advance(600_000);
    expect(made.engine.registers.at(-1)?.options.contact).not.toContain('reg-id');
  });

  it('is paced per server from the start', () => {
    const made = bench({ settings: { perSecond: 20 } });
    made.engine.script = granting();
    made.apply({
      sipCredentials: Array.from({ length: 100 }, (_, index) => ({
        ...TRUNK,
        id: `t${index}`,
        authUser: `u${index}`,
      })),
      phoneNumbers: Array.from({ length: 100 }, (_, index) => ({
        id: `n${index}`,
        phoneNumber: `+1415555${1000 + index}`,
        credentialsId: `t${index}`,
        registration: true,
      })),
    });
    made.clock.advance(10_000);
    const times = made.engine.registers.map(({ at }) => at);
    expect(times).toHaveLength(100);
    for (const [index, at] of times.entries()) {
      const inSecond = times.filter((other) => other >= at && other < at + 1_000).length;
      expect(inSecond, `from the ${index}th`).toBeLessThanOrEqual(21);
    }
    expect(times.at(-1)! - times[0]!).toBeGreaterThanOrEqual(4_900);
  });
});

describe('credentials', () => {
  it('answer a challenge with the same Call-ID and From tag, and go along at once the next time', () => {
    const made = bench();
    made.engine.script = challenging('secret');
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    const [first, second] = made.engine.registers;
    expect(made.engine.registers).toHaveLength(2);
    expect(second?.options).toMatchObject({
      callId: first?.options.callId,
      fromTag: first?.options.fromTag,
      cseq: 2,
    });
    expect(header(first!.options, 'Authorization')).toBeUndefined();
    expect(view(made).timeline).toHaveLength(1);
    expect(view(made).timeline[0]).toMatchObject({
      realm: 'provider.example',
      algorithm: 'MD5',
      verdict: 'ok',
    });
    made.clock.advance(500_000);
    expect(made.engine.registers).toHaveLength(3);
    expect(header(made.engine.registers[2]!.options, 'Authorization')).toMatch(/nc=00000002/);
    expect(made.engine.registers[2]?.options.cseq).toBe(3);
  });

  it('that are rejected are a state of their own: slow, and at once when they change', () => {
    const made = bench();
    made.engine.script = challenging('changed', ['n1', 'n2', 'n3', 'n4', 'n5', 'n6', 'n7']);
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    expect(made.engine.registers).toHaveLength(2);
    expect(view(made)).toMatchObject({
      state: 'auth_rejected',
      lastVerdict: { code: 'auth_rejected', status: 401 },
    });
    made.clock.advance(1_100_000);
    expect(made.engine.registers).toHaveLength(2);
    made.clock.advance(700_000);
    expect(made.engine.registers).toHaveLength(4);
    expect(view(made).state).toBe('auth_rejected');
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, authPassword: 'changed' }] });
    made.clock.advance(2_000);
    expect(view(made).state).toBe('registered');
    // Nothing of it can be read where a registration is shown.
    expect(JSON.stringify([views(made), made.attempts])).not.toMatch(/secret|changed/);
  });

  it('are not sent where there are none', () => {
    const made = bench();
    made.engine.script = () => ({ response: answer(401, [CHALLENGE]) });
    made.apply({ ...DESCRIBED, sipCredentials: [{ id: 'carrier', server: 'sip.provider.example' }] });
    made.clock.advance(10_000);
    expect(made.engine.registers).toHaveLength(1);
    // Without an account the number itself is the user; without a domain the server is it.
    expect(made.engine.registers[0]?.options.to).toBe('<sip:+14155550100@sip.provider.example>');
    expect(view(made).lastVerdict?.code).toBe('auth_rejected');
  });

  it.each([
    [
      'a proxy, then the registrar',
      [
        [407, 'Proxy-Authenticate: Digest realm="p", nonce="a"'],
        [401, CHALLENGE],
        [200, 'X: 1'],
      ],
      3,
    ],
    [
      'stale nonces, but not for ever',
      Array.from({ length: 9 }, (_, index) => [
        401,
        `WWW-Authenticate: Digest realm="r", nonce="s${index}", stale=true`,
      ]),
      4,
    ],
    [
      'the same nonce again: only once',
      [
        [401, CHALLENGE],
        [401, CHALLENGE],
      ],
      2,
    ],
    [
      'challenges in turn, but not for ever',
      Array.from({ length: 9 }, (_, index) =>
        index % 2 === 0
          ? [401, `WWW-Authenticate: Digest realm="r", nonce="w${index}"`]
          : [407, `Proxy-Authenticate: Digest realm="r", nonce="p${index}"`],
      ),
      3,
    ],
  ] as const)('answer %s', (_what, answers, expected) => {
    const made = bench();
    made.engine.script = (_options, sent) => {
      const [status, line] = answers[Math.min(sent.length, answers.length) - 1]!;
      return { response: answer(Number(status), [String(line)]) };
    };
    made.apply(DESCRIBED);
    made.clock.advance(900);
    expect(made.engine.registers).toHaveLength(expected);
  });

  it('answer only who was asked', () => {
    const made = bench();
    made.engine.script = () => ({ response: answer(401, [CHALLENGE]), from: '203.0.113.66' });
    made.apply(DESCRIBED);
    made.clock.advance(10_000);
    expect(made.engine.registers).toHaveLength(1);
    expect(header(made.engine.registers[0]!.options, 'Authorization')).toBeUndefined();
    expect(view(made).state).toBe('failed');
    expect(view(made).lastVerdict?.detail).toContain('another address');
  });

  it('take the strongest challenge, and say when there is none to take', () => {
    const made = bench();
    made.engine.script = (options) => {
      const authorization = header(options, 'Authorization');
      return authorization === undefined
        ? {
            response: answer(401, [
              'WWW-Authenticate: Digest realm="r, s", nonce="m", algorithm=MD5, Digest realm="r, s", nonce="s", algorithm=SHA-256',
              'WWW-Authenticate: Digest realm="r, s", nonce="u", algorithm=SHA3-512',
            ]),
          }
        : { response: answer(authorization.includes('nonce="s"') ? 200 : 403) };
    };
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    expect(view(made)).toMatchObject({ state: 'registered', lastVerdict: { code: 'realm_mismatch' } });
    const other = bench();
    other.engine.script = () => ({
      response: answer(401, ['WWW-Authenticate: Digest realm="r", nonce="u", algorithm=SHA3-512']),
    });
    other.apply(DESCRIBED);
    other.clock.advance(1_000);
    expect(view(other)).toMatchObject({ state: 'failed', lastVerdict: { code: 'algorithm_unsupported' } });
    expect(other.engine.registers).toHaveLength(1);
  });

  it('follow the next nonce that the server names', () => {
    const made = bench();
    made.engine.script = (options) =>
      header(options, 'Authorization') === undefined
        ? { response: answer(401, [CHALLENGE]) }
        : { response: answer(200, ['Authentication-Info: nextnonce="n2"', 'Expires: 60']) };
    made.apply(DESCRIBED);
    made.clock.advance(60_000);
    const last = header(made.engine.registers[2]!.options, 'Authorization');
    expect(last).toContain('nonce="n2"');
    expect(last).toContain('nc=00000001');
  });
});

describe('failures', () => {
  it('that pass are tried again after 30 s, then twice as long, up to half an hour, for ever', () => {
    const made = bench();
    made.engine.script = () => ({ response: answer(503) });
    made.apply(DESCRIBED);
    made.clock.advance(24 * 3_600_000);
    const times = made.engine.registers.map(({ at }) => at);
    const gaps = times.slice(1).map((at, index) => Math.round((at - times[index]!) / 1_000));
    expect(gaps.slice(0, 6)).toEqual([30, 60, 120, 240, 480, 960]);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_800);
    expect(times.length).toBeGreaterThan(50);
    expect(view(made).state).toBe('retrying');
    expect(view(made).timeline).toHaveLength(50);
    expect(view(made).nextAttemptAt).not.toBeNull();
  });

  it('wait as long as Retry-After says', () => {
    const made = bench();
    made.engine.script = () => ({ response: answer(503, ['Retry-After: 100 (maintenance);duration=10']) });
    made.apply(DESCRIBED);
    made.clock.advance(99_000);
    expect(made.engine.registers).toHaveLength(1);
    expect(view(made).lastVerdict?.code).toBe('rate_limited');
    made.clock.advance(12_000);
    expect(made.engine.registers).toHaveLength(2);
  });

  it('go from target to target, and the one that registered is asked first', () => {
    const made = bench();
    made.addresses = ['198.51.100.1', '198.51.100.2', '198.51.100.3'];
    made.engine.script = (options) => {
      switch (options.target.address) {
        case '198.51.100.1':
          return { fault: { kind: 'refused', detail: 'nobody' } };
        case '198.51.100.2':
          return { response: answer(503) };
        default:
          return granting()(options, []);
      }
    };
    made.apply(DESCRIBED);
    made.clock.advance(10_000);
    const addresses = () => made.engine.registers.map(({ options }) => options.target.address);
    expect(addresses()).toEqual(['198.51.100.1', '198.51.100.2', '198.51.100.3']);
    expect(view(made).registrar).toBe('udp:198.51.100.3:5060');
    expect(made.attempts.map(({ verdict }) => verdict)).toEqual(['connection_refused', 'server_error', 'ok']);
    made.quarantined.clear();
    made.clock.advance(500_000);
    expect(addresses().slice(3)).toEqual(['198.51.100.3']);
    // The way is kept open where the binding is.
    expect(
      new Set(
        made.engine
          .of('OPTIONS')
          .slice(-3)
          .map(({ options }) => options.target.address),
      ),
    ).toEqual(new Set(['198.51.100.3']));
  });

  it('of the DNS are tried again', () => {
    const made = bench();
    made.engine.script = granting();
    made.addresses = { kind: 'not-found', detail: 'no such name' } as const;
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    expect(view(made)).toMatchObject({
      state: 'retrying',
      lastVerdict: { code: 'dns_not_found' },
      registrar: null,
    });
    made.addresses = ['198.51.100.1'];
    made.clock.advance(40_000);
    expect(view(made).state).toBe('registered');
  });

  it.each([
    [302, 'Contact: <sip:acme@203.0.113.9>'],
    [301, 'Contact: <sip:203.0.113.9>'],
    [305, 'Contact: <sip:203.0.113.9>'],
  ])('by redirection (%i) lead nowhere else', (status, line) => {
    const made = bench();
    made.engine.script = () => ({ response: answer(status, [line]) });
    made.apply(DESCRIBED);
    made.clock.advance(3_600_000);
    expect(new Set(made.engine.sent.map(({ options }) => options.target.address))).toEqual(
      new Set(['198.51.100.1']),
    );
    expect(new Set(made.engine.sent.map(({ options }) => options.uri))).toEqual(
      new Set(['sip:provider.example']),
    );
    expect(view(made).state).toBe('failed');
    expect(made.engine.registers.length).toBeLessThan(6);
  });

  it('while a binding lives are tried for sooner', () => {
    const made = bench();
    made.engine.script = (options, sent) =>
      sent.filter((each) => each.options.method === 'REGISTER').length > 1 && options.method === 'REGISTER'
        ? { response: answer(500) }
        : granting(60)(options, sent);
    made.apply(DESCRIBED);
    made.clock.advance(60_000);
    // Refreshed at 48 s, then half of the 12 s left, then half of that but not below 5 s.
    const times = made.engine.registers.map(({ at }) => Math.round(at / 1_000));
    expect(times).toEqual([0, 48, 54, 59]);
    expect(view(made).state).toBe('retrying');
  });

  it('are mended at once when somebody asks', () => {
    const made = bench();
    made.engine.script = () => ({ response: answer(403) });
    made.apply(DESCRIBED);
    made.clock.advance(5_000);
    expect(view(made)).toMatchObject({ state: 'failed', lastVerdict: { code: 'forbidden_before_auth' } });
    made.engine.script = granting();
    expect(made.registrations.refresh(view(made).id)).toBe(true);
    expect(made.registrations.refresh('nothing')).toBe(false);
    made.clock.advance(1_000);
    expect(view(made).state).toBe('registered');
  });
});

describe('the way to the server', () => {
  const TCP = { ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport: 'tcp' as const }] };

  it('is kept open by CRLF and by OPTIONS, once for all who share it', () => {
    const made = bench();
    made.engine.script = granting();
    made.apply({
      sipCredentials: Array.from({ length: 20 }, (_, index) => ({
        ...TRUNK,
        id: `t${index}`,
        authUser: `u${index}`,
      })),
      phoneNumbers: Array.from({ length: 20 }, (_, index) => ({
        id: `n${index}`,
        phoneNumber: `+1415555${1000 + index}`,
        credentialsId: `t${index}`,
        registration: true,
      })),
    });
    made.clock.advance(100_000);
    expect(made.engine.of('OPTIONS').length).toBeGreaterThanOrEqual(3);
    expect(made.engine.of('OPTIONS').length).toBeLessThanOrEqual(5);
    expect(made.engine.kept.length).toBeGreaterThanOrEqual(3);
  });

  it('that closes is opened again at once, by everybody who used it', () => {
    const made = bench();
    let flow = 7;
    made.engine.script = (options) => ({
      response: answer(200, [`Contact: ${options.contact ?? '<sip:x@y>'}`]),
      flow,
    });
    made.apply({
      ...TCP,
      agents: [
        {
          id: 'a',
          sipRegistration: {
            domain: 'provider.example',
            port: 5060,
            username: '1001',
            password: 'p',
            transport: 'tcp',
          },
        },
      ],
    });
    made.clock.advance(5_000);
    expect(made.engine.registers).toHaveLength(2);
    flow = 8;
    made.registrations.connectionClosed(7);
    made.clock.advance(200);
    expect(made.engine.registers).toHaveLength(4);
    expect(views(made).map(({ state }) => state)).toEqual(['registered', 'registered']);
    made.registrations.connectionClosed(99);
    made.clock.advance(5_000);
    expect(made.engine.registers).toHaveLength(4);
    expect(made.engine.of('REGISTER').at(-1)?.options.target.flow).toBeUndefined();
  });

  it('that is half open is found within 130 s and replaced', () => {
    const made = bench();
    let dead = false;
    made.engine.script = (options) =>
      dead && (options.target.flow === 7 || made.engine.closed.length === 0)
        ? null
        : { response: answer(200, [`Contact: ${options.contact ?? '<sip:x@y>'}`]), flow: dead ? 8 : 7 };
    made.apply(TCP);
    made.clock.advance(10_000);
    dead = true;
    const since = made.clock.now();
    const back = made.clock.advanceUntil(
      () => made.engine.closed.includes(7) && view(made).state === 'registered',
      130_000,
    );
    expect(back, `after ${made.clock.now() - since} ms`).toBe(true);
    expect(made.engine.registers.at(-1)?.options.target.address).toBe('198.51.100.1');
  });

  it('to a server that was away is taken again within 10 s of its return', () => {
    const made = bench();
    let up = true;
    made.engine.script = (options, sent) =>
      up ? granting()(options, sent) : { fault: { kind: 'refused', detail: 'nobody listens' } };
    made.apply(TCP);
    made.clock.advance(10_000);
    up = false;
    made.registrations.connectionClosed(1);
    made.clock.advance(300_000);
    expect(view(made).state).toBe('retrying');
    up = true;
    expect(made.clock.advanceUntil(() => view(made).state === 'registered', 10_000)).toBe(true);
  });

  it.each([0, 33_000, 36_000, 60_000])(
    'to a server that was silent over UDP is taken again within 10 s of its return, after %i ms more',
    (more) => {
      const made = bench();
      let up = true;
      made.engine.script = (options, sent) => (up ? granting()(options, sent) : null);
      made.engine.retransmits = true;
      made.apply(DESCRIBED);
      made.clock.advance(10_000);
      up = false;
      expect(made.clock.advanceUntil(() => view(made).state === 'retrying', 300_000)).toBe(true);
      made.clock.advance(more);
      const before = made.engine.registers.length;
      up = true;
      expect(made.clock.advanceUntil(() => view(made).state === 'registered', 10_000)).toBe(true);
      // A REGISTER that was under way is answered when it is repeated.
      expect(made.engine.registers.length - before).toBeLessThanOrEqual(1);
    },
  );

  it('to a silent server over UDP leads on to the next target, for all', () => {
    const made = bench();
    made.addresses = ['198.51.100.1', '198.51.100.2'];
    let dead = false;
    made.engine.script = (options, sent) =>
      dead && options.target.address === '198.51.100.1' ? null : granting()(options, sent);
    made.apply({
      sipCredentials: [TRUNK, { ...TRUNK, id: 't2', authUser: 'other' }],
      phoneNumbers: [
        { id: 'a', phoneNumber: '+14155550100', credentialsId: 'carrier', registration: true },
        { id: 'b', phoneNumber: '+14155550101', credentialsId: 't2', registration: true },
      ],
    });
    made.clock.advance(5_000);
    dead = true;
    made.clock.advance(150_000);
    expect(views(made).map(({ registrar }) => registrar)).toEqual([
      'udp:198.51.100.2:5060',
      'udp:198.51.100.2:5060',
    ]);
  });

  it('to a server that ignores OPTIONS, or one account, raises no storm', () => {
    const made = bench();
    made.engine.script = (options, sent) => {
      if (options.method === 'OPTIONS')
        return options.from.includes('deaf') ? null : { response: answer(200) };
      return options.to.includes('ignored') ? null : granting()(options, sent);
    };
    made.apply({
      sipCredentials: [
        { ...TRUNK, id: 'ignored', authUser: 'ignored' },
        { ...TRUNK, id: 'fine', authUser: 'fine' },
        { ...TRUNK, id: 'deaf', authUser: 'deaf', server: 'deaf.provider.example' },
      ],
      phoneNumbers: ['ignored', 'fine', 'deaf'].map((id, index) => ({
        id,
        phoneNumber: `+1415555010${index}`,
        credentialsId: id,
        registration: true,
      })),
    });
    made.clock.advance(3_600_000);
    const sent = (user: string) =>
      made.engine.registers.filter(({ options }) => options.to.includes(user)).length;
    expect(sent('fine')).toBeLessThan(12);
    expect(sent('ignored')).toBeLessThan(12);
    // One of all who share the way asks with a REGISTER whenever OPTIONS stay unanswered.
    expect(sent('deaf')).toBeLessThan(120);
  });

  it('from another address than before is told to the registrar', () => {
    const made = bench();
    let port = 40_000;
    made.engine.script = (options) => ({
      response: answer(200, [
        `Contact: ${options.contact ?? '<sip:x@y>'}`,
        `Via: SIP/2.0/UDP gw.example.net:5060;branch=z9hG4bKtest;received=203.0.113.5;rport=${port}`,
      ]),
    });
    made.apply(DESCRIBED);
    made.clock.advance(90_000);
    expect(made.engine.registers).toHaveLength(1);
    port = 40_001;
    made.clock.advance(30_000);
    expect(made.engine.registers).toHaveLength(2);
  });
});

describe('stopping', () => {
  it('takes every binding off within the time it has', async () => {
    const made = bench({ settings: { perSecond: 50 } });
    made.engine.script = granting();
    made.apply({
      sipCredentials: Array.from({ length: 200 }, (_, index) => ({
        ...TRUNK,
        id: `t${index}`,
        authUser: `u${index}`,
      })),
      phoneNumbers: Array.from({ length: 200 }, (_, index) => ({
        id: `n${index}`,
        phoneNumber: `+1415555${1000 + index}`,
        credentialsId: `t${index}`,
        registration: true,
      })),
    });
    made.clock.advance(10_000);
    const stopped = made.registrations.stop(2_000);
    made.clock.advance(2_000);
    await stopped;
    expect(
      made.engine.registers.filter(({ options }) => options.contact?.endsWith(';expires=0')),
    ).toHaveLength(200);
    expect(made.registrations.size).toBe(0);
    made.apply(DESCRIBED);
    expect(made.registrations.size).toBe(0);
    made.clock.advance(1_000);
    expect(made.clock.armedCount).toBe(0);
  });

  it('does not wait for a registrar that is silent', async () => {
    const made = bench();
    made.engine.script = (options, sent) =>
      options.contact?.endsWith('=0') ? null : granting()(options, sent);
    made.apply(DESCRIBED);
    made.clock.advance(5_000);
    const stopped = made.registrations.stop(2_000);
    made.clock.advance(2_100);
    await stopped;
    expect(made.registrations.size).toBe(0);
    made.clock.advance(60_000);
    expect(made.clock.armedCount).toBe(0);
  });
});

describe('calls to a Contact of ours', () => {
  const described = {
    sipCredentials: [TRUNK],
    phoneNumbers: [
      {
        id: 'main',
        phoneNumber: '+14155550100',
        credentialsId: 'carrier',
        registration: true,
        inboundAgentId: 'sales',
      },
    ],
    agents: [
      { id: 'sales', endpoints: [{ uri: 'sip:sales@192.0.2.9' }] },
      {
        id: 'own',
        endpoints: [{ uri: 'sip:own@192.0.2.9' }],
        sipRegistration: { domain: 'pbx.example', username: '1001', password: 'p' },
      },
    ],
  };
  const route = (aor: string, lines: readonly string[], forged = false) => {
    const made = bench();
    made.engine.script = granting();
    made.apply(described);
    made.clock.advance(2_000);
    const contact =
      made.engine.registers.find(({ options }) => options.to.includes(aor))?.options.contact ?? '';
    const uri = /<(.*?)>/.exec(contact)![1]!.replace(forged ? /reg_\w\w/ : /$^/, 'reg_zz');
    const invite = request('INVITE', [...lines], '', uri);
    const registered = made.registrations.byToken(invite.requestUri.user) ?? null;
    return routeInbound(snapshotOf(described), invite, source('203.0.113.200'), () => 0, registered);
  };

  it('go to the number that they name, or to the only one, whatever address they come from', () => {
    expect(route('acme', ['To: <sip:+14155550100@provider.example>'])).toMatchObject({
      kind: 'route',
      number: { id: 'main' },
      agent: { id: 'sales' },
    });
    expect(route('acme', ['To: <sip:acme@provider.example>'])).toMatchObject({
      kind: 'route',
      number: { id: 'main' },
      did: '+14155550100',
    });
    expect(route('acme', ['To: <sip:s@provider.example>', 'X-Dest-User: 4155550100'])).toMatchObject({
      kind: 'route',
      agent: { id: 'sales' },
    });
    expect(route('1001', ['To: <sip:1001@pbx.example>'])).toMatchObject({
      kind: 'route',
      agent: { id: 'own' },
      trunk: { id: 'agent:own' },
      did: '1001',
    });
  });

  it('with a token that is not ours are strangers', () => {
    expect(route('acme', ['To: <sip:+14155550100@provider.example>'], true)).toMatchObject({
      kind: 'refuse',
      code: 'unknown_source',
    });
  });

  it('explain themselves', () => {
    expect(route('1001', []).explanation[0]).toMatchObject({
      outcome: 'pass',
      detail: 'sip:1001@pbx.example',
    });
  });
});

it('bounds what a registrar can make it keep', () => {
  const made = bench();
  const foreign = Array.from(
    { length: 500 },
    (_, index) => `Contact: <sip:u${index}@192.0.2.7>;expires=3600`,
  );
  made.engine.script = (options) => ({
    response: answer(200, [...foreign.slice(0, 200), `Contact: ${granted(options.contact ?? '', 100)}`]),
  });
  made.apply(DESCRIBED);
  made.clock.advance(1_000);
  expect(view(made).timeline.at(-1)).toMatchObject({ foreignBindings: 200, grantedExpirySeconds: 100 });
});
