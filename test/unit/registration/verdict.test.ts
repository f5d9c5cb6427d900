/** The table of verdicts: every code of the API has a row that yields it. */
import { describe, expect, it } from 'vitest';
import type { RequestOutcome } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import {
  isWarning,
  resolutionVerdict,
  VERDICT_CODES,
  type VerdictCode,
  type VerdictContext,
  verdictOf,
} from '#registration/verdict.js';
import { response, source } from '../../kit/fake-engine.js';

const REALM = { challengeRealm: 'provider.example', expectedRealm: 'provider.example' };
const UNKNOWN = { stage: 'register' } as const;
const KNOWN = { stage: 'register-authenticated', ...REALM } as const;
const OPTIONS = { stage: 'options' } as const;

function answered(status: number, lines: readonly string[] = [], phrase?: string): RequestOutcome {
  return { kind: 'response', response: response(status, lines, '', phrase), source: source() };
}

function faulted(fault: EngineFault): RequestOutcome {
  return { kind: 'fault', fault };
}

type Row = readonly [name: string, outcome: RequestOutcome, context: VerdictContext, code: VerdictCode];

const ROWS: readonly Row[] = [
  ['200 to credentials', answered(200), KNOWN, 'ok'],
  ['200 without credentials', answered(200), UNKNOWN, 'ok'],
  [
    '200, the realm differs in case only',
    answered(200),
    { ...KNOWN, challengeRealm: 'PROVIDER.example' },
    'ok',
  ],
  [
    '200, no realm expected',
    answered(200),
    { stage: 'register-authenticated', challengeRealm: 'asterisk' },
    'ok',
  ],
  ['200, another realm', answered(200), { ...KNOWN, challengeRealm: 'asterisk' }, 'realm_mismatch'],
  ['401 to credentials', answered(401), KNOWN, 'auth_rejected'],
  ['407 to credentials', answered(407), KNOWN, 'auth_rejected'],
  ['401, and there are no credentials', answered(401), UNKNOWN, 'auth_rejected'],
  ['401, another realm', answered(401), { ...KNOWN, challengeRealm: 'asterisk' }, 'auth_rejected'],
  ['403 to credentials', answered(403), KNOWN, 'auth_rejected'],
  ['403 before a challenge', answered(403), UNKNOWN, 'forbidden_before_auth'],
  [
    '401 with algorithms we lack',
    answered(401),
    { ...UNKNOWN, algorithmUnsupported: true },
    'algorithm_unsupported',
  ],
  ['404', answered(404), KNOWN, 'unknown_user'],
  ['410', answered(410), KNOWN, 'unknown_user'],
  ['604', answered(604), UNKNOWN, 'unknown_user'],
  ['405', answered(405), UNKNOWN, 'registration_not_supported'],
  ['501', answered(501), UNKNOWN, 'registration_not_supported'],
  ['494', answered(494), UNKNOWN, 'registration_not_supported'],
  ['423', answered(423, ['Min-Expires: 1800']), KNOWN, 'interval_too_brief'],
  ['429', answered(429), KNOWN, 'rate_limited'],
  ['503 with Retry-After', answered(503, ['Retry-After: 30']), KNOWN, 'rate_limited'],
  [
    '500 that names a limit',
    answered(500, [], 'Trunk CPS limit exceeded. Region: us1'),
    KNOWN,
    'rate_limited',
  ],
  ['503', answered(503), KNOWN, 'server_error'],
  ['500', answered(500), UNKNOWN, 'server_error'],
  ['302', answered(302, ['Contact: <sip:elsewhere.example>']), UNKNOWN, 'server_error'],
  ['439', answered(439), KNOWN, 'server_error'],
  ['408', answered(408), KNOWN, 'no_response'],
  ['silence', faulted({ kind: 'timeout', heard: false, detail: 'timer F' }), UNKNOWN, 'no_response'],
  ['100, then silence', faulted({ kind: 'timeout', heard: true, detail: 'timer F' }), KNOWN, 'no_response'],
  ['the connection broke', faulted({ kind: 'flow-lost', detail: 'reset' }), KNOWN, 'no_response'],
  ['our own bound', faulted({ kind: 'capacity', detail: 'transactions' }), KNOWN, 'no_response'],
  ['our own end', faulted({ kind: 'engine-down', detail: 'stopped' }), KNOWN, 'no_response'],
  [
    'no connection in time',
    faulted({ kind: 'timeout', heard: false, connecting: true, detail: '5000 ms' }),
    UNKNOWN,
    'connection_timeout',
  ],
  ['no route', faulted({ kind: 'unreachable', detail: 'EHOSTUNREACH' }), UNKNOWN, 'connection_timeout'],
  ['refused', faulted({ kind: 'refused', detail: 'ECONNREFUSED' }), UNKNOWN, 'connection_refused'],
  ['untrusted', faulted({ kind: 'tls', reason: 'untrusted', detail: 'x' }), UNKNOWN, 'tls_untrusted'],
  ['wrong name', faulted({ kind: 'tls', reason: 'wrong-name', detail: 'x' }), UNKNOWN, 'tls_wrong_name'],
  ['expired', faulted({ kind: 'tls', reason: 'expired', detail: 'x' }), UNKNOWN, 'tls_expired'],
  ['alert', faulted({ kind: 'tls', reason: 'alert', detail: 'x' }), UNKNOWN, 'tls_failed'],
  ['not TLS at all', faulted({ kind: 'tls', reason: 'other', detail: 'x' }), UNKNOWN, 'tls_failed'],
  ['OPTIONS, 200', answered(200), OPTIONS, 'ok'],
  ['OPTIONS, 404: somebody is there', answered(404), OPTIONS, 'ok'],
  ['OPTIONS, 403: somebody is there', answered(403), OPTIONS, 'ok'],
  ['OPTIONS, 501: somebody is there', answered(501), OPTIONS, 'ok'],
  ['OPTIONS, 408', answered(408), OPTIONS, 'no_response'],
  ['OPTIONS, 500', answered(500), OPTIONS, 'server_error'],
  ['OPTIONS, 503 with Retry-After', answered(503, ['Retry-After: 5']), OPTIONS, 'rate_limited'],
  ['OPTIONS, refused', faulted({ kind: 'refused', detail: 'x' }), OPTIONS, 'connection_refused'],
];

