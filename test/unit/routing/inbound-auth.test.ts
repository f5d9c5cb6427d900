/** Trunks with `inboundAuth`: who is asked for a password, who is let in by it, and what nobody learns before. */
import { describe, expect, it } from 'vitest';
import type { InboundDecision } from '#routing/decision.js';
import { routeInbound } from '#routing/inbound.js';
import { snapshotOf } from '../../kit/directory.js';
import { request } from '../../kit/fake-engine.js';

const auth = (username: string) => ({ username, password: `hidden-${username}` });
const CARRIER = '192.0.2.1';
const OFFICE = '198.51.100.7';
const STRANGER = '203.0.113.66';

const agents = [{ id: 'sales', endpoints: [{ uri: 'sip:sales@127.0.0.1:5090' }] }];
const snapshot = snapshotOf({
  sipCredentials: [
    { id: 'carrier', server: CARRIER },
    {
      id: 'office',
      server: 'office.example',
      allowedAddresses: ['198.51.100.6/31'],
      inboundAuth: auth('office'),
    },
    { id: 'roaming', server: '192.0.2.200', inboundAuth: auth('roaming') },
    { id: 'rival', organizationId: 'b', server: 'b.example', inboundAuth: auth('rival') },
    { id: 'both', server: 'c.example', allowedAddresses: [CARRIER], inboundAuth: auth('both') },
  ],
  phoneNumbers: [
    { phoneNumber: '+14155550100', credentialsId: 'carrier', inboundAgentId: 'sales' },
    { phoneNumber: '+14155550101', credentialsId: 'office', inboundAgentId: 'sales' },
    { phoneNumber: '+14155550102', credentialsId: 'roaming', inboundAgentId: 'sales' },
    { phoneNumber: '+14155550103', credentialsId: 'rival', organizationId: 'b' },
    { phoneNumber: '+14155550104', credentialsId: 'both', inboundAgentId: 'sales' },
    { phoneNumber: '+14155550105', credentialsId: 'roaming' },
  ],
  agents,
});

function route(number: string, address: string, user?: string): InboundDecision {
  const proven = user === undefined ? null : (snapshot.trunkByAuthUser(user) ?? null);
  if (user !== undefined && proven === null) throw new Error(`no user ${user}`);
  const invite = request('INVITE', [], '', `sip:${number}@192.0.2.254`);
  return routeInbound(snapshot, invite, { address, transport: 'udp' }, () => 0, null, proven);
}

const outcome = (decision: InboundDecision): string =>
  decision.kind === 'route' ? `to ${decision.trunk.id}` : `${decision.code} ${decision.trunk?.id ?? '-'}`;

