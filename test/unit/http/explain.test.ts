/** The dry run says what a call would meet, with the sample configuration's directory. */
import { describe, expect, it } from 'vitest';
import { loadConfig } from '#config/load.js';
import { explainInbound } from '#http/explain.js';
import { explainOutbound } from '#http/explain-outbound.js';
import { snapshotOf } from '../../kit/directory.js';

const loaded = loadConfig('config/trunkline.yaml', { environment: {} });
if (loaded.kind !== 'config') throw new Error('the sample configuration is faulty');
const { snapshot } = loaded;
const explain = (to: string, source = '127.0.0.1', from?: string) =>
  explainInbound(snapshot, { to, from, source, organizationId: undefined }, () => 0);

describe('explain', () => {
  it.each([
    '+14155550100',
    '14155550100',
    'sip:+14155550100@example.com',
    'tel:+14155550100',
    '+1 415 555 0100',
  ])('%s is routed, step by step', (to) => {
    const answer = explain(to);
    expect(answer).toMatchObject({
      decision: 'route',
      status: null,
      code: null,
      trunkId: 'carrier-a',
      agentId: 'sales',
      did: '+14155550100',
      endpoints: ['sip:sales@127.0.0.1:5090'],
    });
    expect(typeof answer !== 'string' && answer.explanation.length).toBeGreaterThan(2);
  });

  it('names the first test that fails', () => {
    expect(explain('+14155550199')).toMatchObject({
      decision: 'refuse',
      status: 404,
      code: 'unknown_number',
    });
    const stranger = explain('+14155550100', '192.0.2.1');
    expect(stranger).toMatchObject({
      decision: 'refuse',
      status: 403,
      code: 'unknown_source',
      trunkId: null,
    });
    const outcomes = typeof stranger === 'string' ? [] : stranger.explanation.map(({ outcome }) => outcome);
    expect(outcomes).toContain('fail');
  });

  it.each(['', ' ', 'a\r\nVia: b', 'sip:', 'sip:a b@c', 'x>y<sip:z@w', '\u0000', 'name ü'])(
    '%j never breaks the INVITE that is made of it',
    (text) => {
      for (const answer of [explain(text), explain('+14155550100', '127.0.0.1', text)]) {
        if (typeof answer === 'string') expect(answer).toMatch(/^(to|from)/);
        else expect(answer.decision).toMatch(/route|refuse/);
      }
    },
  );

  it('shows an organisation nothing of others', () => {
    const told = (organizationId: string) =>
      explainInbound(
        snapshotOf({
          sipCredentials: [
            { id: 'ours', server: '192.0.2.1' },
            { id: 'theirs', server: '192.0.2.1', organizationId: 'rival' },
          ],
          phoneNumbers: [
            { phoneNumber: '+1', credentialsId: 'ours', inboundAgentId: 'sales' },
            { id: 'x', phoneNumber: '+2', credentialsId: 'theirs', organizationId: 'rival' },
          ],
          agents: [{ id: 'sales', endpoints: [{ uri: 'sip:sales@192.0.2.9' }] }],
        }),
        { to: '+1', from: undefined, source: '192.0.2.1', organizationId },
        () => 0,
      );
    expect(told('default')).toMatchObject({ decision: 'route', trunkId: 'ours' });
    expect(JSON.stringify(told('default'))).not.toContain('theirs');
    expect(told('rival')).toMatchObject({ decision: 'refuse', code: 'unknown_number', trunkId: 'theirs' });
    expect(JSON.stringify(told('rival'))).not.toMatch(/ours|sales/);
  });
});

describe('explain of a call that shows a password', () => {
  const snapshot = snapshotOf({
    sipCredentials: [
      { id: 'ours', server: 'a.example', inboundAuth: { username: 'u', password: 'hidden' } },
      {
        id: 'theirs',
        server: 'b.example',
        organizationId: 'rival',
        inboundAuth: { username: 'v', password: 'hidden' },
      },
    ],
    phoneNumbers: [{ phoneNumber: '+1', credentialsId: 'ours' }],
  });
  const told = (username: string | undefined, organizationId: string | undefined) =>
    explainInbound(
      snapshot,
      { to: '+1', from: undefined, source: '192.0.2.1', username, organizationId },
      () => 0,
    );

  it('is of the trunk that has the user, within the organisation', () => {
    expect(told(undefined, 'default')).toMatchObject({ status: 401, code: 'credentials_needed' });
    expect(told('u', 'default')).toMatchObject({ code: 'number_without_agent', trunkId: 'ours' });
    expect(told('v', undefined)).toMatchObject({ code: 'unknown_number', trunkId: 'theirs' });
    for (const username of ['v', 'nobody']) {
      expect(told(username, 'default')).toBe('username: is in `inboundAuth` of no trunk');
    }
    expect(told(undefined, 'nobody')).toMatchObject({ code: 'unknown_source' });
    expect(JSON.stringify([told('u', 'default'), told(undefined, 'default')])).not.toMatch(/hidden|theirs/);
  });
});

