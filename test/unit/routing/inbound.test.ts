import { describe, expect, it } from 'vitest';
import { routeInbound } from '#routing/inbound.js';
import { REASONS, reasonEntry } from '#routing/refusals.js';
import type { SipRequest } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';
import { snapshotOf } from '../../kit/directory.js';

function invite(uri: string, headers: readonly string[] = [], to = '<sip:nobody@gateway>'): SipRequest {
  const message = parseMessage(
    [
      `INVITE ${uri} SIP/2.0`,
      'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa',
      'Max-Forwards: 70',
      'From: <sip:+4930123@carrier>;tag=1',
      `To: ${to}`,
      'Call-ID: a',
      'CSeq: 1 INVITE',
      'Contact: <sip:192.0.2.1>',
      ...headers,
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
  );
  if (message.kind !== 'request') throw new Error('not a request');
  return message;
}

const snapshot = snapshotOf({
  sipCredentials: [
    { id: 'carrier-a', server: 'a.example', allowedAddresses: ['192.0.2.0/24'] },
    { id: 'carrier-b', server: 'b.example', allowedAddresses: ['192.0.2.0/24'], country: 'GB' },
    {
      id: 'to-only',
      server: 'c.example',
      allowedAddresses: ['198.51.100.1'],
      didSource: ['to', 'p-called-party-id', 'history-info'],
    },
    { id: 'narrow', server: 'd.example', allowedAddresses: ['192.0.2.77'] },
  ],
  phoneNumbers: [
    { phoneNumber: '+14155550100', credentialsId: 'carrier-a', inboundAgentId: 'sales' },
    { phoneNumber: '+14155550101', credentialsId: 'carrier-a' },
    { phoneNumber: '+14155550102', credentialsId: 'carrier-a', inboundAgentId: 'off' },
    { phoneNumber: '+14155550103', credentialsId: 'carrier-a', inboundAgentId: 'nowhere' },
    { phoneNumber: 'sales', credentialsId: 'carrier-a', inboundAgentId: 'sales' },
    { phoneNumber: 'gründer', id: 'umlaut', credentialsId: 'carrier-a', inboundAgentId: 'sales' },
    { phoneNumber: '+442071234567', credentialsId: 'carrier-b', inboundAgentId: 'sales' },
    { phoneNumber: '+14155550199', credentialsId: 'to-only', inboundAgentId: 'sales' },
    { id: 'narrow-1', phoneNumber: '+14155550100', credentialsId: 'narrow', inboundAgentId: 'hunt' },
  ],
  agents: [
    { id: 'sales', endpoints: [{ uri: 'sip:sales@127.0.0.1:5090' }] },
    { id: 'off', enabled: false, endpoints: [{ uri: 'sip:off@127.0.0.1' }] },
    { id: 'nowhere' },
    {
      id: 'hunt',
      endpoints: [
        { uri: 'sip:last@127.0.0.1', priority: 9 },
        { uri: 'sip:light@127.0.0.1', priority: 1, weight: 1 },
        { uri: 'sip:heavy@127.0.0.1', priority: 1, weight: 9 },
      ],
    },
  ],
});

const route = (request: SipRequest, address = '192.0.2.1', random = () => 0) =>
  routeInbound(snapshot, request, { address, transport: 'udp' }, random);

describe('an inbound call', () => {
  it('goes to the agent of its number', () => {
    const decision = route(invite('sip:+14155550100@gateway'));
    expect(decision).toMatchObject({
      kind: 'route',
      trunk: { id: 'carrier-a' },
      number: { phoneNumber: '+14155550100' },
      agent: { id: 'sales' },
      did: '+14155550100',
      originalDid: '+14155550100',
      endpoints: [{ uri: 'sip:sales@127.0.0.1:5090' }],
    });
  });

  it.each([
    ['sip:14155550100@gateway', '14155550100', 'carrier-a'],
    ['sip:+1-415-555-0100@gateway', '+1-415-555-0100', 'carrier-a'],
    ['tel:+1-415-555-0100', '+1-415-555-0100', 'carrier-a'],
    ['sip:+14155550100;npdi@gateway;user=phone', '+14155550100', 'carrier-a'],
    ['sip:%2B14155550100@gateway', '%2B14155550100', 'carrier-a'],
    ['sip:s%61les@gateway', 's%61les', 'carrier-a'],
    ['sip:gr%C3%BCnder@gateway', 'gr%C3%BCnder', 'carrier-a'],
    ['sip:02071234567@gateway', '02071234567', 'carrier-b'],
    ['sip:00442071234567@gateway', '00442071234567', 'carrier-b'],
  ])('for %s is recognised, the original kept', (uri, original, trunk) => {
    expect(route(invite(uri))).toMatchObject({ kind: 'route', originalDid: original, trunk: { id: trunk } });
  });

  it.each([
    ['sip:s@gateway', [], '<sip:+14155550100@gateway>'],
    ['sip:gateway', [], '<sip:+14155550100@gateway>'],
    ['sip:acme-account@gateway', [], '<sip:+14155550100@gateway>'],
    ['sip:s@gateway', ['X-Dest-User: +14155550100'], undefined],
    ['sip:s@gateway', ['X-Dest-User: <sip:+14155550100@x>'], undefined],
    ['sip:s@gateway', ['Diversion: <sip:+14155550100@x>;reason=unconditional'], undefined],
    ['sip:s@gateway', ['Diversion: <sip:+1999@x>, "a, b" <sip:+14155550100@x>'], undefined],
    ['sip:s@gateway', ['Diversion: <sip:+1999@x>', 'Diversion: <tel:+14155550100>'], undefined],
  ])('with %s %j finds its number elsewhere', (uri, headers, to) => {
    expect(route(invite(uri, headers, to))).toMatchObject({ kind: 'route', did: '+14155550100' });
  });

  it('looks only where the trunk says', () => {
    const there = '198.51.100.1';
    expect(route(invite('sip:+14155550199@gateway'), there)).toMatchObject({ code: 'unknown_number' });
    for (const request of [
      invite('sip:x@gateway', [], '<sip:+14155550199@gateway>'),
      invite('sip:x@gateway', ['P-Called-Party-ID: <sip:+14155550199@gateway>']),
      invite('sip:x@gateway', [
        'History-Info: <sip:a@b>;index=1, <sip:+14155550199@b>;index=1.1, <sip:c@d>;index=1.2',
      ]),
    ]) {
      expect(route(request, there)).toMatchObject({ kind: 'route', number: { phoneNumber: '+14155550199' } });
    }
  });

  it('takes the trunk with the most specific block, then the others at that address', () => {
    const request = invite('sip:+14155550100@gateway');
    expect(route(request, '192.0.2.77')).toMatchObject({ trunk: { id: 'narrow' } });
    expect(route(request, '192.0.2.78')).toMatchObject({ trunk: { id: 'carrier-a' } });
    expect(route(invite('sip:sales@gateway'), '192.0.2.77')).toMatchObject({ trunk: { id: 'carrier-a' } });
  });

  it('tries endpoints by priority, then by lot', () => {
    const request = invite('sip:+14155550100@gateway');
    const order = (random: () => number) => {
      const decision = route(request, '192.0.2.77', random);
      if (decision.kind !== 'route') throw new Error(decision.code);
      return decision.endpoints.map((endpoint) => endpoint.uri.slice(4).split('@')[0]);
    };
    expect(order(() => 0)).toEqual(['light', 'heavy', 'last']);
    expect(order(() => 0.99)).toEqual(['heavy', 'light', 'last']);
  });

  it.each([
    ['unknown_source', 403, 'sip:+14155550100@gateway', '203.0.113.9', undefined],
    ['unknown_number', 404, 'sip:+19995550100@gateway', '192.0.2.1', undefined],
    ['unknown_number', 404, 'sip:+19995550100@gateway', '198.51.100.1', 'to-only'],
    ['number_without_agent', 480, 'sip:+14155550101@gateway', '192.0.2.1', 'carrier-a'],
    ['agent_disabled', 480, 'sip:+14155550102@gateway', '192.0.2.1', 'carrier-a'],
    ['agent_without_endpoints', 480, 'sip:+14155550103@gateway', '192.0.2.1', 'carrier-a'],
  ])('is refused: %s, %i', (code, status, uri, address, trunk) => {
    const decision = route(invite(uri), address);
    expect(decision).toMatchObject({ kind: 'refuse', code, status });
    expect(decision.trunk?.id).toBe(trunk);
    expect(decision.explanation.some((step) => step.outcome === 'fail')).toBe(true);
    expect(decision.explanation.at(-1)?.detail).toContain(code);
  });
});

describe('an explanation', () => {
  it('shows every test on the way', () => {
    const decision = route(invite('sip:s@gateway', [], '<sip:1%204155550100@gateway>'));
    expect(decision.explanation).toEqual([
      {
        subject: 'source 192.0.2.1 (udp)',
        test: 'is in allowedAddresses of a trunk',
        outcome: 'pass',
        detail: 'most specific first: carrier-a, carrier-b',
      },
      {
        subject: 'trunk carrier-a',
        test: 'ruri names a number',
        outcome: 'info',
        detail: 'absent, or without a user part',
      },
      {
        subject: 'trunk carrier-a',
        test: 'to names a number of this trunk',
        outcome: 'pass',
        detail: '1%204155550100, normalised 14155550100: number +14155550100',
      },
      { subject: 'number +14155550100', test: 'has an agent', outcome: 'pass', detail: 'agent sales' },
      { subject: 'agent sales', test: 'is enabled', outcome: 'pass', detail: 'enabled' },
      { subject: 'agent sales', test: 'has an endpoint', outcome: 'pass', detail: '1 endpoint' },
      {
        subject: 'endpoint sip:sales@127.0.0.1:5090',
        test: 'order of attempts',
        outcome: 'info',
        detail: '1 of 1: priority 1, weight 1',
      },
    ]);
  });

  it('shows what each trunk would have taken from a stranger', () => {
    const { explanation } = route(invite('sip:+14155550100@gateway'), '203.0.113.9');
    expect(explanation.map((step) => step.subject)).toContain('trunk narrow');
    expect(explanation.find((step) => step.subject === 'trunk narrow')?.detail).toBe('192.0.2.77');
  });

  it('names the trunk that has the number', () => {
    const { explanation } = route(invite('sip:+442071234567@gateway'), '198.51.100.1');
    expect(explanation.some((step) => step.detail.includes('carrier-b'))).toBe(false);
    const asked = route(
      invite('sip:x@gateway', [], '<sip:+442071234567@gateway>'),
      '198.51.100.1',
    ).explanation;
    expect(asked.some((step) => step.detail.includes('not on this trunk, but on carrier-b'))).toBe(true);
  });

  it('never holds a control character, whatever the peer writes', () => {
    const decision = route(invite('sip:%0D%0A%00evil@gateway', ['X-Dest-User: \u0081\u009b']));
    expect(decision.kind).toBe('refuse');
    expect(JSON.stringify(decision.explanation)).not.toMatch(/\\r|\\n|\\u00|[\u0000-\u001f\u007f-\u009f]/);
  });
});

describe('the catalogue of reasons', () => {
  it('says for every code what it means and what to do', () => {
    for (const [code, reason] of Object.entries(REASONS)) {
      expect(code).toMatch(/^[a-z][a-z_]+$/);
      expect(reason.meaning).toMatch(/\.$/);
      expect(reason.remedy).toMatch(/\.$/);
      expect(reason.status === 0 ? reason.phrase === '' : reason.phrase !== '').toBe(true);
    }
  });

  it('is asked by codes from outside', () => {
    expect(reasonEntry('unknown_source')?.status).toBe(403);
    expect(reasonEntry('toString')).toBeUndefined();
  });
});

describe('a source that trunks of two organisations name', () => {
  const shared = snapshotOf({
    sipCredentials: [
      {
        id: 'of-a',
        organizationId: 'a',
        server: 's',
        allowedAddresses: ['192.0.2.0/24'],
        didSource: ['to', 'ruri'],
      },
      {
        id: 'of-b',
        organizationId: 'b',
        server: 's',
        allowedAddresses: ['192.0.2.7'],
        didSource: ['diversion', 'to', 'ruri'],
      },
      { id: 'of-us', organizationId: 'c', server: 's', allowedAddresses: ['192.0.2.0/28'], country: 'US' },
    ],
    phoneNumbers: [
      { id: 'a-1', organizationId: 'a', credentialsId: 'of-a', phoneNumber: '+14155550100' },
      { id: 'b-1', organizationId: 'b', credentialsId: 'of-b', phoneNumber: '+14155550101' },
      { id: 'b-name', organizationId: 'b', credentialsId: 'of-b', phoneNumber: 'trunkline' },
      { id: 'b-short', organizationId: 'b', credentialsId: 'of-b', phoneNumber: '100' },
      { id: 'c-1', organizationId: 'c', credentialsId: 'of-us', phoneNumber: '+14155550103' },
    ],
  });
  const decide = (request: SipRequest) =>
    routeInbound(shared, request, { address: '192.0.2.7', transport: 'udp' }, () => 0);

  it.each([
    ['the wider one, which alone has it', '+14155550100', '<sip:x@g>', [], 'a-1'],
    ['the narrower one, which alone has it', '+14155550101', '<sip:x@g>', [], 'b-1'],
    ['one that reads it by its country', '4155550103', '<sip:x@g>', [], 'c-1'],
    [
      'who has the Request-URI, not who has what was diverted from',
      '+14155550100',
      '<sip:x@g>',
      ['Diversion: <sip:+14155550101@g>'],
      'a-1',
    ],
    ['who has the Request-URI, not who has To', '+14155550101', '<sip:+14155550100@g>', [], 'b-1'],
    ['who has a telephone number, not who took a name', 'trunkline', '<sip:+14155550100@g>', [], 'a-1'],
    ['who has a telephone number, not who took a short code', '100', '<sip:+14155550100@g>', [], 'a-1'],
    ['who has the name, when nothing else is named', 'trunkline', '<sip:x@g>', [], 'b-name'],
  ])('reaches %s', (_name, user, to, lines, number) => {
    const decision = decide(invite(`sip:${user}@gateway`, lines, to));
    expect(decision.number?.id).toBe(number);
    const [own] = number.split('-');
    const others = ['a', 'b', 'us'].filter((each) => each !== (own === 'c' ? 'us' : own));
    for (const other of others) expect(JSON.stringify(decision.explanation)).not.toContain(`of-${other}`);
  });

  it('is nobody’s when nobody has the number', () => {
    const decision = decide(invite('sip:+14155550199@gateway'));
    expect(decision).toMatchObject({ kind: 'refuse', code: 'unknown_number' });
    expect(decision.trunk).toBeUndefined();
  });
});
