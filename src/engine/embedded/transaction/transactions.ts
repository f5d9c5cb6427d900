/**
 * The transaction layer (RFC 3261 §17, §9, §8.2.2.2; RFC 6026; RFC 4320). It stands between the transports, which
 * bring whole messages, and the dialog layer: it parses, answers by itself what cannot be understood, finds the
 * transaction that a message belongs to, and absorbs what comes twice.
 */
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Headers, SipRequest, SipResponse } from '#sip/message.js';
import { flattened, type Octets } from '#sip/octets.js';
import { type ParseFault, type ParseOptions, parseMessage } from '#sip/parse.js';
import type { SipTimers } from '#sip/timers.js';
import { MAGIC_COOKIE, parseVia, type Via } from '#sip/via.js';
import type { EngineNotice, Source, Target } from '../../engine.js';
import { type EngineFault, isFault } from '../../faults.js';
import type { Limits } from '../limits.js';
import { OutgoingListener } from '../transport/outgoing-listener.js';
import type { Outlet, TransportSink, Transports } from '../transport/transport.js';
import { type Detour, InviteClient, NonInviteClient } from './client.js';
import type { ClientMachine, MachineHost, ServerMachine } from './machine.js';
import { clientKey, hasUniqueBranch, mergeKey, serverKey } from './matching.js';
import { requestLine, requestTail, viaLine } from './request.js';
import { faultyFrame, fittingResponse, StatelessTags } from './response.js';
import { InviteServer, NonInviteServer } from './server.js';
import type {
  ClientTransaction,
  ClientUser,
  RequestHead,
  TransactionLayer,
  TransactionUser,
} from './transaction.js';

export interface TransactionsOptions {
  readonly transports: Transports;
  readonly user: TransactionUser;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly limits: Limits;
  readonly timers: SipTimers;
  /**
   * A request for UDP that is longer than this many octets goes over TCP if the peer takes it (§18.1.1: 1,300
   * where the path MTU is unknown). 0: never. Default 1,300.
   */
  readonly streamAboveBytes?: number | undefined;
}

const STREAM_ABOVE_BYTES = 1300;
/** How long a peer that refused TCP is spared the attempt. */
const STREAM_AVOIDED_MS = 300_000;
const STREAM_AVOIDED_PEERS = 10_000;
/** Seconds that a request turned away at the bound is asked to wait. */
const RETRY_AFTER_LINE = 'Retry-After: 10\r\n';
/** Of what is wrong with a request, what its 400 says. */
const DETAIL_LENGTH = 100;

const STOPPED: EngineFault = { kind: 'engine-down', detail: 'the transaction layer is closed' };

export class Transactions implements TransactionLayer, TransportSink, MachineHost {
  readonly clock: Clock;
  readonly ids: Ids;
  readonly timers: SipTimers;
  readonly transports: Transports;
  readonly statelessTags: StatelessTags;

  readonly #user: TransactionUser;
  readonly #limit: number;
  readonly #streamAbove: number;
  readonly #datagram: ParseOptions;
  readonly #stream: ParseOptions;

  readonly #clients = new Map<string, ClientMachine>();
  readonly #servers = new Map<string, ServerMachine>();
  readonly #merges = new Map<string, ServerMachine>();
  /** Peers that took no TCP, until when. */
  readonly #streamAvoided = new BoundedMap<string, number>(STREAM_AVOIDED_PEERS);

  readonly #branchStart: string;
  #branches = 0;
  #closed = false;

  constructor(options: TransactionsOptions) {
    this.clock = options.clock;
    this.ids = options.ids;
    this.timers = options.timers;
    this.transports = options.transports;
    this.statelessTags = new StatelessTags(options.ids.token(60));
    this.#user = options.user;
    this.#limit = options.limits.transactions;
    this.#streamAbove = options.streamAboveBytes ?? STREAM_ABOVE_BYTES;
    const bounds = { maxHeaders: options.limits.headers, maxBytes: options.limits.messageBytes };
    this.#datagram = { ...bounds, stream: false };
    this.#stream = { ...bounds, stream: true };
    this.#branchStart = MAGIC_COOKIE + options.ids.token(40);
  }

  get size(): number {
    return this.#clients.size + this.#servers.size;
  }

