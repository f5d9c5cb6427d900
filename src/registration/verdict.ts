/**
 * One word for what became of a registration, and a sentence that says what to mend. The codes are part of the API:
 * live registrations, the probe and the time line use the same ones.
 */
import type { RequestOutcome } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { SipResponse } from '#sip/message.js';
import { printable } from '#sip/octets.js';
import { saidWhy } from '#sip/reason.js';
import { reasonPhrase } from '#sip/status.js';
import type { ResolutionFault } from '#targets/locate.js';

export const VERDICT_CODES = [
  'ok',
  'dns_not_found',
  'no_response',
  'connection_refused',
  'connection_timeout',
  'tls_untrusted',
  'tls_wrong_name',
  'tls_expired',
  'tls_failed',
  'forbidden_before_auth',
  'auth_rejected',
  'unknown_user',
  'realm_mismatch',
  'algorithm_unsupported',
  'interval_too_brief',
  'rate_limited',
  'server_error',
  'registration_not_supported',
] as const;

export type VerdictCode = (typeof VERDICT_CODES)[number];

export interface Verdict {
  readonly code: VerdictCode;
  /** For people; printable, without secrets. */
  readonly detail: string;
  /** The SIP status behind it; absent when no response came. */
  readonly status?: number;
}

export interface VerdictContext {
  /** What was sent: OPTIONS, REGISTER without credentials, REGISTER with. */
  readonly stage: 'options' | 'register' | 'register-authenticated';
  readonly challengeRealm?: string | undefined;
  /** The configured domain; undefined: any realm will do. */
  readonly expectedRealm?: string | undefined;
  /** The challenge offers no algorithm that we compute. */
  readonly algorithmUnsupported?: boolean | undefined;
}

/** What the final outcome of a request means. A challenge that is going to be answered is not final. */
export function verdictOf(outcome: RequestOutcome, context: VerdictContext): Verdict {
  if (outcome.kind === 'fault') return faultVerdict(outcome.fault);
  const { response } = outcome;
  const [code, detail] =
    context.stage === 'options' ? optionsVerdict(response) : registerVerdict(response, context);
  return { code, detail, status: response.status };
}

/** A warning leaves the registration in force. */
export function isWarning(code: VerdictCode): boolean {
  return code === 'realm_mismatch';
}

/** Why no target was found. */
export function resolutionVerdict(fault: ResolutionFault): Verdict {
  const mend = fault.kind === 'not-found' ? 'correct the server name' : 'the DNS gave no usable answer';
  return { code: 'dns_not_found', detail: `${fault.detail}: ${mend}` };
}

/** Why there was no answer. */
export function faultVerdict(fault: EngineFault): Verdict {
  const { detail } = fault;
  switch (fault.kind) {
    case 'refused':
      return {
        code: 'connection_refused',
        detail: `nothing listens there for this transport: correct port or transport (${detail})`,
      };
    case 'unreachable':
      return { code: 'connection_timeout', detail: `the server cannot be reached (${detail})` };
    case 'tls':
      return { code: TLS_CODES[fault.reason], detail };
    case 'timeout':
      return fault.connecting === true
        ? {
            code: 'connection_timeout',
            detail: `the server does not take the connection: correct server, port or firewall (${detail})`,
          }
        : {
            code: 'no_response',
            detail: fault.heard
              ? `the server received the request and never answered it (${detail})`
              : `the server does not answer: correct server or port, or try another transport (${detail})`,
          };
    case 'flow-lost':
      return { code: 'no_response', detail: `the connection closed before the answer (${detail})` };
    default:
      // Ours, and never told as an answer of the peer.
      return { code: 'no_response', detail: `this gateway did not send the request (${detail})` };
  }
}

const TLS_CODES = {
  untrusted: 'tls_untrusted',
  expired: 'tls_expired',
  'wrong-name': 'tls_wrong_name',
  alert: 'tls_failed',
  other: 'tls_failed',
} as const satisfies Record<Extract<EngineFault, { kind: 'tls' }>['reason'], VerdictCode>;

type Meaning = readonly [VerdictCode, string];

