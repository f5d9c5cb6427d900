/** Which ways a call has, and when it has none. */
import { describe, expect, it } from 'vitest';
import type { BindingOwner, TrunkStanding } from '#routing/bindings.js';
import type { OutboundQuestion, OutboundUsage } from '#routing/outbound-decision.js';
import type { Described } from '../../kit/directory.js';
import { accepted, ask, bound, NOTHING_USED, onlyRoute, refused } from './outbound-kit.js';

const server = 'sip.example.com';
const ACCOUNT = { domain: 'pbx.example', username: '1001', password: 'secret' };

const HOUSE: Described = {
  organizations: [{ id: 'acme' }],
  sipCredentials: [
    { id: 'a', server, country: 'US' },
    { id: 'b', server },
    { id: 'c', server },
    { id: 'foreign', server, organizationId: 'rival' },
  ],
  phoneNumbers: [
    { id: 'one', phoneNumber: '+14155550100', credentialsId: 'a' },
    { id: 'two', phoneNumber: '+14155550101', credentialsId: 'b' },
    { id: 'three', phoneNumber: '+14155550100', credentialsId: 'c' },
    { id: 'theirs', phoneNumber: '+14155550109', credentialsId: 'foreign', organizationId: 'rival' },
  ],
  agents: [
    { id: 'sales', outboundNumberId: 'one', fallbackNumberIds: ['two', 'one'] },
    { id: 'spare', fallbackNumberIds: ['two'] },
    { id: 'off', enabled: false, outboundNumberId: 'one' },
    { id: 'mute' },
    { id: 'desk', sipRegistration: ACCOUNT },
    { id: 'both', sipRegistration: { ...ACCOUNT, did: '+15551234567' }, outboundNumberId: 'two' },
    { id: 'desk-first', sipRegistration: ACCOUNT, fallbackNumberIds: ['two'] },
  ],
};

const BOUND = { bindings: { bindingOf: (): TrunkStanding => bound('sip:1001@pbx.example') } };
const ways = (question: Partial<OutboundQuestion>, conditions = {}) =>
  accepted(ask(HOUSE, question, conditions)).routes.map(({ trunk, number }) => `${number.id} ${trunk.id}`);

describe('the ways of a call', () => {
  it('are the agent’s number, then its further ones, each by its own trunk', () => {
    expect(ways({})).toEqual(['one a', 'two b']);
    expect(ways({ agentId: 'spare' })).toEqual(['two b']);
  });

  it('are its own account where it has no number', () => {
    const onlyAccounts = {
      bindings: {
        bindingOf: (owner: BindingOwner): TrunkStanding =>
          'agentId' in owner ? bound('sip:1001@pbx.example') : { kind: 'unregistered' },
      },
    };
    expect(ways({ agentId: 'desk' }, onlyAccounts)).toEqual(['agent:desk agent:desk']);
    expect(ways({ agentId: 'both' }, onlyAccounts)).toEqual(['two b']);
    expect(ways({ agentId: 'desk-first' }, onlyAccounts)).toEqual([
      'agent:desk-first agent:desk-first',
      'two b',
    ]);
  });

  it.each([
    ['+14155550100', 'sales', ['one a', 'three c']],
    ['(415) 555-0100', 'sales', ['one a']],
    ['14155550101', 'sales', ['two b']],
    ['+14155550100', 'mute', ['one a', 'three c']],
    ['+1 555 123 4567', 'both', ['agent:both agent:both']],
    ['', 'sales', ['one a', 'two b']],
    ['anonymous', 'sales', ['one a', 'two b']],
  ])('that show %s for %s are %j', (from, agentId, expected) => {
    expect(ways({ from, agentId }, agentId === 'both' ? BOUND : {})).toEqual(expected);
  });

  it('are one by a trunk that is asked for, whichever the number has', () => {
    expect(ways({ from: '+14155550100', trunkId: 'b' })).toEqual(['one b']);
    expect(ways({ from: '+14155550100', trunkId: 'c' })).toEqual(['three c']);
    expect(ways({ trunkId: 'c' })).toEqual(['one c']);
    expect(ways({ trunkId: 'b' })).toEqual(['two b']);
    const asked: BindingOwner[] = [];
    const bindings = {
      bindingOf: (owner: BindingOwner): TrunkStanding => {
        asked.push(owner);
        return { kind: 'unregistered' };
      },
    };
    ways({ from: '+14155550100', trunkId: 'b' }, { bindings });
    // The number's own registration is at another provider.
    expect(asked).toEqual([{ trunkId: 'b', numberId: undefined }]);
  });

  it('carry the callee in normal form', () => {
    expect(accepted(ask(HOUSE, { to: '(415) 555-0199' }))).toMatchObject({
      callee: '+14155550199',
      organizationId: 'default',
      agent: { id: 'sales' },
    });
  });
});

