/**
 * Which header fields cross the gateway, as one table. A B2BUA hides one side from the other: what is not listed
 * here stays where it came from. `X-` fields cross, our own `X-Trunkline-` fields never do.
 *
 * Session timers (RFC 4028) work end to end: Session-Expires, Min-SE and the option tag cross, as do the refreshing
 * UPDATE and re-INVITE.
 */

import { isSafeValue, isToken } from '#sip/fields.js';
import { optionTags, splitList } from '#sip/lists.js';
import type { HeaderField, Headers } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';

/** Kinds of message, as bits. */
export const INVITE = 1;
export const PROGRESS = 2;
export const ANSWER = 4;
export const REJECT = 8;
export const CANCEL = 16;
export const BYE = 32;
export const ACK = 64;
/** Requests inside the dialog, early or confirmed: re-INVITE, UPDATE, INFO, MESSAGE, OPTIONS, PRACK. */
export const REQUEST = 128;
/** Answers to those. */
export const RESPONSE = 256;
/** An agent's INVITE on its way to a provider; `INVITE` is the other way. */
export const ORIGINATE = 512;
/** Only along with a body. */
const WITH_BODY = 1024;

const RESPONSES = PROGRESS | ANSWER | REJECT | RESPONSE;
const REQUESTS = INVITE | ORIGINATE | CANCEL | BYE | ACK | REQUEST;
const ALL = REQUESTS | RESPONSES;
const SETUP = INVITE | ORIGINATE | PROGRESS | ANSWER;

interface Row {
  readonly names: readonly string[];
  readonly on: number;
  readonly why: string;
}

export const HEADER_POLICY: readonly Row[] = [
  {
    names: [
      'content-type',
      'content-disposition',
      'content-encoding',
      'content-language',
      'content-id',
      'mime-version',
    ],
    on: ALL | WITH_BODY,
    why: 'the body crosses untouched, so what describes it does too',
  },
  {
    names: ['p-asserted-identity', 'privacy', 'remote-party-id'],
    on: INVITE | PROGRESS | ANSWER | REQUEST | RESPONSE,
    why: 'who calls, and what may be shown (RFC 3325, RFC 3323); towards a provider the trunk says it, not the agent',
  },
  {
    names: ['identity', 'p-called-party-id', 'diversion', 'history-info'],
    on: INVITE,
    why: 'how the call came here (RFC 8224, RFC 7315, RFC 5806, RFC 7044); an agent cannot vouch for it',
  },
  {
    names: ['x-dest-user'],
    on: ALL & ~ORIGINATE,
    why: 'whom the other side means; towards a provider routing writes it, once it is checked',
  },
  {
    names: ['user-to-user'],
    on: INVITE | ORIGINATE | PROGRESS | ANSWER | REJECT | BYE,
    why: 'the applications at the ends own it (RFC 7433)',
  },
  { names: ['session-id'], on: ALL, why: 'made to cross B2BUAs, it names no hop (RFC 7989)' },
  {
    names: [
      'subject',
      'priority',
      'organization',
      'geolocation',
      'geolocation-routing',
      'answer-mode',
      'expires',
      'resource-priority',
    ],
    on: INVITE | ORIGINATE,
    why: 'the caller speaks to the callee',
  },
  {
    names: ['call-info', 'alert-info', 'p-early-media'],
    on: SETUP,
    why: 'about the call, for the other end',
  },
  {
    names: [
      'accept',
      'accept-encoding',
      'accept-language',
      'allow-events',
      'accept-resource-priority',
      'recv-info',
    ],
    on: INVITE | ORIGINATE | PROGRESS | ANSWER | REJECT | REQUEST | RESPONSE,
    why: 'what the other end can take; it decides, not the gateway',
  },
  { names: ['info-package', 'event'], on: REQUEST, why: 'what an INFO is about (RFC 6086)' },
  {
    names: ['session-expires', 'min-se'],
    on: INVITE | ORIGINATE | ANSWER | REJECT | REQUEST | RESPONSE,
    why: 'session timers run end to end (RFC 4028)',
  },
  {
    names: ['reason'],
    on: CANCEL | BYE | PROGRESS | REJECT | REQUEST,
    why: 'why the call ends (RFC 3326, RFC 6432)',
  },
  {
    names: ['warning', 'retry-after', 'unsupported', 'error-info'],
    on: REJECT | RESPONSE,
    why: 'why it was refused and what would do',
  },
  {
    names: ['supported', 'require', 'allow'],
    on: 0,
    why: 'rewritten, not relayed: only what works through the gateway is offered on (see supportedFor, requireFor, allowFor)',
  },
  {
    names: ['replaces', 'join', 'refer-to', 'referred-by', 'target-dialog', 'in-reply-to'],
    on: 0,
    why: 'name dialogs or calls of one side, which the other does not have',
  },
  {
    names: [
      'authorization',
      'proxy-authorization',
      'www-authenticate',
      'proxy-authenticate',
      'authentication-info',
      'proxy-authentication-info',
    ],
    on: 0,
    why: 'credentials are between two neighbours',
  },
  {
    names: [
      'via',
      'from',
      'to',
      'contact',
      'call-id',
      'cseq',
      'max-forwards',
      'route',
      'record-route',
      'path',
      'service-route',
      'rseq',
      'rack',
      'content-length',
      'proxy-require',
      'timestamp',
      'user-agent',
      'server',
      'date',
    ],
    on: 0,
    why: 'each leg has its own; they would show the topology',
  },
  {
    names: [
      'p-access-network-info',
      'p-charging-vector',
      'p-charging-function-addresses',
      'p-visited-network-id',
      'p-preferred-identity',
      'accept-contact',
      'reject-contact',
      'request-disposition',
    ],
    on: 0,
    why: 'meant for the network that the call came from',
  },
];