describe('explain of a call that leaves', () => {
  const described = {
    organizations: [{ id: 'default', limits: { maxConcurrentCalls: 9 } }],
    sipCredentials: [
      {
        id: 'a',
        server: 'sip.provider.example:5061',
        transport: 'tls',
        outboundProxy: 'proxy.example',
        authUser: 'acme',
        authPassword: 'hidden',
        cpsKey: 'shared',
        cpsLimit: 5,
        callsPerDay: 100,
      },
      { id: 'b', server: 'b.example', cpsKey: 'shared', cpsLimit: 2, destinations: { deny: ['+1415'] } },
    ],
    phoneNumbers: [
      { id: 'one', phoneNumber: '+14155550100', credentialsId: 'a', displayName: 'Müller' },
      { id: 'two', phoneNumber: '+14155550101', credentialsId: 'b' },
    ],
    agents: [{ id: 'sales', outboundNumberId: 'one', fallbackNumberIds: ['two'] }],
  } as const;
  const conditions = {
    bindings: { bindingOf: () => ({ kind: 'unregistered' }) as const },
    usage: {
      callsOfOrganization: () => 3,
      callsOnTrunk: () => 2,
      callsTodayOfOrganization: () => 40,
      callsTodayOnTrunk: () => 30,
    },
  };
  const leave = (question: object) =>
    explainOutbound(
      snapshotOf(described as never),
      { agentId: 'sales', to: '+14155550199', organizationId: 'default', ...question },
      conditions,
    );

  it('shows the INVITE, the next hop and the limits of each way, and why others are none', () => {
    const answer = leave({});
    expect(answer).toMatchObject({
      direction: 'outbound',
      decision: 'route',
      status: null,
      code: null,
      agentId: 'sales',
      organizationId: 'default',
      callee: '+14155550199',
    });
    expect(answer.routes).toEqual([
      {
        trunkId: 'a',
        phoneNumberId: 'one',
        phoneNumber: '+14155550100',
        dialled: '+14155550199',
        nextHop: 'tls proxy.example',
        registrationId: null,
        digestUser: 'acme',
        invite: [
          'INVITE sip:+14155550199@sip.provider.example:5061 SIP/2.0',
          'Route: <sip:proxy.example;transport=tls;lr>',
          'From: "Müller" <sip:+14155550100@sip.provider.example>',
          'To: <sip:+14155550199@sip.provider.example>',
        ].join('\r\n'),
        limits: {
          cpsKey: 'shared',
          effectiveCpsLimit: 2,
          cpsBurst: 1,
          cpsCountsChallenges: false,
          warning: expect.stringContaining('a 5, b 2'),
          maxDurationSeconds: null,
          trunkCalls: { used: 2, most: null },
          trunkCallsToday: { used: 30, most: 100 },
          organizationCalls: { used: 3, most: 9 },
          organizationCallsToday: { used: 40, most: null },
        },
      },
    ]);
    expect(answer.explanation).toContainEqual({
      subject: 'trunk b',
      test: 'trunk b allows calls to +14155550199',
      outcome: 'fail',
      detail: 'denied by +1415',
    });
    expect(JSON.stringify(answer)).not.toContain('hidden');
  });

  it('says what both ways of asking would be answered', () => {
    expect(leave({ from: '+1999' })).toMatchObject({
      decision: 'refuse',
      status: 403,
      httpStatus: 403,
      code: 'caller_id_refused',
      field: 'from',
      detail: '+1999 is no number of organisation default',
      callee: null,
      routes: [],
    });
    expect(leave({ organizationId: 'rival' })).toMatchObject({ code: 'unknown_agent', agentId: null });
  });
});