  // ── Requests of ours ──────────────────────────────────────────────────────────────────────────────────────────

  request(
    head: RequestHead,
    rest: Octets,
    body: Octets,
    outlet: Outlet,
    user: ClientUser,
  ): ClientTransaction | EngineFault {
    if (this.#closed) return STOPPED;
    if (this.size >= this.#limit) {
      this.#user.onNotice({ kind: 'limit', limit: 'transactions' });
      return { kind: 'capacity', detail: `the bound of ${this.#limit} transactions is reached` };
    }
    const branch = this.#newBranch();
    const start = requestLine(head.method, head.uri);
    const tail = requestTail(head, rest, body);
    let way = outlet;
    let via = viaLine(outlet, branch);
    let detour: Detour | null = null;
    if (this.#isTooLong(outlet, start.length + via.length + tail.length)) {
      const stream = this.#streamInstead(outlet);
      if (stream !== null) {
        detour = { datagrams: outlet, start, tail };
        way = stream;
        via = viaLine(stream, branch);
      }
    }
    const octets = flattened(start + via + tail);
    const machine =
      head.method === 'INVITE'
        ? new InviteClient(this, branch, head, octets, way, detour, user)
        : new NonInviteClient(this, branch, head.method, octets, way, detour, user);
    this.#clients.set(machine.key, machine);
    machine.start();
    return machine;
  }

  ack(head: RequestHead, rest: Octets, body: Octets, outlet: Outlet): Octets {
    // §13.2.2.4: the ACK of a 2xx is a request of its own, so it has a branch of its own.
    const octets = flattened(
      requestLine(head.method, head.uri) + viaLine(outlet, this.#newBranch()) + requestTail(head, rest, body),
    );
    if (!this.#closed) outlet.send(octets, null);
    return octets;
  }

  /** Unique by the counter, across restarts and hosts by the prefix, not to be guessed from the one before. */
  #newBranch(): string {
    return `${this.#branchStart}${(this.#branches++).toString(36)}.${this.ids.token(20)}`;
  }

  #isTooLong(outlet: Outlet, bytes: number): boolean {
    return outlet.transport === 'udp' && this.#streamAbove > 0 && bytes > this.#streamAbove;
  }

  /** §18.1.1: "the request MUST be sent using an RFC 2914 congestion controlled transport protocol, such as TCP". */
  #streamInstead(outlet: Outlet): Outlet | null {
    const { address, port, name, tls } = outlet.target;
    const avoidedUntil = this.#streamAvoided.get(peerKey(outlet.target));
    if (avoidedUntil !== undefined && this.clock.now() < avoidedUntil) return null;
    const stream = this.transports.outlet({ transport: 'tcp', address, port, name, tls });
    if (isFault(stream)) return null;
    // A gateway that listens to UDP alone is meant to speak UDP.
    return stream.listener instanceof OutgoingListener ? null : stream;
  }

  // ── What the machines ask ─────────────────────────────────────────────────────────────────────────────────────

  adoptClient(machine: ClientMachine): void {
    this.#clients.set(machine.key, machine);
  }

  dropClient(machine: ClientMachine): void {
    this.#clients.delete(machine.key);
  }