describe('a way', () => {
  const trunk = {
    id: 'a',
    server: 'sip.example.com:5070',
    transport: 'tls',
    outboundProxy: 'proxy.example:5065',
    authUser: 'acme',
    authUsername: 'acme-auth',
    authPassword: 'hidden',
    domain: 'provider.example',
    cpsLimit: 10,
    cpsKey: 'shared',
    cpsBurst: 3,
    cpsCountsChallenges: true,
    maxDurationSeconds: 600,
    tls: { serverName: 'sip.provider.example', clientCert: 'cert', clientKey: 'key' },
  } as const;
  const described: Described = {
    organizations: [{ id: 'default', limits: { maxDurationSeconds: 900 } }],
    sipCredentials: [trunk, { id: 'sibling', server, cpsKey: 'shared', cpsLimit: 4, cpsBurst: 2 }],
    phoneNumbers: [{ id: 'one', phoneNumber: '+14155550100', credentialsId: 'a' }],
    agents: [{ id: 'sales', outboundNumberId: 'one' }],
  };

  it('by address or digest goes where the server is found, through the outbound proxy', () => {
    const route = onlyRoute(ask(described));
    expect(route.nextHop).toEqual({
      kind: 'resolve',
      destination: expect.objectContaining({ host: 'proxy.example', port: 5065 }),
      transport: 'tls',
      tls: {
        verify: undefined,
        ca: undefined,
        clientCert: 'cert',
        clientKey: 'key',
        serverName: 'sip.provider.example',
        minVersion: undefined,
      },
      route: ['<sip:proxy.example:5065;transport=tls;lr>'],
    });
    expect(route.uri).toBe('sip:+14155550199@sip.example.com:5070');
    expect(route.contactUser).toBeUndefined();
  });

  it('by a registration goes the way that is registered, in its name', () => {
    const standing = bound('sip:acme@provider.example', { flow: 7, listenerId: 'tls:1' }, ['<sip:edge;lr>']);
    const asked: BindingOwner[] = [];
    const bindingOf = (owner: BindingOwner): TrunkStanding => {
      asked.push(owner);
      return standing;
    };
    const route = onlyRoute(ask(described, {}, { bindings: { bindingOf } }));
    expect(asked).toEqual([{ trunkId: 'a', numberId: 'one' }]);
    expect(route.nextHop).toEqual({
      kind: 'registered',
      registrationId: 'reg-1',
      target: { transport: 'udp', address: '198.51.100.1', port: 5060, flow: 7, listenerId: 'tls:1' },
      route: ['<sip:edge;lr>'],
    });
    expect(route.uri).toBe('sip:+14155550199@provider.example');
    expect(route.contactUser).toBe('tl-token');
  });

  it('has the credentials, the realm, the line and the shortest of all durations', () => {
    const route = onlyRoute(ask(described, { maxDurationSeconds: 700 }));
    expect(route.credentials?.username).toBe('acme-auth');
    expect(route.credentials?.password.reveal()).toBe('hidden');
    expect(JSON.stringify(route)).not.toContain('hidden');
    expect(route.expectedRealm).toBe('provider.example');
    expect(route.pace).toEqual({ key: 'default/shared', limit: 4, burst: 2, countsChallenges: true });
    expect(route.maxDurationSeconds).toBe(600);
    expect(onlyRoute(ask(described, { maxDurationSeconds: 60 })).maxDurationSeconds).toBe(60);
  });

  it('has neither line nor credentials where none are needed', () => {
    const route = accepted(ask(HOUSE)).routes[1]!;
    expect(route.credentials).toBeUndefined();
    expect(route.expectedRealm).toBeUndefined();
    expect(route.pace).toEqual({ key: 'default/b', limit: undefined, burst: 1, countsChallenges: false });
    expect(route.maxDurationSeconds).toBeUndefined();
  });

  it('by an agent’s own account has a line of its own', () => {
    const route = onlyRoute(ask(HOUSE, { agentId: 'desk' }, BOUND));
    expect(route.pace).toEqual({
      key: 'default/agent:desk',
      limit: undefined,
      burst: 1,
      countsChallenges: false,
    });
    expect(route.credentials?.username).toBe('1001');
  });
});

