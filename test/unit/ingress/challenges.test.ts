/** Which INVITEs the front desk asks for a password, and what becomes of those that show one. */
import { describe, expect, it } from 'vitest';
import type { InboundDecision } from '#routing/decision.js';
import { FakeIncomingInvite, request, source } from '../../kit/fake-engine.js';
import { agent, trunk } from '../call/kit.js';
import { CARRIER, Desk, STRANGER } from './kit.js';

const PBX = trunk({ id: 'pbx' });
const SALES = agent({ id: 'sales' });

const refusal = (code: string, more: object = {}): InboundDecision =>
  ({ kind: 'refuse', code, trunk: undefined, stranger: false, ...more }) as unknown as InboundDecision;
const ROUTE = { kind: 'route' } as unknown as InboundDecision;

function call(desk: Desk, from = CARRIER, lines: readonly string[] = []): FakeIncomingInvite {
  const invite = new FakeIncomingInvite(request('INVITE', lines), source(from));
  desk.desk.onInvite(invite);
  return invite;
}

describe('an INVITE that must show a password', () => {
  it('and shows none is challenged, leaves no record, and no agent is looked for where a trunk has the number', () => {
    const desk = new Desk();
    desk.decision = refusal('credentials_needed', { trunk: PBX });
    desk.identity = { kind: 'agent', agent: SALES };
    const invite = call(desk);
    expect(invite.rejected).toMatchObject({ status: 401, headers: { 'www-authenticate': 'fresh' } });
    expect([desk.handled, desk.refused, desk.originated, desk.sought]).toEqual([[], [], [], []]);
    expect(desk.answered).toEqual(['INVITE 401']);
  });

  it('shows one that was right too long ago, and is told so', () => {
    const desk = new Desk();
    desk.decision = refusal('credentials_needed', { trunk: PBX });
    desk.login = { kind: 'stale' };
    desk.identity = { kind: 'challenge', stale: true };
    expect(call(desk).rejected).toMatchObject({ status: 401, headers: { 'www-authenticate': 'stale' } });
  });

  it('shows a wrong one, and is refused and recorded with its trunk', () => {
    const desk = new Desk();
    desk.decision = refusal('credentials_needed', { trunk: PBX });
    desk.login = { kind: 'wrong', detail: 'because', trunk: PBX, agent: undefined };
    desk.identity = { kind: 'refuse', code: 'caller_credentials_wrong', detail: 'because', trunk: PBX };
    call(desk);
    expect(desk.refused).toMatchObject([
      { status: 403, code: 'caller_credentials_wrong', detail: 'because', trunk: PBX, direction: 'inbound' },
    ]);
  });

  it('is an agent’s when it comes from where one calls, and no trunk has the number', () => {
    const desk = new Desk();
    desk.decision = refusal('credentials_needed', { stranger: true });
    desk.identity = { kind: 'agent', agent: SALES };
    const invite = call(desk, STRANGER);
    expect(invite.rejected).toBeNull();
    expect([desk.originated.length, desk.sought]).toEqual([1, [true]]);
    desk.identity = { kind: 'nobody' };
    expect(call(desk, STRANGER).rejected).toMatchObject({ status: 401 });
  });

  it('learns nothing else as a stranger', () => {
    const desk = new Desk();
    desk.decision = refusal('credentials_needed', { stranger: true });
    const invite = call(desk, STRANGER, ['Require: telepathy', 'Max-Forwards: 0']);
    expect(invite.rejected).toMatchObject({ status: 401 });
    expect(desk.screen.isKnown(STRANGER)).toBe(false);
  });
});

describe('an INVITE that shows the password of a trunk', () => {
  it('is that trunk’s, and makes a friend of a stranger', () => {
    const desk = new Desk();
    desk.decision = ROUTE;
    desk.login = { kind: 'trunk', trunk: PBX };
    call(desk, STRANGER);
    expect([desk.proven, desk.handled]).toEqual([[PBX], [ROUTE]]);
    expect(desk.screen.isKnown(STRANGER)).toBe(true);
  });

  it('is told what it lacks, once it is no stranger’s', () => {
    const desk = new Desk();
    desk.decision = refusal('unknown_number', { trunk: PBX });
    desk.login = { kind: 'trunk', trunk: PBX };
    call(desk, STRANGER, ['Require: telepathy']);
    expect(desk.refused).toMatchObject([{ status: 420, trunk: PBX }]);
    expect(desk.handled).toEqual([]);
  });

  it('is no agent’s, whatever it dials', () => {
    const desk = new Desk();
    desk.decision = refusal('unknown_number', { trunk: PBX });
    desk.login = { kind: 'trunk', trunk: PBX };
    desk.identity = { kind: 'agent', agent: SALES };
    call(desk);
    expect([desk.handled, desk.sought]).toEqual([[desk.decision], []]);
  });

  it('from where it may not be used, makes no friend', () => {
    const desk = new Desk();
    desk.decision = refusal('caller_credentials_wrong', { trunk: PBX });
    desk.login = { kind: 'trunk', trunk: PBX };
    call(desk, STRANGER, ['Require: telepathy']);
    expect(desk.handled).toEqual([desk.decision]);
    expect(desk.screen.isKnown(STRANGER)).toBe(false);
  });
});

it('an INVITE that is routed by its address needs no password, and a wrong one does it no harm', () => {
  const desk = new Desk();
  desk.decision = ROUTE;
  desk.login = { kind: 'wrong', detail: '', trunk: undefined, agent: undefined };
  call(desk);
  expect(desk.handled).toEqual([ROUTE]);
});

it('an agent that shows its password may call a number of a trunk that has one too', () => {
  const desk = new Desk();
  desk.decision = refusal('credentials_needed', { trunk: PBX });
  desk.login = { kind: 'agent', agent: SALES };
  desk.identity = { kind: 'agent', agent: SALES };
  call(desk);
  expect(desk.originated).toHaveLength(1);
});