  dropServer(machine: ServerMachine): void {
    if (this.#servers.get(machine.key) === machine) this.#servers.delete(machine.key);
    this.dropMerge(machine);
  }

  dropMerge(machine: ServerMachine): void {
    if (machine.mergeKey !== '' && this.#merges.get(machine.mergeKey) === machine) {
      this.#merges.delete(machine.mergeKey);
    }
  }

  avoidStream(target: Target): void {
    const key = peerKey(target);
    // Set anew, so that the bound pushes out who was refused longest ago.
    this.#streamAvoided.delete(key);
    this.#streamAvoided.set(key, this.clock.now() + STREAM_AVOIDED_MS);
  }

  // ── What the transports bring ─────────────────────────────────────────────────────────────────────────────────

  screen(source: Source): 'known' | 'stranger' | 'drop' {
    return this.#user.screen(source);
  }

  onNotice(notice: EngineNotice): void {
    this.#user.onNotice(notice);
  }

  onMessage(octets: Octets, source: Source, standing: 'known' | 'stranger'): void {
    if (this.#closed) return;
    const message = parseMessage(octets, source.transport === 'udp' ? this.#datagram : this.#stream);
    if (message.kind === 'response') this.#response(message, source);
    else if (message.kind === 'request') this.#request(message, source, standing, octets.length);
    else this.#faulty(message, source, standing, octets);
  }

  onUnframeable(
    head: Octets,
    source: Source,
    problem: { readonly status: 400 | 413 | 513; readonly detail: string },
  ): Octets | undefined {
    const { status, detail } = problem;
    this.#user.onNotice({ kind: 'rejected', status, reason: detail, source, malformed: true });
    const message = parseMessage(head, this.#stream);
    if (message.kind === 'response') return undefined;
    const request = message.kind === 'fault' ? message.request : message;
    if (request === undefined || request.method === 'ACK') return undefined;
    const phrase = problem.detail.slice(0, DETAIL_LENGTH);
    // Only streams are framed, and their sources are who they say: an answer longer than the request floods nobody.
    const limit = Number.POSITIVE_INFINITY;
    const octets = this.#stateless(request.headers, source, problem.status, phrase, '', limit);
    return octets === '' ? undefined : octets;
  }

  #response(response: SipResponse, source: Source): void {
    const branch = response.topVia.branch;
    const method = response.cseq.method;
    const machine = branch === undefined ? undefined : this.#clients.get(clientKey(branch, method));
    // §8.1.3.3: "If more than one Via header field value is present in a response, the UAC SHOULD discard the
    // message": it went astray.
    if (machine === undefined || machine.method !== method || response.headers.count('via') > 1) {
      this.#user.onNotice({ kind: 'rejected', status: 0, reason: 'stray response', source });
      return;
    }
    machine.receive(response, source);
  }

  #request(request: SipRequest, source: Source, standing: 'known' | 'stranger', bytes: number): void {
    if (request.method === 'ACK') {
      this.#ack(request, source);
      return;
    }
    if (request.method === 'CANCEL') {
      this.#cancel(request, source, standing, bytes);
      return;
    }
    const key = serverKey(request, request.method);
    const machine = this.#servers.get(key);
    if (machine !== undefined) {
      machine.repeated();
      return;
    }
    const merge = mergeKey(request);
    if (merge !== '' && this.#merges.has(merge)) {
      // §8.2.2.2: "the UAS core SHOULD generate a 482 (Loop Detected) response".
      this.#answer(request.headers, request.topVia, source, standing, 482, 'Loop Detected', '', bytes);
      return;
    }
    if (this.size >= this.#limit) {
      this.#user.onNotice({ kind: 'limit', limit: 'transactions', source });
      this.#answer(
        request.headers,
        request.topVia,
        source,
        standing,
        503,
        'Service Unavailable',
        RETRY_AFTER_LINE,
        bytes,
      );
      return;
    }
    const transaction =
      request.method === 'INVITE'
        ? new InviteServer(this, key, merge, request, source, standing, bytes)
        : new NonInviteServer(this, key, merge, request, source, standing, bytes);
    this.#servers.set(key, transaction);
    if (merge !== '') this.#merges.set(merge, transaction);
    this.#user.onRequest(transaction);
    transaction.awaitResponse();
  }

  #ack(ack: SipRequest, source: Source): void {
    const invite = this.#inviteOf(ack);
    if (invite === undefined || !invite.acknowledged()) this.#user.onAck(ack, source);
  }

