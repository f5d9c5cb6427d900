/**
 * THE PORT. What the gateway asks of a SIP engine, at the height of legs and dialogs. Two engines serve it
 * (`embedded`, `drachtio`); the rooms above know only this file and `faults.ts`.
 *
 * What an engine owns: transports, transactions and their retransmissions, Via, branches, tags, Call-ID, CSeq,
 * Contact, Route sets, Max-Forwards on the wire, Content-Length, RSeq/RAck. What it leaves to its user: which
 * target to try, digest, hunting, pacing, the meaning of a response.
 *
 * Callbacks run synchronously from the engine's event handling and must not throw. An engine never calls back
 * from inside the call that started the operation. After a final callback (`onAnswer`, `onReject`, `onFault`,
 * `onEnded`, `onCancel`) no other callback of the same object follows, except where the text says so.
 */
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { EngineFault } from './faults.js';

export type TransportName = 'udp' | 'tcp' | 'tls';

/** One socket that the engine listens on. */
export interface Listener {
  /** Stable name for logs and metrics, `udp:127.0.0.1:5060`. */
  readonly id: string;
  readonly transport: TransportName;
  readonly host: string;
  /** The port really bound, also when 0 was asked for. */
  readonly port: number;
  /** `host:port` that Via and Contact announce for it; IPv6 in brackets. Default: host and port as bound. */
  readonly sentBy?: string | undefined;
}

/** Where a message came from, as seen on the socket and never as claimed in the message. */
export interface Source {
  readonly transport: TransportName;
  /** IP literal without brackets; an IPv4-mapped IPv6 address is given as IPv4. */
  readonly address: string;
  readonly port: number;
  readonly listener: Listener;
  /** The connection for TCP and TLS, 0 for UDP. Sending to a target with this flow uses the same connection. */
  readonly flow: number;
}

/** What TLS to a target must check; absent fields take the engine's defaults. */
export interface TlsOptions {
  /** Name for SNI and for the certificate check (RFC 5922 §4). Default: the target's `name`. */
  readonly serverName?: string | undefined;
  /** Default true. False accepts any certificate and says so once in the log. */
  readonly verify?: boolean | undefined;
  /** PEM; replaces the system's roots. */
  readonly ca?: string | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
}

/** One next hop: an address, never a name to resolve. */
export interface Target {
  readonly transport: TransportName;
  readonly address: string;
  readonly port: number;
  /** The host name that was resolved to this address: SNI, certificate check, reports. */
  readonly name?: string | undefined;
  readonly tls?: TlsOptions | undefined;
  /** Prefer this connection while it lives (see `Source.flow`). */
  readonly flow?: number | undefined;
  /** Send from this listener (`Listener.id`); default: the first that fits transport and family. */
  readonly listenerId?: string | undefined;
}

export interface Engine {
  /** Binds every listener or rejects with an Error that names the listener and binds none. */
  start(handlers: EngineHandlers): Promise<void>;
  /**
   * Stops taking new work at once (INVITE: 503 with Retry-After), waits up to `deadlineMs` for dialogs and
   * transactions to finish, ends what is left with BYE or CANCEL and closes every socket.
   */
  stop(deadlineMs: number): Promise<void>;
  /** Refuses new INVITEs with 503, which nobody hears of, while dialogs go on; `stop` begins with it. */
  drain(): void;
  health(): EngineHealth;
  readonly listeners: readonly Listener[];
  /**
   * Where a request to this target leaves from, for whoever announces an address of ours (the Contact of REGISTER).
   * Over TCP and TLS it may be one that takes no connections and is not among `listeners`. Undefined: there is no way.
   */
  leavesFrom(target: Target): Listener | undefined;
  /** Sends an INVITE outside a dialog. Exactly one of `onAnswer`, `onReject`, `onFault` ends it. */
  invite(options: OutgoingInviteOptions, events: OutgoingInviteEvents): OutgoingInvite;
  /** Sends a request other than INVITE outside a dialog; `done` is called exactly once. */
  request(options: OutgoingRequestOptions, done: (outcome: RequestOutcome) => void): void;
  /**
   * Sends a CRLF keep-alive (RFC 5626 §3.5.1) to the target, over a stream only on the flow that it names and while
   * that lives. Absent: the engine keeps flows alive by itself, or not at all.
   */
  keepAlive?(target: Target): void;
  /**
   * Closes a connection that is known to be dead although its socket does not say so; `connection-closed` follows.
   * Absent: the engine finds out by itself.
   */
  closeFlow?(flow: number, reason: string): void;
  /**
   * Looks whether this machine has another address now than the one that listeners on all addresses announce; true:
   * requests from now on name the new one, in Via and Contact. Absent: what is announced never changes.
   */
  refreshAddresses?(): boolean;
  /**
   * Makes room for a dialog that SUBSCRIBE and NOTIFY will make (RFC 6665 §4.1); sends nothing yet. Absent: this
   * engine holds no subscriptions.
   */
  subscribe?(options: SubscriptionOptions, events: SubscriptionEvents): Subscription;
}