describe('refused is', () => {
  const why = (question: Partial<OutboundQuestion>, conditions = {}, described = HOUSE) => {
    const { code, status, httpStatus, field, detail } = refused(ask(described, question, conditions));
    return { code, status, httpStatus, field, detail };
  };

  it.each([
    ['an agent that nobody knows', { agentId: 'nobody' }, 'unknown_agent', 404, 404, 'agentId'],
    ['an agent of others', { organizationId: 'rival' }, 'unknown_agent', 404, 404, 'agentId'],
    ['a disabled agent', { agentId: 'off' }, 'agent_disabled', 480, 409, undefined],
    ['an agent without a number', { agentId: 'mute' }, 'no_outbound_config', 403, 409, undefined],
    ['a number of nobody’s', { from: '+14155550111' }, 'caller_id_refused', 403, 403, 'from'],
    ['a number of others', { from: '+14155550109' }, 'caller_id_refused', 403, 403, 'from'],
    ['a name as number', { from: 'bank' }, 'caller_id_refused', 403, 403, 'from'],
    ['a number with what nobody sees', { to: '\u202a+14155550199\u202c' }, 'bad_request', 400, 400, 'to'],
    ['a trunk of nobody', { trunkId: 'none' }, 'bad_request', 400, 400, 'trunkId'],
    ['a trunk of others', { trunkId: 'foreign' }, 'bad_request', 400, 400, 'trunkId'],
    [
      'a number of others by a trunk of ours',
      { trunkId: 'a', from: '+14155550109' },
      'caller_id_refused',
      403,
      403,
      'from',
    ],
    [
      'a trunk without a number',
      { agentId: 'mute', trunkId: 'a' },
      'no_outbound_config',
      403,
      409,
      undefined,
    ],
    ['nobody', { to: ' ' }, 'bad_request', 400, 400, 'to'],
    ['a URI without a user', { to: 'sip:gateway.example' }, 'bad_request', 400, 400, 'to'],
    ['a URI that is none', { to: 'sip:@' }, 'bad_request', 400, 400, 'to'],
    ['a line end in the callee', { to: '1\r\n2' }, 'bad_request', 400, 400, 'to'],
    ['an escaped line end', { to: 'sip:1%0d%0a2@x' }, 'bad_request', 400, 400, 'to'],
    ['an endless callee', { to: '1'.repeat(129) }, 'bad_request', 400, 400, 'to'],
    ['no time at all', { maxDurationSeconds: 0 }, 'bad_request', 400, 400, 'maxDurationSeconds'],
    ['a space in X-Dest-User', { xDestUser: 'a b' }, 'bad_request', 400, 400, 'xDestUser'],
    ['another To', { headers: new Map([['To', '<sip:x@y>']]) }, 'bad_request', 400, 400, 'headers.To'],
    ['a compact name', { headers: new Map([['t', '<sip:x@y>']]) }, 'bad_request', 400, 400, 'headers.t'],
    ['a second line', { headers: new Map([['X-A', 'a\r\nVia: b']]) }, 'bad_request', 400, 400, 'headers.X-A'],
    ['no name', { headers: new Map([['X A', 'a']]) }, 'bad_request', 400, 400, 'headers.X A'],
    [
      'a caller behind the checks',
      { headers: new Map([['P-Asserted-Identity', '<sip:+1@x>']]) },
      'bad_request',
      400,
      400,
      'headers.P-Asserted-Identity',
    ],
  ] as const)('%s', (_, question, code, status, httpStatus, field) => {
    expect(why(question)).toMatchObject({ code, status, httpStatus, field });
  });

  it('told with the character that is wrong', () => {
    expect(why({ xDestUser: 'a;b' }).detail).toBe(
      'xDestUser must not have ";": a-z A-Z 0-9 . _ + @ ~ / - only',
    );
    expect(why({ xDestUser: 'a😀b' }).detail).toContain('"😀"');
    expect(why({ headers: new Map([['s', 'x']]) }).detail).toBe(
      'header field s is the compact form of subject',
    );
  });

  it('a call by an account that is not registered, with the reason', () => {
    const standing = (kind: 'unbound' | 'rejected'): TrunkStanding => ({
      kind,
      registrationId: 'reg-1',
      reason: '401 Unauthorized',
    });
    for (const kind of ['unbound', 'rejected'] as const) {
      const conditions = { bindings: { bindingOf: () => standing(kind) } };
      expect(why({}, conditions)).toEqual({
        code: 'not_registered',
        status: 503,
        httpStatus: 503,
        field: undefined,
        detail: 'trunk a is not registered: 401 Unauthorized',
      });
    }
    expect(why({ agentId: 'desk' }).code).toBe('not_registered');
  });
});

