/** What every part of the dialog layer shares. */
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { headerLine, headerLines, isSafeValue } from '#sip/fields.js';
import { hasOptionTag } from '#sip/lists.js';
import type { HeaderField, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { SipTimers } from '#sip/timers.js';
import type { EngineNotice, Listener } from '../../engine.js';
import type { Limits } from '../limits.js';
import type { TransactionLayer } from '../transaction/transaction.js';
import type { Transports } from '../transport/transport.js';
import type { DialogTable } from './table.js';

export interface DialogContext {
  readonly transports: Transports;
  readonly transactions: TransactionLayer;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly timers: SipTimers;
  readonly limits: Limits;
  readonly dialogs: DialogTable;
  notice(notice: EngineNotice): void;
}

const MAX_FORWARDS = 70;
/** 60 bits: no two dialogs of a process share a tag, and no stranger guesses one (§19.3 asks for 32). */
const TAG_BITS = 60;
const CALL_ID_BITS = 100;

export const DEFAULT_MAX_FORWARDS = MAX_FORWARDS;

export function newTag(context: DialogContext): string {
  return context.ids.token(TAG_BITS);
}

export function newCallId(context: DialogContext): string {
  return context.ids.token(CALL_ID_BITS);
}

/** `Contact: <sip:user@host:port;transport=tcp>\r\n`; a sips Request-URI demands a sips Contact (§8.1.1.8). */
export function contactLine(
  sentBy: string,
  transport: Listener['transport'],
  secure: boolean,
  user?: Octets,
): Octets {
  if (user !== undefined && !isSafeValue(user))
    throw new RangeError('A Contact user holds a control character');
  const host = user === undefined || user === '' ? sentBy : `${user}@${sentBy}`;
  if (secure) return `Contact: <sips:${host}>\r\n`;
  return transport === 'udp'
    ? `Contact: <sip:${host}>\r\n`
    : `Contact: <sip:${host};transport=${transport}>\r\n`;
}

/** Header lines of our user, checked: what the wire must not carry is a RangeError here. */
export function linesOf(fields: readonly HeaderField[] | undefined): Octets {
  return fields === undefined || fields.length === 0 ? '' : headerLines(fields);
}

/** Route lines of a route set given by our user, checked likewise. */
export function routeLinesOf(route: readonly Octets[] | undefined): Octets {
  let lines = '';
  if (route !== undefined) for (const value of route) lines += headerLine('Route', value);
  return lines;
}

/** A provisional response that wants a PRACK (RFC 3262 §4). */
export function demandsReliable(response: SipResponse): boolean {
  return hasOptionTag(response, 'require', '100rel');
}

/** The number of an RSeq or the like; undefined when it is not 0 to 2^32 − 1. */
export function sequenceNumber(value: Octets | undefined): number | undefined {
  if (value === undefined || !/^\d{1,10}$/.test(value)) return undefined;
  const number = Number(value);
  return number <= 0xffffffff ? number : undefined;
}