  /** The INVITE transaction that an ACK acknowledges, unless it is the ACK of a 2xx with a branch of its own. */
  #inviteOf(ack: SipRequest): InviteServer | undefined {
    let machine = this.#servers.get(serverKey(ack, 'INVITE'));
    if (!hasUniqueBranch(ack)) {
      // §17.2.3: "the To tag of the ACK matches the To tag of the response sent by the server transaction." The
      // INVITE itself had that To tag when it came inside a dialog, and none when it opened one.
      machine ??= this.#servers.get(serverKey(ack, 'INVITE', ''));
      if (machine instanceof InviteServer && machine.finalTag !== (ack.to.tag ?? '')) return undefined;
    }
    return machine instanceof InviteServer ? machine : undefined;
  }

  #cancel(cancel: SipRequest, source: Source, standing: 'known' | 'stranger', bytes: number): void {
    const key = serverKey(cancel, 'CANCEL');
    const before = this.#servers.get(key);
    if (before !== undefined) {
      before.repeated();
      return;
    }
    const invite = this.#servers.get(serverKey(cancel, 'INVITE'));
    if (!(invite instanceof InviteServer)) {
      // §9.2: "it SHOULD respond to the CANCEL with a 481 (Call Leg/Transaction Does Not Exist)".
      this.#answer(
        cancel.headers,
        cancel.topVia,
        source,
        standing,
        481,
        'Call/Transaction Does Not Exist',
        '',
        bytes,
      );
      return;
    }
    const transaction = new NonInviteServer(this, key, '', cancel, source, standing, bytes);
    this.#servers.set(key, transaction);
    // §9.2: "the To tag of the response to the CANCEL and the To tag in the response to the original request SHOULD
    // be the same."
    transaction.respond(200, 'OK', '', '', invite.localTag);
    invite.cancelled(cancel);
  }

  // ── Answers that leave nothing behind ─────────────────────────────────────────────────────────────────────────

  #faulty(fault: ParseFault, source: Source, standing: 'known' | 'stranger', octets: Octets): void {
    const request = fault.request;
    // An ACK is never answered (§17), and a response neither: the parser gives those status 0.
    if (request === undefined || fault.status === 0 || !request.headers.has('via')) {
      // What keeps a NAT's binding open (RFC 5626 §4.4.2, or a byte of anything) never meant to be SIP.
      const malformed = octets.includes('SIP/2.0');
      this.#user.onNotice({ kind: 'rejected', status: 0, reason: fault.detail, source, malformed });
      return;
    }
    // §21.4.1: "The Reason-Phrase SHOULD identify the syntax problem in more detail".
    const phrase =
      fault.status === 400 && fault.detail !== '' ? fault.detail.slice(0, DETAIL_LENGTH) : fault.reason;
    const via = parseVia(request.headers.get('via') ?? '');
    this.#answer(request.headers, via, source, standing, fault.status, phrase, '', octets.length, fault);
  }

  /** Answers and forgets. The notice says what really went out. */
  #answer(
    headers: Headers,
    via: Via | undefined,
    source: Source,
    standing: 'known' | 'stranger',
    status: number,
    reason: string,
    lines: Octets,
    bytes: number,
    fault?: Pick<ParseFault, 'detail'>,
  ): void {
    const limit = standing === 'stranger' ? bytes : Number.POSITIVE_INFINITY;
    const octets = this.#stateless(headers, source, status, reason, lines, limit, via);
    if (octets !== '') {
      this.transports.reply(
        source,
        // A Via that cannot be read names no port to send to: the source's serves.
        {
          host: source.address,
          port: via?.port,
          rport: via === undefined || via.rport !== undefined,
          standing,
        },
        octets,
      );
    }
    this.#user.onNotice({
      kind: 'rejected',
      status: octets === '' ? 0 : status,
      reason: fault?.detail ?? reason,
      source,
      malformed: fault !== undefined,
    });
  }

  /** '' when the request lacks what a response needs, or when there is none of at most `limit` octets. */
  #stateless(
    headers: Headers,
    source: Source,
    status: number,
    reason: string,
    lines: Octets,
    limit: number,
    knownVia?: Via,
  ): Octets {
    const via = knownVia ?? parseVia(headers.get('via') ?? '');
    const frame = faultyFrame(headers, via, source);
    const to = headers.get('to');
    const tag =
      to === undefined || HAS_TAG.test(to)
        ? ''
        : this.statelessTags.tagFor(headers.get('via') ?? '', headers.get('call-id') ?? '');
    return fittingResponse(frame, status, reason, tag, lines, '', limit);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const machine of [...this.#clients.values()]) machine.abandon(STOPPED);
    for (const machine of [...this.#servers.values()]) machine.abandon(STOPPED.detail);
    this.#merges.clear();
    this.#streamAvoided.clear();
  }
}

/** Of a To that may be too broken to parse. */
const HAS_TAG = /;\s*tag\s*=/i;

function peerKey(target: Target): string {
  return `${target.address}|${target.port}`;
}
