/**
 * What the four machines of RFC 3261 §17 share, and what they ask of the layer that holds them. A machine is its
 * own timer: of its several RFC timers it arms the one that is due next, so a transaction is one object.
 */
import { type Clock, Timer } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import type { SipTimers } from '#sip/timers.js';
import type { Source, Target } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { SendOwner, Transports } from '../transport/transport.js';
import {
  fittingResponse,
  type ResponseFrame,
  responseFrame,
  responseOctets,
  type StatelessTags,
} from './response.js';
import type { ServerTransaction, ServerUser } from './transaction.js';

export interface MachineHost {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly timers: SipTimers;
  readonly transports: Transports;
  readonly statelessTags: StatelessTags;
  adoptClient(machine: ClientMachine): void;
  dropClient(machine: ClientMachine): void;
  dropServer(machine: ServerMachine): void;
  /** A request with this machine's `mergeKey` may be taken again. */
  dropMerge(machine: ServerMachine): void;
  /** The peer refused the stream that a long request was sent over: take UDP for a while. */
  avoidStream(target: Target): void;
}

export abstract class ClientMachine extends Timer implements SendOwner {
  /** Place in the client table (§17.1.3). */
  readonly key: string;
  readonly method: string;

  constructor(key: string, method: string) {
    super();
    this.key = key;
    this.method = method;
  }

  abstract receive(response: SipResponse, source: Source): void;
  abstract sendFailed(fault: EngineFault): void;
  /** Ends at once; the user hears of `fault` unless it has a final response. */
  abstract abandon(fault: EngineFault): void;
}

/** 40 bits, as a tag that may come to name a dialog (§19.3: at least 32). */
const TAG_BITS = 40;

export abstract class ServerMachine extends Timer implements ServerTransaction {
  /** Place in the server table (§17.2.3), and in the table of merged requests ('': not there). */
  readonly key: string;
  readonly mergeKey: string;
  readonly source: Source;
  standing: 'known' | 'stranger';
  user: ServerUser | null = null;
  answered = false;

  /**
   * Where answers go if not back over their own connection; `Transports.reply` reads them. §18.2.2 wants the
   * `received` address with the port of sent-by: since `received` is set from the socket, that is the source
   * address. The host in sent-by is never sent to.
   */
  readonly host: string;
  readonly port: number | undefined;
  readonly rport: boolean;

  protected readonly owner: MachineHost;
  protected readonly reliable: boolean;
  /** Octets that the request had: what a stranger may get back. */
  readonly #requestBytes: number;
  #request: SipRequest | undefined;
  #frame: ResponseFrame | undefined;
  #tag: string | undefined;

  constructor(
    owner: MachineHost,
    key: string,
    mergeKey: string,
    request: SipRequest,
    source: Source,
    standing: 'known' | 'stranger',
    bytes: number,
  ) {
    super();
    this.owner = owner;
    this.key = key;
    this.mergeKey = mergeKey;
    this.source = source;
    this.standing = standing;
    this.reliable = source.transport !== 'udp';
    this.host = source.address;
    this.port = request.topVia.port;
    this.rport = request.topVia.rport !== undefined;
    this.#requestBytes = bytes;
    this.#request = request;
  }

  /** The interface says when it is gone; a user that looks later than that sees undefined. */
  get request(): SipRequest {
    return this.#request as SipRequest;
  }

  get localTag(): string {
    this.#tag ??= this.#request === undefined ? '' : this.#ownTag(this.#request);
    return this.#tag;
  }

  abstract respond(
    status: number,
    reason: string,
    lines: Octets,
    body: Octets,
    toTag?: string,
    fewer?: Octets,
  ): Octets;
  abstract resend(octets: Octets): void;
  /** The request came again. */
  abstract repeated(): void;
  /** Ends at once, without sending; the user hears of it unless the request was answered. */
  abstract abandon(detail: string): void;

  /** Forgets the request and what responses are built from; the transaction itself waits on. */
  protected letGo(): void {
    this.#tag ??= this.#request === undefined ? '' : this.#ownTag(this.#request);
    this.#request = undefined;
    this.#frame = undefined;
  }

  #ownTag(request: SipRequest): string {
    const tag = request.to.tag;
    if (tag !== undefined) return tag;
    return this.standing === 'stranger'
      ? this.owner.statelessTags.tagFor(request.topVia.raw, request.callId)
      : this.owner.ids.token(TAG_BITS);
  }

  protected build(
    status: number,
    reason: string,
    lines: Octets,
    body: Octets,
    toTag: string | undefined,
  ): Octets {
    const frame = this.#frameOf();
    return frame === undefined
      ? ''
      : responseOctets(
          frame,
          status,
          reason || reasonPhrase(status),
          this.#addedTag(status, toTag),
          lines,
          body,
        );
  }

  /** For a stranger: over UDP not longer than the request was, or ''. A stream's other end is who it says. */
  protected buildFitting(
    status: number,
    reason: string,
    lines: Octets,
    body: Octets,
    toTag?: string,
    fewer: Octets = '',
  ): Octets {
    const frame = this.#frameOf();
    return frame === undefined
      ? ''
      : fittingResponse(
          frame,
          status,
          reason || reasonPhrase(status),
          this.#addedTag(status, toTag),
          lines,
          body,
          this.reliable ? Number.POSITIVE_INFINITY : this.#requestBytes,
          fewer,
        );
  }

  protected timestampLine(delayMs: number): Octets {
    // §8.2.6.1: "any Timestamp header field present in the request MUST be copied into this 100 (Trying)
    // response. If there is a delay in generating the response, the UAS SHOULD add a delay value".
    const stamp = this.#request?.headers.get('timestamp');
    if (stamp === undefined || !TIMESTAMP.test(stamp)) return '';
    return delayMs === 0 ? `Timestamp: ${stamp}\r\n` : `Timestamp: ${stamp} ${delayMs / 1000}\r\n`;
  }

  protected reply(octets: Octets): void {
    if (octets !== '') this.owner.transports.reply(this.source, this, octets);
  }

  #frameOf(): ResponseFrame | undefined {
    if (this.#frame === undefined && this.#request !== undefined) {
      this.#frame = responseFrame(this.#request.headers, this.#request.topVia, this.source);
    }
    return this.#frame;
  }

  /** §8.2.6.2: a To tag of the request is kept; else one is added, to a 100 none. */
  #addedTag(status: number, toTag: string | undefined): string {
    if (status === 100 || this.#request?.to.tag !== undefined) return '';
    return toTag ?? this.localTag;
  }
}

/** Without a delay of its own: `1*(DIGIT) [ "." *(DIGIT) ]`. */
const TIMESTAMP = /^\d{1,20}(?:\.\d{0,20})?$/;

/** Of what the user says, what may go out as a status. */
export function isStatus(status: number): boolean {
  return Number.isInteger(status) && status >= 100 && status <= 699;
}

/** A timer fires when it is due or up to a tick later; less than this before its due time is rounding. */
const ROUNDING_MS = 0.5;

/** The time has come, but for what timers are rounded by. */
export function isDue(deadline: number, now: number): boolean {
  return deadline - now < ROUNDING_MS;
}