describe('bounds', () => {
  const LIMITED: Described = {
    ...HOUSE,
    organizations: [{ id: 'default', limits: { maxConcurrentCalls: 5, callsPerDay: 50 } }],
    sipCredentials: [
      { id: 'a', server, maxConcurrentCalls: 2, callsPerDay: 20 },
      ...HOUSE.sipCredentials!.slice(1),
    ],
  };
  const using = (usage: Partial<OutboundUsage>) => ask(LIMITED, {}, { usage: { ...NOTHING_USED, ...usage } });
  const at = (id: string, count: number) => (asked: string) => (asked === id ? count : 0);

  it.each([
    ['callsOfOrganization', 5, 'organization_capacity', 503, 429],
    ['callsTodayOfOrganization', 50, 'organization_day_limit', 403, 429],
  ] as const)('of an organisation: %s of %d is %s', (counter, most, code, status, httpStatus) => {
    expect(accepted(using({ [counter]: at('default', most - 1) })).routes).toHaveLength(2);
    expect(refused(using({ [counter]: at('default', most) }))).toMatchObject({ code, status, httpStatus });
    expect(refused(using({ [counter]: at('default', most + 1) })).code).toBe(code);
  });

  it.each([
    ['callsOnTrunk', 2, 'trunk_capacity', 503],
    ['callsTodayOnTrunk', 20, 'trunk_day_limit', 429],
  ] as const)('of a trunk: at %s %d the next one is tried', (counter, most, code, httpStatus) => {
    expect(accepted(using({ [counter]: at('a', most - 1) })).routes.map(({ trunk }) => trunk.id)).toEqual([
      'a',
      'b',
    ]);
    const decision = accepted(using({ [counter]: at('a', most) }));
    expect(decision.routes.map(({ trunk }) => trunk.id)).toEqual(['b']);
    expect(decision.explanation).toContainEqual(
      expect.objectContaining({
        subject: 'trunk a',
        outcome: 'fail',
        detail: expect.stringContaining(`of ${most}`),
      }),
    );
    const nowhere = ask(
      LIMITED,
      { from: '+14155550100', agentId: 'mute' },
      { usage: { ...NOTHING_USED, [counter]: () => most } },
    );
    // Trunk c has no bound and carries the same number.
    expect(accepted(nowhere).routes.map(({ trunk }) => trunk.id)).toEqual(['c']);
    const last = ask(
      { ...LIMITED, agents: [{ id: 'sales', outboundNumberId: 'one' }] },
      {},
      { usage: { ...NOTHING_USED, [counter]: () => most } },
    );
    expect(refused(last)).toMatchObject({ code, httpStatus, trunk: { id: 'a' }, number: { id: 'one' } });
  });
});

describe('the explanation', () => {
  it('names every test, and the first that each candidate fails', () => {
    const described: Described = {
      ...HOUSE,
      sipCredentials: [
        { id: 'a', server, destinations: { deny: ['+1415'] } },
        ...HOUSE.sipCredentials!.slice(1),
      ],
    };
    const { explanation } = accepted(ask(described));
    expect(explanation.map(({ subject, test, outcome }) => `${outcome} ${subject} ${test}`)).toEqual([
      'pass agent sales is enabled',
      'pass call can be understood',
      'pass organisation default has room for another call',
      'pass organisation default may make another call today',
      'pass agent sales has a number or an account to call from',
      'pass trunk a organisation default allows calls to +14155550199',
      'fail trunk a trunk a allows calls to +14155550199',
      'pass trunk b organisation default allows calls to +14155550199',
      'pass trunk b trunk b allows calls to +14155550199',
      'pass trunk b has room for another call',
      'pass trunk b may make another call today',
      'info trunk b order of attempts',
    ]);
  });

  it('ends with the refusal and what to do', () => {
    const { explanation } = refused(ask(HOUSE, { agentId: 'mute' }));
    expect(explanation.at(-1)).toEqual({
      subject: 'call',
      test: 'decision',
      outcome: 'fail',
      detail: expect.stringMatching(/^403 No outbound config \(no_outbound_config\): .*outboundNumberId/),
    });
  });

  it('is printable whatever was asked', () => {
    const { explanation, detail } = refused(ask(HOUSE, { from: '\u001b[31m\r\n+1' }));
    for (const text of [detail, ...explanation.map((step) => step.subject + step.detail)]) {
      expect(text).not.toMatch(/[\u0000-\u001f]/);
    }
  });
});