export interface EngineHealth {
  /** Listeners bound and, for drachtio, the server connected. */
  readonly ready: boolean;
  readonly detail: string;
  readonly gauges: EngineGauges;
}

/**
 * Hears of every message that crosses the wire, as it is there: incoming ones that were not dropped unread, outgoing
 * ones as they are handed to the system, repeated ones again. On the hot path; it must not throw.
 */
export interface WireTap {
  message(
    direction: 'in' | 'out',
    octets: Octets,
    listener: Listener,
    /** Of the peer. */
    address: string,
    port: number,
    standing: 'known' | 'stranger',
  ): void;
}

/** What the engine holds now; all are 0 in an idle engine without connections. */
export interface EngineGauges {
  readonly transactions: number;
  readonly dialogs: number;
  readonly connections: number;
  readonly timers: number;
}

export interface EngineHandlers {
  /**
   * Called for every message before it is parsed, so that a stranger costs little. `drop`: not parsed, not
   * answered. `stranger`: parsed, but answered statelessly (RFC 3261 §8.2.7), without 100 Trying and without
   * retransmission, and over UDP, where its address may be forged, never with more bytes than came in; `progress` or
   * `accept` make it a known one.
   */
  screen(source: Source): 'known' | 'stranger' | 'drop';
  /** An INVITE outside a dialog. 100 Trying is the engine's affair. It must get a final answer. */
  onInvite(invite: IncomingInvite): void;
  /** Any other request outside a dialog (OPTIONS, REGISTER, MESSAGE, NOTIFY…), answered by `respond`. */
  onRequest(request: IncomingRequest): void;
  /** Something went wrong or a bound was met; for counters and logs. */
  onNotice(notice: EngineNotice): void;
}

export type EngineNotice =
  /** The engine answered or dropped something by itself; `status` 0 means silence. `malformed`: it was no valid SIP. */
  | {
      readonly kind: 'rejected';
      readonly status: number;
      readonly reason: string;
      readonly source: Source;
      readonly malformed?: boolean;
    }
  /** A bound was met. */
  | { readonly kind: 'limit'; readonly limit: string; readonly source?: Source }
  | { readonly kind: 'tls-failure'; readonly detail: string; readonly address: string }
  | {
      readonly kind: 'connection-closed';
      readonly flow: number;
      readonly reason: string;
      readonly address: string;
    }
  /**
   * Of an engine that works through a server: the connection to it, after `up` and `down` and each time that it could
   * not be made. With `down` the calls of that server have ended.
   */
  | {
      readonly kind: 'server';
      readonly state: 'up' | 'down' | 'awaited';
      readonly server: string;
      readonly detail: string;
    };

export interface IncomingRequest {
  readonly request: SipRequest;
  readonly source: Source;
  /** Sends the final answer; a second call is ignored. The engine adds Via, From, To with tag, Call-ID, CSeq. */
  respond(status: number, reason: string, headers?: readonly HeaderField[], body?: Octets): void;
}