/** OPTIONS asks whether somebody is there, so a refusal is as good as a 200. */
function optionsVerdict(response: SipResponse): Meaning {
  const { status } = response;
  if (status === 408) return ['no_response', `a proxy got no answer from the server (${told(response)})`];
  if (isRateLimit(response))
    return ['rate_limited', `the server is overloaded or limits us (${told(response)})`];
  if (status >= 500 && status < 600 && status !== 501) {
    return ['server_error', `the server failed (${told(response)})`];
  }
  return ['ok', `the server answers (${told(response)})`];
}

function registerVerdict(response: SipResponse, context: VerdictContext): Meaning {
  const { status } = response;
  const heard = told(response);
  if (status < 300) return registered(context);
  switch (status) {
    case 401:
    case 407:
      return challenged(heard, context);
    case 403:
      return context.stage === 'register-authenticated'
        ? ['auth_rejected', `the server refuses these credentials or this account (${heard})`]
        : [
            'forbidden_before_auth',
            `the server refuses us before it asks for a password: its provider must allow our address (${heard})`,
          ];
    case 404:
    case 410:
    case 484:
    case 485:
    case 604:
      return ['unknown_user', `the server does not know this user in this domain (${heard})`];
    case 405:
    case 501:
      return [
        'registration_not_supported',
        `the server takes no registrations: turn registration off, it may know us by address (${heard})`,
      ];
    case 421:
    case 494:
      return ['registration_not_supported', `the server demands an extension that is not there (${heard})`];
    case 408:
      return ['no_response', `a proxy got no answer from the registrar (${heard})`];
    case 423:
      return [
        'interval_too_brief',
        `the server wants a longer expiry, at least ${minExpires(response)} (${heard})`,
      ];
    default:
      if (isRateLimit(response)) return ['rate_limited', `the server is overloaded or limits us (${heard})`];
      return status < 400
        ? ['server_error', `the server redirects elsewhere, which is not followed (${heard})`]
        : ['server_error', `the server did not take the registration (${heard})`];
  }
}

function registered({ challengeRealm, expectedRealm }: VerdictContext): Meaning {
  // A domain is compared without case, as host names are.
  if (
    challengeRealm !== undefined &&
    expectedRealm !== undefined &&
    challengeRealm.toLowerCase() !== expectedRealm.toLowerCase()
  ) {
    return [
      'realm_mismatch',
      `registered, but the server names its realm "${printable(challengeRealm)}" and not "${printable(expectedRealm)}"`,
    ];
  }
  return ['ok', 'registered'];
}

function challenged(heard: string, context: VerdictContext): Meaning {
  if (context.algorithmUnsupported === true) {
    return [
      'algorithm_unsupported',
      `the server asks for a digest algorithm other than MD5, SHA-256 and SHA-512-256 (${heard})`,
    ];
  }
  const { stage, challengeRealm, expectedRealm } = context;
  if (stage === 'register') {
    return ['auth_rejected', `the server asks for credentials and there are none (${heard})`];
  }
  const realm =
    challengeRealm === undefined || expectedRealm === undefined || challengeRealm === expectedRealm
      ? ''
      : `; its realm is "${printable(challengeRealm)}" and not "${printable(expectedRealm)}"`;
  return ['auth_rejected', `wrong user or password${realm} (${heard})`];
}

/** A limit, by status, by Retry-After on 503, or by what the text says: Twilio's 5xx "Trunk CPS limit exceeded". */
function isRateLimit(response: SipResponse): boolean {
  const { status } = response;
  if (status === 429) return true;
  if (status === 503 && response.headers.has('retry-after')) return true;
  return (
    status >= 500 &&
    status < 600 &&
    /\b(?:cps|rate|limit|too many|throttl|flood)/i.test(response.reason.slice(0, 200))
  );
}

function minExpires(response: SipResponse): string {
  const value = response.headers.get('min-expires');
  return value !== undefined && /^\d{1,10}$/.test(value) ? `${Number(value)} s` : 'an unnamed one';
}

function told({ status, reason, headers }: SipResponse): string {
  const phrase = printable(reason, 80);
  return [`${status} ${phrase === '' ? reasonPhrase(status) : phrase}`, ...saidWhy(headers)].join('; ');
}