describe('verdicts', () => {
  it.each(ROWS)('%s', (_name, outcome, context, code) => {
    const verdict = verdictOf(outcome, context);
    expect(verdict.code).toBe(code);
    expect(verdict.detail).not.toBe('');
    expect(verdict.status).toBe(outcome.kind === 'response' ? outcome.response.status : undefined);
  });

  it.each(['not-found', 'timeout', 'server-failure', 'unsupported'] as const)('DNS: %s', (kind) => {
    const verdict = resolutionVerdict({ kind, detail: 'no address for sip.example' });
    expect(verdict.code).toBe('dns_not_found');
    expect(verdict.detail).toContain('sip.example');
  });

  it('reach every code of the API', () => {
    const reached = new Set<VerdictCode>(ROWS.map(([, , , code]) => code)).add('dns_not_found');
    expect([...reached].sort()).toEqual([...VERDICT_CODES].sort());
  });

  it('take a different realm for a warning and nothing else', () => {
    expect(VERDICT_CODES.filter(isWarning)).toEqual(['realm_mismatch']);
  });

  it('give the reasons that the server gave', () => {
    const { code, detail } = verdictOf(answered(403, ['Warning: 399 r "IP not allowed"']), UNKNOWN);
    expect(code).toBe('forbidden_before_auth');
    expect(detail).toContain('403 Forbidden; Warning: 399 r "IP not allowed"');
  });

  it('say what the server said, without its line ends and controls', () => {
    const { detail } = verdictOf(answered(480, [], 'Out\x1b[31m of order'), KNOWN);
    expect(detail).toContain('480 Out\\x1b[31m of order');
    const mismatch = verdictOf(answered(401), { ...KNOWN, challengeRealm: 'a\x07b' });
    expect(mismatch.detail).toContain('"a\\x07b"');
  });

  it('tell the time that a 423 asks for', () => {
    expect(verdictOf(answered(423, ['Min-Expires: 1800']), KNOWN).detail).toContain('at least 1800 s');
    expect(verdictOf(answered(423), KNOWN).detail).toContain('an unnamed one');
  });
});
