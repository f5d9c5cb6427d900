/** Which failures send a call on, and what the caller is told in the end. */
import { describe, expect, it } from 'vitest';
import {
  afterFault,
  afterResponse,
  better,
  DEFAULT_FAILOVER_STATUSES,
  failoverSet,
  failureOf,
  failureOfFault,
  isPaceRefusal,
  ownFailure,
  saidWhy,
  toldStatus,
} from '#call/hunt.js';
import type { EngineFault } from '#engine/faults.js';
import { response } from '../../kit/fake-engine.js';

describe('after a response', () => {
  it.each([
    [408, 'next-way'],
    [500, 'next-way'],
    [502, 'next-way'],
    [503, 'next-target'],
    [504, 'next-way'],
  ])('%i: %s', (status, onward) => {
    expect(afterResponse(status, DEFAULT_FAILOVER_STATUSES, 'agent', false)).toBe(onward);
  });

  it('stops at every other status', () => {
    const going = Array.from({ length: 400 }, (_, i) => 300 + i).filter(
      (status) => afterResponse(status, DEFAULT_FAILOVER_STATUSES, 'agent', false) !== 'stop',
    );
    expect(going).toEqual([408, 500, 502, 503, 504]);
  });

  it('never goes on after 486, 487, 600 and 603, whatever is configured', () => {
    const all = failoverSet(Array.from({ length: 400 }, (_, i) => 300 + i));
    for (const status of [486, 487, 600, 603])
      expect(afterResponse(status, all, 'agent', false)).toBe('stop');
    expect(afterResponse(404, all, 'agent', false)).toBe('next-way');
  });
});

describe('after an answer of a provider', () => {
  it('each of its servers is a machine of its own, until the callee has rung', () => {
    for (const status of [408, 500, 502, 503, 504]) {
      expect(afterResponse(status, DEFAULT_FAILOVER_STATUSES, 'callee', false)).toBe('next-target');
      expect(afterResponse(status, DEFAULT_FAILOVER_STATUSES, 'callee', true)).toBe('stop');
    }
  });

  it.each([
    [500, 'Trunk CPS limit exceeded. Region: us1', [], false, true],
    [503, 'Service Unavailable', [], true, true],
    [503, 'Service Unavailable', [], false, false],
    [500, 'Server Internal Error', ['Warning: 399 edge "Calls per second limit exceeded"'], false, true],
    [486, 'Trunk CPS limit exceeded', [], true, false],
    [500, 'Server Internal Error', [], true, false],
  ] as const)('%i %s: too fast or not', (status, phrase, lines, plain, expected) => {
    expect(isPaceRefusal(response(status, lines, '', phrase), plain)).toBe(expected);
  });
});

describe('after a fault', () => {
  const unheard: readonly EngineFault[] = [
    { kind: 'refused', detail: '' },
    { kind: 'unreachable', detail: '' },
    { kind: 'tls', reason: 'expired', detail: '' },
    { kind: 'flow-lost', detail: '' },
    { kind: 'timeout', heard: false, detail: '' },
  ];

  it.each(unheard)('$kind: the next target, unless the endpoint has spoken', (fault) => {
    expect(afterFault(fault, false)).toBe('next-target');
    expect(afterFault(fault, true)).toBe('stop');
  });

  it.each([
    { kind: 'timeout', heard: true, detail: '' },
    { kind: 'capacity', detail: '' },
    { kind: 'engine-down', detail: '' },
    { kind: 'cancelled', detail: '' },
    { kind: 'glare', detail: '' },
  ] as const)('$kind stops the hunt', (fault) => {
    expect(afterFault(fault, false)).toBe('stop');
  });
});

describe('what the caller is told', () => {
  it('is an answer rather than silence, and the lowest class but 6xx', () => {
    const order = [600, 404, 500].map((status) => failureOf(response(status), 'agent'));
    const silence = ownFailure('no_answer', '');
    for (const [i, best] of order.entries()) {
      for (const worse of [...order.slice(i + 1), silence]) {
        expect(better(best, worse)).toBe(best);
        expect(better(worse, best)).toBe(best);
      }
    }
  });

  it('is the first of equals', () => {
    const first = failureOf(response(500), 'agent');
    expect(better(first, failureOf(response(504), 'agent'))).toBe(first);
    expect(better(null, first)).toBe(first);
  });

  it('never redirects, challenges, or calls the gateway overloaded', () => {
    const told = Array.from({ length: 400 }, (_, i) => toldStatus(300 + i));
    expect(
      told.filter((status) => status < 400 || status === 401 || status === 407 || status === 503),
    ).toEqual([]);
  });

  it('never repeats a phrase that could not be sent', () => {
    const odd = {
      ...response(486),
      headers: response(486).headers,
      kind: 'response' as const,
      status: 486,
      reason: 'a\rb',
    };
    expect(failureOf(odd, 'agent')).toMatchObject({ phrase: 'Busy Here', status: 486 });
  });

  it.each([
    [
      488,
      ['Warning: 304 carrier "Media type not available"'],
      'Warning: 304 carrier "Media type not available"',
    ],
    [403, ['Reason: Q.850;cause=57;text="bearer"', 'X-Other: no'], 'Reason: Q.850;cause=57;text="bearer"'],
    [500, ['X-Twilio-Error: 32001 CPS'], 'X-Twilio-Error: 32001 CPS'],
    [482, ['X-Trunkline-Reason: loop_detected'], 'X-Trunkline-Reason: loop_detected'],
    [302, ['Contact: <sip:b@h>'], 'the gateway follows no redirections; Contact: <sip:b@h>'],
    [486, [], null],
  ] as const)('%i: the record says why, in the words of who refused', (status, lines, why) => {
    const refused = response(status, lines);
    expect(saidWhy(refused, 'callee')).toBe(why);
    expect(failureOf(refused, 'callee').detail.endsWith(why ?? 'Busy Here')).toBe(true);
  });

  it('says that an endpoint asks for a password which nobody gave the gateway', () => {
    expect(failureOf(response(401), 'agent').detail).toContain('the gateway has no password for an endpoint');
    expect(saidWhy(response(401), 'callee')).toBeNull();
  });

  it('bounds and escapes what a peer says', () => {
    const many = response(
      403,
      Array.from({ length: 50 }, () => `Warning: 399 h "${'w'.repeat(1000)}\u0007"`),
    );
    expect(saidWhy(many, 'callee')?.length).toBeLessThan(1200);
    expect(saidWhy(response(403, ['Reason: SIP;text="\u009f"']), 'callee')).not.toMatch(
      /[\u0000-\u001f\u007f-\u009f]/,
    );
  });

  it('names TLS and the network', () => {
    expect(failureOfFault({ kind: 'tls', reason: 'wrong-name', detail: 'not us' }, 'agent')).toMatchObject({
      status: 480,
      code: 'agent_unreachable',
      detail: 'TLS wrong-name: not us',
    });
    expect(failureOfFault({ kind: 'capacity', detail: 'full' }, 'agent')).toMatchObject({
      status: 503,
      code: 'capacity',
      retryAfter: 5,
    });
  });
});