/** A header field of a refusal. */
export interface RefusalField extends HeaderField {
  /** Where the answer to a stranger would be too long, this one is left out before anything else is. */
  readonly ifRoom?: boolean | undefined;
}

export interface IncomingInvite {
  readonly request: SipRequest;
  readonly source: Source;
  /** Set by the user as soon as `onInvite` is entered. */
  events: IncomingInviteEvents;
  /** The caller's `Supported` or `Require` names 100rel, so `reliable` is possible. */
  readonly supportsReliable: boolean;
  /** `Require: 100rel`: the caller demands reliable provisional responses. */
  readonly requiresReliable: boolean;
  /** 101 to 199. */
  progress(response: ProgressOptions): void;
  /** Sends the 2xx and makes the dialog. It is retransmitted until its ACK, and ended with BYE when none comes. */
  accept(response: AcceptOptions, events: DialogEvents): Dialog;
  /** 300 to 699. Ignored after a final answer. */
  reject(status: number, reason: string, headers?: readonly RefusalField[], body?: Octets): void;
  /** Sends UPDATE (or another request) to the caller in its early dialog; only after a reliable provisional response. */
  earlyRequest(
    early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void;
}

export interface ProgressOptions {
  readonly status: number;
  readonly reason: string;
  readonly headers?: readonly HeaderField[] | undefined;
  readonly body?: Octets | undefined;
  /** Send it reliably (RFC 3262): RSeq, Require: 100rel, retransmitted until PRACK. Ignored for a caller without 100rel. */
  readonly reliable?: boolean | undefined;
  /** Which early dialog this belongs to when the callee's side forks: each number has its own To tag. Default 0. */
  readonly early?: number | undefined;
}

export interface AcceptOptions {
  readonly status?: number | undefined;
  readonly reason?: string | undefined;
  readonly headers?: readonly HeaderField[] | undefined;
  readonly body?: Octets | undefined;
  readonly early?: number | undefined;
}

export interface IncomingInviteEvents {
  /**
   * The caller gave up: CANCEL (answered, and the INVITE with 487, by the engine), or its connection or the
   * transaction died. Nothing more can be sent on this INVITE.
   */
  onCancel(
    cause:
      | { readonly kind: 'cancel'; readonly request: SipRequest }
      | { readonly kind: 'lost'; readonly detail: string },
  ): void;
  /** PRACK of a reliable response sent with `early`; answered 200 by the engine unless it carries an offer. */
  onPrack?(prack: SipRequest, early: number): void;
  /** A reliable provisional response was never acknowledged (RFC 3262 §3): the INVITE should be rejected with 504. */
  onPrackTimeout?(early: number): void;
  /** UPDATE, INFO, PRACK with an offer… in the early dialog. Without this handler the engine answers 501 (PRACK: 488). */
  onRequest?(request: InDialogRequest, early: number): void;
}

export interface OutgoingInviteOptions {
  /** Request-URI. */
  readonly uri: Octets;
  readonly target: Target;
  /** name-addr without tag, `"Name" <sip:user@host>`. */
  readonly from: Octets;
  readonly to: Octets;
  /** User part of our Contact; default none. */
  readonly contactUser?: Octets | undefined;
  /** Given only to repeat a challenged request (RFC 3261 §22.2: same Call-ID and From tag, CSeq + 1). */
  readonly repeat?: { readonly callId: Octets; readonly fromTag: string; readonly cseq: number } | undefined;
  /** Route set to send with, as URIs in angle brackets. Default none. */
  readonly route?: readonly Octets[] | undefined;
  /** Put on the wire as given. Default 70. */
  readonly maxForwards?: number | undefined;
  /** Anything that the engine does not own. Supported and Allow are the user's. */
  readonly headers: readonly HeaderField[];
  readonly body?: Octets | undefined;
  /** Milliseconds without any final answer after which the engine cancels and reports `timeout`. Default 180,000. */
  readonly timeoutMs?: number | undefined;
}

export interface OutgoingInviteEvents {
  /** The request has been written; what to quote when it is repeated with credentials. */
  onSent?(sent: { readonly callId: Octets; readonly fromTag: string; readonly cseq: number }): void;
  /**
   * 100 to 199. `early` numbers the callee's early dialogs from 0 in order of appearance (−1: no To tag).
   * A reliable response is acknowledged by the engine, except when it carries an offer (an INVITE without
   * body): then `prack` is given and must be called with the answer.
   */
  onProgress(progress: {
    readonly response: SipResponse;
    readonly early: number;
    readonly reliable: boolean;
    readonly prack?:
      | ((
          headers: readonly HeaderField[],
          body: Octets | undefined,
          done?: (outcome: DialogRequestOutcome) => void,
        ) => void)
      | undefined;
  }): void;
  /**
   * The first 2xx. `ack` must be called once; the engine repeats it for retransmitted 2xx. Further 2xx of
   * other forks (up to 16), and a 2xx that crosses a CANCEL, are acknowledged and ended by the engine, unseen.
   */
  onAnswer(answer: {
    readonly response: SipResponse;
    readonly early: number;
    readonly dialog: Dialog;
    ack(headers?: readonly HeaderField[], body?: Octets): void;
  }): void;
  /**
   * The final answer 300 to 699 (already acknowledged). After `cancel` usually 487. `source`: where it came from, for
   * who answers a challenge.
   */
  onReject(response: SipResponse, source: Source): void;
  onFault(fault: EngineFault): void;
  /** UPDATE, INFO… from the callee in the early dialog. Without this handler the engine answers 501. */
  onRequest?(request: InDialogRequest, early: number): void;
}

export interface OutgoingInvite {
  /**
   * Gives up: CANCEL is sent as soon as RFC 3261 §9.1 allows, with these headers (Reason). The operation still
   * ends with `onReject`, or with `onFault`: `timeout` when the callee is silent for 64·T1 after the CANCEL,
   * `cancelled` when its 2xx crossed the CANCEL.
   */
  cancel(headers?: readonly HeaderField[]): void;
  /** Sends a request in the early dialog `early` (UPDATE, INFO…). */
  earlyRequest(
    early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void;
  /** Where events of the dialog go. Must be set by the time `onAnswer` returns. */
  dialogEvents: DialogEvents | undefined;
}

export interface OutgoingRequestOptions {
  readonly method: string;
  readonly uri: Octets;
  readonly target: Target;
  readonly from: Octets;
  readonly to: Octets;
  /** Full Contact value, or absent for none. */
  readonly contact?: Octets | undefined;
  readonly callId?: Octets | undefined;
  readonly fromTag?: string | undefined;
  readonly cseq?: number | undefined;
  readonly route?: readonly Octets[] | undefined;
  readonly maxForwards?: number | undefined;
  readonly headers?: readonly HeaderField[] | undefined;
  readonly body?: Octets | undefined;
}

export type RequestOutcome =
  | { readonly kind: 'response'; readonly response: SipResponse; readonly source: Source }
  | { readonly kind: 'fault'; readonly fault: EngineFault };

export interface SubscriptionOptions {
  /** Request-URI of the first SUBSCRIBE. */
  readonly uri: Octets;
  readonly target: Target;
  /** name-addr without tag. */
  readonly from: Octets;
  readonly to: Octets;
  /** User part of our Contact; default none. */
  readonly contactUser?: Octets | undefined;
  /** Route set of the first SUBSCRIBE, as URIs in angle brackets. Default none. */
  readonly route?: readonly Octets[] | undefined;
}

export interface SubscriptionEvents {
  /**
   * A NOTIFY in the dialog, perhaps before the 2xx to the SUBSCRIBE (RFC 6665 §4.1.2.4). CSeq order is already dealt
   * with, and other forks are answered 481. It must be answered.
   */
  onNotify(notify: IncomingRequest): void;
  /** The dialog cannot be reached any more, its server being away: only another subscription helps. */
  onLost?(detail: string): void;
}

/** The dialog of one subscription. When it lasts and what its NOTIFYs mean is the user's affair. */
export interface Subscription {
  /**
   * Request-URI and next hop of the next SUBSCRIBE: inside the dialog both come from the peer's Contact and route set,
   * so who sends credentials looks first where they would go.
   */
  next(): { readonly uri: Octets; readonly target: Target };
  /**
   * Sends SUBSCRIBE: outside a dialog until the peer has made one, then inside it; always with the same Call-ID and
   * From tag and the next CSeq, so that a challenged one is repeated by sending it again with credentials. Event and
   * Expires are among the headers. `done` is called exactly once.
   */
  send(headers: readonly HeaderField[], done: (outcome: RequestOutcome) => void): void;
  /** Forgets the dialog without a word: later NOTIFYs are answered 481. Idempotent. */
  close(): void;
}

/** A confirmed dialog (RFC 3261 §12), until `onEnded`. */
export interface Dialog {
  readonly callId: Octets;
  readonly localTag: string;
  readonly remoteTag: string;
  /** Where the peer is now: address of the last message from it. */
  readonly remote: { readonly transport: TransportName; readonly address: string; readonly port: number };
  /** re-INVITE, UPDATE, INFO, MESSAGE, OPTIONS, REFER, NOTIFY. `done` is called exactly once. */
  request(options: DialogRequestOptions, done: (outcome: DialogRequestOutcome) => void): PendingRequest;
  /** Sends BYE with these headers (Reason) and forgets the dialog; `onEnded` is not called for it. Idempotent. */
  end(headers?: readonly HeaderField[]): void;
}

export interface DialogRequestOptions {
  readonly method: string;
  readonly headers?: readonly HeaderField[] | undefined;
  readonly body?: Octets | undefined;
  readonly maxForwards?: number | undefined;
  /** 101 to 199 to a re-INVITE. A reliable one has been acknowledged by the engine. */
  readonly onProgress?: ((response: SipResponse) => void) | undefined;
}

/** A request inside a dialog that has no final answer yet. */
export interface PendingRequest {
  /** Sends CANCEL for a re-INVITE (§9.1); does nothing to other requests, which cannot be cancelled. */
  cancel(headers?: readonly HeaderField[]): void;
}

export type DialogRequestOutcome =
  | {
      readonly kind: 'response';
      readonly response: SipResponse;
      /** Present on a 2xx to re-INVITE: must be called once. */
      readonly ack?: ((headers?: readonly HeaderField[], body?: Octets) => void) | undefined;
    }
  | { readonly kind: 'fault'; readonly fault: EngineFault };

export interface DialogEvents {
  /**
   * Any request of the peer in this dialog but BYE, ACK, CANCEL and PRACK. CSeq order, glare (491, 500) and
   * duplicates are already dealt with. It must be answered.
   */
  onRequest(request: InDialogRequest): void;
  /** The ACK of our 2xx to the INVITE. With delayed offer its body is the answer. */
  onAck?(ack: SipRequest): void;
  onEnded(cause: DialogEnd): void;
}

export type DialogEnd =
  /** The peer's BYE, already answered with 200. */
  | { readonly kind: 'bye'; readonly request: SipRequest }
  /** Our 2xx never got its ACK (64·T1); BYE has been sent. */
  | { readonly kind: 'no-ack' }
  /**
   * A request of ours met 481, or our re-INVITE or UPDATE 408 or silence (§12.2.1.2; an INFO that a peer ignores says
   * less, RFC 5057 §5.1). BYE has been sent.
   */
  | { readonly kind: 'gone'; readonly detail: string }
  /** The engine stops or its server is away. */
  | { readonly kind: 'engine-down'; readonly detail: string };

export interface InDialogRequest {
  readonly request: SipRequest;
  /** Provisional for a re-INVITE, or final. A 2xx to a re-INVITE is retransmitted until its ACK. */
  respond(status: number, reason: string, headers?: readonly HeaderField[], body?: Octets): void;
  /** Called when a re-INVITE is cancelled; the engine has answered 487. */
  onCancel?: ((cancel: SipRequest) => void) | undefined;
  /** Called with the ACK of a 2xx to a re-INVITE. */
  onAck?: ((ack: SipRequest) => void) | undefined;
}
