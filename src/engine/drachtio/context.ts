/** What every part of this engine shares. */
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { parseMessage } from '#sip/parse.js';
import type { EngineNotice, Source } from '../engine.js';
import type { EngineFault } from '../faults.js';
import type { Endpoints, ServerListener } from './endpoints.js';
import type { Refusal } from './link.js';
import type { WireRequest, WireResponse } from './wire.js';

/** What holds dialogs under one of our tags: a pending INVITE in either direction, or a confirmed dialog. */
export interface Tenant {
  /** null: nothing has been sent yet, so no server holds anything of it. */
  readonly via: ServerListener | null;
  /** What its server goes on holding when the connection is lost; absent: nothing that could be ended. */
  readonly estate?: Estate | undefined;
  /** A request with our tag in To. */
  onRequest(request: SipRequest, wire: WireRequest, source: Source): void;
  onAck(ack: SipRequest, source: Source): void;
  /** The server ended the dialog by itself and has sent BYE. */
  onServerBye(): void;
  /** The connection to the server is gone: nothing can be sent any more. */
  lost(detail: string): void;
  /** The engine stops: end it on the wire and tell its user. */
  shutDown(detail: string): void;
}

/** What a server holds of a tenant, under the server's own names, which outlive the connection. */
export type Estate =
  | { readonly kind: 'dialog'; readonly dialogId: string }
  /** An INVITE from the network without a final answer. */
  | { readonly kind: 'incoming'; readonly transactionId: string }
  /** An INVITE of ours without a final answer; the dialog is there if its 2xx came meanwhile. */
  | { readonly kind: 'outgoing'; readonly transactionId: string; readonly dialogId: string };

/** The server names a dialog by its INVITE (or SUBSCRIBE): Call-ID and From tag. */
export function dialogIdOf(callId: Octets, fromTag: string): string {
  return `${callId};from-tag=${fromTag}`;
}

export interface DrachtioContext {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly t1: number;
  readonly endpoints: Endpoints;
  /** By our own tag. */
  readonly tenants: Map<string, Tenant>;
  /** Requests from the network outside a dialog without a final answer, by `mergeKey`. */
  readonly merging: Set<string>;
  readonly limits: { readonly dialogs: number; readonly transactions: number };
  /** Requests in either direction that have no final answer. */
  pending: number;
  notice(notice: EngineNotice): void;
}

const TAG_BITS = 60;
const CALL_ID_BITS = 100;
export const DEFAULT_MAX_FORWARDS = 70;

/** The bound that is met, if one is. */
export function reachedLimit(context: DrachtioContext): 'dialogs' | 'transactions' | undefined {
  if (context.tenants.size >= context.limits.dialogs) return 'dialogs';
  if (context.pending >= context.limits.transactions) return 'transactions';
  return undefined;
}

/** §8.2.2.2: From tag, Call-ID and CSeq of a request that came by two ways are the same. */
export function mergeKey({ from, callId, cseq }: SipRequest): string {
  return `${from.tag ?? ''} ${cseq.number} ${cseq.method} ${callId}`;
}

export function newTag(context: DrachtioContext): string {
  return context.ids.token(TAG_BITS);
}

export function newCallId(context: DrachtioContext): string {
  return context.ids.token(CALL_ID_BITS);
}

/** Ours, since the server would put `sips:` into every Contact over TLS; §8.1.1.8 wants it for a sips URI only. */
export function contactField(via: ServerListener, secure: boolean, user?: Octets): HeaderField {
  const host = user === undefined || user === '' ? via.sentBy : `${user}@${via.sentBy}`;
  const { transport } = via.listener;
  if (secure) return { name: 'Contact', value: `<sips:${host}>` };
  const value = transport === 'udp' ? `<sip:${host}>` : `<sip:${host};transport=${transport}>`;
  return { name: 'Contact', value };
}

/** Methods whose requests and 2xx carry our Contact (§12.2.1.1, RFC 3311 §5.1, RFC 6665). */
export function carriesContact(method: string): boolean {
  return method === 'INVITE' || method === 'UPDATE' || method === 'NOTIFY' || method === 'REFER';
}

/** Undefined for what is no sound response. */
export function readResponse(wire: WireResponse): SipResponse | undefined {
  const message = parseMessage(wire.octets);
  return message.kind === 'response' ? message : undefined;
}

/** Undefined for what is no sound request. */
export function readRequest(octets: Octets): SipRequest | undefined {
  const message = parseMessage(octets);
  return message.kind === 'request' ? message : undefined;
}

/**
 * A final answer that the server made up has no source address. 408 is its timer B or F; 503 stands for a refused
 * or unreachable peer, for a name that it could not resolve and for a connection that broke, and says no more.
 */
export function inventedFault(wire: WireResponse, heard: boolean): EngineFault | undefined {
  if (wire.source.address !== '') return undefined;
  const detail = `drachtio-server: ${wire.status} of its own`;
  if (wire.status === 408) return { kind: 'timeout', heard, detail };
  if (heard) return { kind: 'flow-lost', detail };
  return { kind: 'unreachable', detail };
}

/** Why a request was not sent, from the words of the server. */
export function refusalFault(reason: string): EngineFault {
  if (reason === 'down') return { kind: 'engine-down', detail: 'the connection to drachtio-server was lost' };
  if (/destroyed|closed|not available in any/.test(reason)) return { kind: 'engine-down', detail: reason };
  if (/unable to find dialog|unable to find active leg/.test(reason)) {
    return { kind: 'flow-lost', detail: 'drachtio-server does not know the dialog' };
  }
  if (/transport not available|to myself|unable to find route/.test(reason)) {
    return { kind: 'unreachable', detail: `drachtio-server: ${reason}`.slice(0, 200) };
  }
  return { kind: 'capacity', detail: `drachtio-server did not send it: ${reason}`.slice(0, 200) };
}

/** What it means to who sends that the connection to drachtio-server does not take a message. */
export function linkFault(refusal: Refusal): EngineFault {
  switch (refusal) {
    case 'down':
      return { kind: 'engine-down', detail: 'drachtio-server is not connected' };
    case 'too-large':
      return { kind: 'capacity', detail: 'larger than the connection to drachtio-server can take' };
    case 'full':
      return { kind: 'capacity', detail: 'too much waits for drachtio-server' };
  }
}

/** An integer from `from` to `to`, both included. */
export function isStatus(status: number, from: number, to: number): boolean {
  return Number.isInteger(status) && status >= from && status <= to;
}

export function ignore(): void {}
