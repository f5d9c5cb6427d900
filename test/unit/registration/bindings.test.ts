/** What outbound calls are told about registrations. */
import { describe, expect, it } from 'vitest';
import type { RegistrationBindings } from '#routing/bindings.js';
import { answer, bench, DESCRIBED, granted, granting, TRUNK } from './kit.js';

const CARRIER = { trunkId: 'carrier' } as const;

describe('bindingOf', () => {
  it('gives the way that is registered, with connection, listener, Contact user and Service-Route', () => {
    const made = bench();
    made.engine.script = ({ contact }) => ({
      response: answer(200, [
        `Contact: ${granted(contact ?? '', 300)}`,
        'Service-Route: <sip:edge.example;lr>, <sip:core.example;lr>',
      ]),
      flow: 7,
    });
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, transport: 'tcp' }] });
    const bindings: RegistrationBindings = made.registrations;
    expect(bindings.bindingOf(CARRIER)).toMatchObject({ kind: 'unbound' });
    made.clock.advance(1_000);
    const contactUser = /sip:([^@]+)@/.exec(made.engine.registers[0]?.options.contact ?? '')?.[1];
    expect(bindings.bindingOf(CARRIER)).toEqual({
      kind: 'bound',
      binding: {
        registrationId: made.registrations.list()[0]?.id,
        aor: 'sip:acme@provider.example',
        contactUser,
        target: expect.objectContaining({
          transport: 'tcp',
          address: '198.51.100.1',
          flow: 7,
          listenerId: 'tcp:192.0.2.1:5060',
        }),
        route: ['<sip:edge.example;lr>', '<sip:core.example;lr>'],
      },
    });
  });

  it('goes by the outbound proxy where the registrar gives no Service-Route', () => {
    const made = bench();
    made.engine.script = granting();
    made.apply({ ...DESCRIBED, sipCredentials: [{ ...TRUNK, outboundProxy: '198.51.100.9:5070' }] });
    made.clock.advance(1_000);
    expect(made.registrations.bindingOf(CARRIER)).toMatchObject({
      binding: { route: ['<sip:198.51.100.9:5070;lr>'], target: { flow: undefined } },
    });
  });

  it('says that a trunk does not register, also one that no longer does', () => {
    const made = bench();
    made.engine.script = granting();
    made.apply({ sipCredentials: [TRUNK], phoneNumbers: [] });
    expect(made.registrations.bindingOf(CARRIER)).toEqual({ kind: 'unregistered' });
    expect(made.registrations.bindingOf({ agentId: 'nobody' })).toEqual({ kind: 'unregistered' });
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    expect(made.registrations.bindingOf(CARRIER).kind).toBe('bound');
    made.apply({ sipCredentials: [TRUNK], phoneNumbers: [] });
    expect(made.registrations.bindingOf(CARRIER)).toEqual({ kind: 'unregistered' });
  });

  it('keeps the binding through a refresh that fails, and says why there is none after it has expired', () => {
    const made = bench();
    made.engine.script = granting(120);
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    made.engine.script = () => ({ response: answer(500) });
    made.clock.advance(118_000);
    expect(made.registrations.list()[0]?.state).toBe('retrying');
    expect(made.registrations.bindingOf(CARRIER).kind).toBe('bound');
    made.clock.advance(3_000);
    expect(made.registrations.bindingOf(CARRIER)).toMatchObject({
      kind: 'unbound',
      reason: expect.stringContaining('500'),
    });
  });

  it('takes a trunk whose password is rejected out, although the last binding still lives', () => {
    const made = bench();
    made.engine.script = granting(3_600);
    made.apply(DESCRIBED);
    made.clock.advance(1_000);
    made.engine.script = () => ({
      response: answer(401, ['WWW-Authenticate: Digest realm="provider.example", nonce="n", qop="auth"']),
    });
    made.clock.advance(3_300_000);
    expect(made.registrations.list()[0]?.state).toBe('auth_rejected');
    expect(made.registrations.bindingOf(CARRIER)).toMatchObject({
      kind: 'rejected',
      reason: expect.stringContaining('wrong user or password'),
    });
  });

  it('tells the numbers of a trunk without user apart, and knows an agent by its id and as a trunk', () => {
    const made = bench();
    made.engine.script = ({ from, contact }) =>
      from.includes('0101')
        ? { response: answer(404) }
        : { response: answer(200, [`Contact: ${contact ?? ''}`]) };
    made.apply({
      sipCredentials: [{ id: 'carrier', server: '198.51.100.1' }],
      phoneNumbers: [
        { id: 'a', phoneNumber: '+14155550100', credentialsId: 'carrier', registration: true },
        { id: 'b', phoneNumber: '+14155550101', credentialsId: 'carrier', registration: true },
      ],
      agents: [
        { id: 'sales', sipRegistration: { domain: 'pbx.example', username: '200', password: 'secret' } },
      ],
    });
    made.clock.advance(1_000);
    const { registrations } = made;
    expect(registrations.bindingOf({ trunkId: 'carrier', numberId: 'a' })).toMatchObject({
      binding: { aor: 'sip:+14155550100@198.51.100.1' },
    });
    expect(registrations.bindingOf({ trunkId: 'carrier', numberId: 'b' }).kind).toBe('unbound');
    expect(registrations.bindingOf(CARRIER)).toEqual({ kind: 'unregistered' });
    const own = registrations.bindingOf({ agentId: 'sales' });
    expect(own).toMatchObject({ binding: { aor: 'sip:200@pbx.example' } });
    expect(registrations.bindingOf({ trunkId: 'agent:sales' })).toEqual(own);
  });
});
