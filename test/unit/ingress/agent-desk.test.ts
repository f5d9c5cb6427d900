/** Which agent calls: by address, by port, by From, by password, and when nobody does. */
import { describe, expect, it } from 'vitest';
import { DigestGate } from '#auth/gate.js';
import { WrongAnswers } from '#auth/wrong-answers.js';
import type { Agent } from '#directory/agent.js';
import { parseCidr } from '#directory/cidr.js';
import { Secret } from '#directory/secret.js';
import { identifyAgent } from '#ingress/agent-desk.js';
import { Logins } from '#ingress/logins.js';
import { SeededIds } from '#lib/ids.js';
import { request } from '../../kit/fake-engine.js';
import { VirtualClock } from '../../kit/virtual-clock.js';
import { agent, trunk } from '../call/kit.js';

const at = (id: string, port = 5090, more: Partial<Agent> = {}) =>
  agent({ id, endpoints: [{ uri: `sip:${id}@192.0.2.9:${port}`, priority: 1, weight: 1 }], ...more });
const AUTH = { inboundAuth: { username: 'u', password: new Secret('p') } };

function identify(
  agents: readonly Agent[],
  more: {
    lines?: string[];
    trunksOf?: string[];
    stranger?: boolean;
    port?: number;
    authUsers?: boolean;
  } = {},
) {
  const clock = new VirtualClock();
  const logins = new Logins({
    gate: new DigestGate({ clock, ids: new SeededIds(1), realm: 'ours' }),
    wrongAnswers: new WrongAnswers(clock),
    directory: {
      current: {
        agentByAuthUser: (username) => agents.find(({ inboundAuth }) => inboundAuth?.username === username),
        trunkByAuthUser: () => undefined,
      },
    },
  });
  const invite = request('INVITE', more.lines ?? []);
  const login = logins.read(invite, { address: '192.0.2.9' });
  if (login.kind === 'trunk') throw new Error('there is none');
  return identifyAgent(
    {
      agentsBySource: () => agents,
      hasAuthUsers: more.authUsers ?? false,
      trunksBySource: () => (more.trunksOf ?? []).map((organizationId) => trunk({ organizationId })),
    },
    login,
    invite,
    { address: '192.0.2.9', port: more.port ?? 5090 },
    more.stranger ?? true,
  );
}

describe('an INVITE that no trunk takes', () => {
  it('is the one agent’s of its address', () => {
    expect(identify([at('sales', 5091)])).toMatchObject({ kind: 'agent', agent: { id: 'sales' } });
  });

  it('is nobody’s from elsewhere', () => {
    expect(identify([])).toEqual({ kind: 'nobody' });
  });

  it('is asked for a password where some agent has one', () => {
    expect(identify([], { authUsers: true })).toEqual({ kind: 'challenge', stale: false });
    expect(identify([at('sales', 5090, AUTH)])).toEqual({ kind: 'challenge', stale: false });
  });

  it('names its agent in From, by id or endpoint, where several share the address', () => {
    const both = [at('sales'), at('support')];
    const from = (user: string) => [`From: <sip:${user}@192.0.2.9>;tag=a`];
    expect(identify(both, { lines: from('support') })).toMatchObject({ agent: { id: 'support' } });
    const refused = identify(both, { lines: from('nobody') });
    expect(refused).toMatchObject({ kind: 'refuse', code: 'agent_ambiguous' });
    expect(refused).toMatchObject({ detail: expect.stringContaining('sales, support') });
  });

  it('with an answer to no challenge of ours is challenged anew', () => {
    const line =
      'Authorization: Digest username="u", realm="ours", nonce="x", uri="sip:+14155550100@192.0.2.1", response="0", qop=auth, nc=00000001, cnonce="c"';
    expect(identify([at('sales', 5090, AUTH)], { lines: [line] })).toEqual({
      kind: 'challenge',
      stale: true,
    });
  });
});

describe('an INVITE from the address of a trunk, for a number that it does not have', () => {
  it('is an agent’s only from the very port of its endpoint', () => {
    expect(identify([at('sales', 5090)], { stranger: false })).toMatchObject({ kind: 'agent' });
    expect(identify([at('sales', 5091)], { stranger: false })).toEqual({ kind: 'nobody' });
  });

  it('is not asked for a password, which would puzzle a provider', () => {
    expect(identify([], { stranger: false, authUsers: true })).toEqual({ kind: 'nobody' });
  });
});

describe('an address where agents of two organisations are', () => {
  const block = (text: string) => {
    const cidr = parseCidr(text);
    if (typeof cidr === 'string') throw new Error(cidr);
    return { allowedAddresses: [cidr] };
  };
  const ours = at('ours', 5090, { organizationId: 'a' });
  const theirs = at('theirs', 5090, { organizationId: 'b' });
  const from = (user: string) => ({ lines: [`From: <sip:${user}@192.0.2.9>;tag=a`] });

  it('says nothing, and neither does From, which anybody there may write', () => {
    for (const agents of [
      [ours, theirs],
      [theirs, ours],
    ]) {
      const refused = identify(agents, from('ours'));
      expect(refused).toMatchObject({ kind: 'refuse', code: 'agent_ambiguous' });
      expect(JSON.stringify(refused)).not.toMatch(/ours|theirs/);
    }
    expect(identify([ours, theirs], { authUsers: true })).toMatchObject({ kind: 'challenge' });
  });

  it('is of who says to call from there, not of who is called there', () => {
    const claims = { ...ours, ...block('192.0.2.0/24') };
    expect(identify([theirs, claims], from('theirs'))).toMatchObject({ agent: { id: 'ours' } });
    const both = [claims, { ...theirs, ...block('192.0.2.9') }];
    expect(identify(both, from('ours'))).toMatchObject({ kind: 'refuse', code: 'agent_ambiguous' });
    const written = both.map(
      (each) => ({ ...each, source: each.id === 'ours' ? 'config' : 'manual' }) as Agent,
    );
    expect(identify(written)).toMatchObject({ agent: { id: 'ours' } });
  });

  it('is of who has no password, where the other must show one', () => {
    expect(identify([{ ...theirs, ...AUTH }, ours])).toMatchObject({ agent: { id: 'ours' } });
  });

  it('is no agent’s where another organisation has a trunk, unless it shows a password', () => {
    const there = { stranger: false, trunksOf: ['a', 'b'] };
    expect(identify([ours], { ...there, trunksOf: ['a'] })).toMatchObject({ agent: { id: 'ours' } });
    expect(identify([ours], there)).toEqual({ kind: 'nobody' });
    expect(identify([{ ...ours, ...AUTH }], there)).toMatchObject({ kind: 'challenge' });
  });
});