describe('a trunk with inboundAuth', () => {
  it.each([
    // Without an address: anywhere, with the password.
    ['+14155550102', STRANGER, 'roaming', 'to roaming'],
    ['+14155550102', CARRIER, 'roaming', 'to roaming'],
    ['+14155550105', STRANGER, 'roaming', 'number_without_agent roaming'],
    // With addresses: both are needed.
    ['+14155550101', OFFICE, 'office', 'to office'],
    ['+14155550101', OFFICE, undefined, 'credentials_needed office'],
    ['+14155550101', STRANGER, 'office', 'caller_credentials_wrong office'],
    ['+14155550101', CARRIER, 'office', 'caller_credentials_wrong office'],
    ['+14155550104', CARRIER, 'both', 'to both'],
    ['+14155550104', CARRIER, undefined, 'credentials_needed both'],
    // A password is for the numbers of its own trunk.
    ['+14155550101', STRANGER, 'roaming', 'unknown_number roaming'],
    ['+14155550101', OFFICE, 'roaming', 'unknown_number roaming'],
    ['+14155550102', STRANGER, 'rival', 'unknown_number rival'],
    ['+14155550100', CARRIER, 'rival', 'unknown_number rival'],
    ['+14155550103', STRANGER, 'roaming', 'unknown_number roaming'],
    ['+14155550103', STRANGER, 'rival', 'number_without_agent rival'],
    // Where nothing demands one, none is asked for.
    ['+14155550100', CARRIER, undefined, 'to carrier'],
    ['+14155559999', CARRIER, undefined, 'unknown_number -'],
    // A PBX may share its address with a carrier.
    ['+14155550102', CARRIER, undefined, 'credentials_needed -'],
  ])('%s from %s as %s: %s', (number, address, user, expected) => {
    expect(outcome(route(number, address, user))).toBe(expected);
  });

  it('a stranger is asked for a password whatever the number, and so is who calls where all have one', () => {
    for (const address of [STRANGER, '192.0.2.200', OFFICE]) {
      const answers = new Set<string>();
      for (const number of [
        '+14155550100',
        '+14155550101',
        '+14155550102',
        '+14155550103',
        '+14155559999',
        'x',
      ]) {
        const decision = route(number, address);
        if (decision.kind === 'route') throw new Error('was let in');
        answers.add(`${decision.status} ${decision.reason} ${decision.code}`);
      }
      expect([...answers], address).toEqual(['401 Unauthorized credentials_needed']);
    }
  });

  it('a stranger is refused where no trunk takes calls from anywhere', () => {
    const closed = snapshotOf({
      sipCredentials: [
        { id: 'office', server: 'x.example', allowedAddresses: [OFFICE], inboundAuth: auth('office') },
      ],
    });
    const invite = request('INVITE', [], '', 'sip:+14155550101@192.0.2.254');
    const decision = routeInbound(closed, invite, { address: STRANGER, transport: 'udp' }, () => 0);
    expect(outcome(decision)).toBe('unknown_source -');
  });

  it('asks for it also where the call comes to a registration of the trunk', () => {
    const registered = { aor: 'sip:a@b', trunkIds: ['roaming'], numberIds: [], agentIds: [] };
    const invite = request('INVITE', [], '', 'sip:+14155550102@192.0.2.254');
    const to = (user?: string) =>
      routeInbound(
        snapshot,
        invite,
        { address: STRANGER, transport: 'udp' },
        () => 0,
        registered,
        user === undefined ? null : snapshot.trunkByAuthUser(user)!,
      );
    expect(outcome(to())).toBe('credentials_needed roaming');
    expect(outcome(to('roaming'))).toBe('to roaming');
    expect(outcome(to('rival'))).toBe('caller_credentials_wrong roaming');
  });

  it('of two that share an address the number says which is asked', () => {
    const shared = snapshotOf({
      sipCredentials: [
        { id: 'a', server: 'a.example', allowedAddresses: [OFFICE], inboundAuth: auth('a') },
        {
          id: 'b',
          organizationId: 'b',
          server: 'b.example',
          allowedAddresses: [OFFICE],
          inboundAuth: auth('b'),
        },
      ],
      phoneNumbers: [
        { phoneNumber: '+14155550101', credentialsId: 'a' },
        { phoneNumber: '+14155550102', credentialsId: 'b', organizationId: 'b' },
      ],
    });
    const to = (number: string, user?: string) =>
      outcome(
        routeInbound(
          shared,
          request('INVITE', [], '', `sip:${number}@192.0.2.254`),
          { address: OFFICE, transport: 'udp' },
          () => 0,
          null,
          user === undefined ? null : shared.trunkByAuthUser(user)!,
        ),
      );
    expect(to('+14155550101')).toBe('credentials_needed a');
    expect(to('+14155550102')).toBe('credentials_needed b');
    expect(to('+14155550102', 'b')).toBe('number_without_agent b');
    expect(to('+14155550102', 'a')).toBe('unknown_number a');
  });

  it('is explained step by step', () => {
    const steps = (decision: InboundDecision) =>
      decision.explanation.map(({ subject, test, outcome: how }) => `${how} ${subject}: ${test}`);
    expect(steps(route('+14155550101', OFFICE, 'office'))).toEqual(
      expect.arrayContaining([
        'pass trunk office: user and password (inboundAuth) are shown',
        `pass source ${OFFICE} (udp): is in allowedAddresses of trunk office`,
        'pass trunk office: ruri names a number of this trunk',
      ]),
    );
    expect(steps(route('+14155550101', OFFICE))).toContain(
      'fail trunk office: user and password (inboundAuth) are shown',
    );
    expect(steps(route('+14155550101', STRANGER, 'office'))).toContain(
      `fail source ${STRANGER} (udp): is in allowedAddresses of trunk office`,
    );
    const stranger = route('+14155550101', STRANGER).explanation;
    expect(stranger).toContainEqual({
      subject: 'trunk roaming',
      test: `allowedAddresses holds ${STRANGER}`,
      outcome: 'info',
      detail: 'takes calls from any address, with user and password (inboundAuth)',
    });
    expect(JSON.stringify(stranger)).not.toContain('hidden-');
  });
});