const INTERNAL_PREFIX = 'x-trunkline-';

const POLICY: ReadonlyMap<string, number> = new Map(
  HEADER_POLICY.flatMap((row) => row.names.map((name): [string, number] => [name, row.on])),
);

/** The bits of a header field by its canonical key. */
function policyOf(key: string): number {
  const on = POLICY.get(key);
  if (on !== undefined) return on;
  // "x-"
  return key.charCodeAt(0) === 0x78 && key.charCodeAt(1) === 0x2d && !key.startsWith(INTERNAL_PREFIX)
    ? ALL
    : 0;
}

/**
 * Names that a trunk adds to the table for its INVITEs (`relayHeaders`). Names which the table decides, and our
 * own, cannot be added.
 */
export class ExtraHeaders {
  readonly #exact = new Set<string>();
  readonly #prefixes: string[] = [];

  constructor(patterns: readonly string[]) {
    for (const pattern of patterns) {
      const key = pattern.toLowerCase();
      if (key.endsWith('*')) this.#prefixes.push(key.slice(0, -1));
      else this.#exact.add(key);
    }
  }

  covers(key: string): boolean {
    if (POLICY.has(key) || key.startsWith(INTERNAL_PREFIX)) return false;
    return this.#exact.has(key) || this.#prefixes.some((prefix) => key.startsWith(prefix));
  }
}

/**
 * One pass over a message's header fields. The visitor is made once, not per message: selections never nest,
 * because `Headers.forEach` calls nothing else.
 */
let wanted = 0;
let body = false;
let extra: ExtraHeaders | null = null;
let taken: ReadonlySet<string> | null = null;
let selected: HeaderField[] = [];

const visit = (key: string, name: string, value: Octets): void => {
  const on = policyOf(key);
  if ((on & wanted) === 0) {
    if (extra === null || !extra.covers(key)) return;
  } else if ((on & WITH_BODY) !== 0 && !body) return;
  if (taken?.has(key)) return;
  // A value may hold a bare CR or NUL that the parser let pass; such a field stays here.
  if (isSafeValue(value) && isToken(name)) selected.push({ name, value });
};

/**
 * The fields of a message that cross as part of a message of kind `kind`, appended to `out`, which is returned.
 * `except`: canonical keys to leave out, because the gateway sets them itself.
 */
export function relayed(
  message: { readonly headers: Headers; readonly body: Octets },
  kind: number,
  out: HeaderField[],
  more: ExtraHeaders | null = null,
  except: ReadonlySet<string> | null = null,
): HeaderField[] {
  wanted = kind;
  body = message.body !== '';
  extra = more;
  taken = except;
  selected = out;
  message.headers.forEach(visit);
  return out;
}

/** Methods that cross inside a dialog. */
export const RELAYED_METHODS: ReadonlySet<string> = new Set([
  'INVITE',
  'UPDATE',
  'INFO',
  'MESSAGE',
  'OPTIONS',
]);

/** What every leg takes, whoever is behind it. */
const BASE_METHODS = 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK';
const OPTIONAL_METHODS: readonly string[] = ['UPDATE', 'INFO', 'MESSAGE'];

/** Extensions that work between the two ends with this gateway in the middle. */
const END_TO_END_EXTENSIONS: ReadonlySet<string> = new Set([
  'timer',
  'histinfo',
  '199',
  'answermode',
  'recipient-list-invite',
  'resource-priority',
  'uui',
  'geolocation-http',
  'geolocation-sip',
]);

/** Extensions that a caller may require: those, and 100rel, which each leg does by itself. */
export const UNDERSTOOD_EXTENSIONS: ReadonlySet<string> = new Set(['100rel', ...END_TO_END_EXTENSIONS]);

/** Peers say the same few things over and over: what they amount to is worked out once. */
const MEMO_LIMIT = 256;

function remember(memo: Map<Octets, Octets>, key: Octets, value: Octets): Octets {
  if (memo.size >= MEMO_LIMIT) memo.clear();
  memo.set(key, value);
  return value;
}

const allowMemo = new Map<Octets, Octets>();

/**
 * Allow for the other side: what the gateway takes itself, and of the rest what this peer takes.
 * @param refers the other side is an agent, and may ask for transfers
 */
export function allowFor(headers: Headers, refers: boolean): Octets {
  const allow = relayedMethods(headers);
  return refers ? `${allow}, REFER` : allow;
}

function relayedMethods(headers: Headers): Octets {
  const field = headers.get('allow');
  if (field === undefined) return BASE_METHODS;
  const given = headers.count('allow') > 1 ? headers.all('allow').join(',') : field;
  const known = allowMemo.get(given);
  if (known !== undefined) return known;
  const methods = new Set(splitList(given).map((method) => method.trim()));
  let allow: Octets = BASE_METHODS;
  for (const method of OPTIONAL_METHODS) if (methods.has(method)) allow += `, ${method}`;
  return remember(allowMemo, given, allow);
}

const supportedMemo = new Map<Octets, Octets>();

/** Supported for the other side, '' for none. 100rel is the business of each leg, so `reliable` says it. */
export function supportedFor(headers: Headers, reliable: boolean): Octets {
  const field = headers.get('supported');
  if (field === undefined || field === '') return reliable ? '100rel' : '';
  const given = headers.count('supported') > 1 ? headers.all('supported').join(',') : field;
  const key = reliable ? `\n${given}` : given;
  const known = supportedMemo.get(key);
  if (known !== undefined) return known;
  const tags = optionTags([given]).filter((tag) => END_TO_END_EXTENSIONS.has(tag));
  if (reliable) tags.unshift('100rel');
  return remember(supportedMemo, key, tags.join(', '));
}

/** Require for the other side: extensions that the ends must agree on; '' for none. 100rel ends at each leg. */
export function requireFor(headers: Headers): Octets {
  if (!headers.has('require')) return '';
  return optionTags(headers.all('require'))
    .filter((tag) => END_TO_END_EXTENSIONS.has(tag))
    .join(', ');
}
