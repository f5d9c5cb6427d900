/** An INVITE that we send, with its forks, until its final answer and the forks that come late (RFC 3261 §13.2). */
import { Timer } from '#lib/clock.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import { detach, flattened, type Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { isSips } from '#sip/uri.js';
import type {
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  Source,
} from '../../engine.js';
import { type EngineFault, isFault } from '../../faults.js';
import type {
  ClientTransaction,
  ClientUser,
  RequestHead,
  ServerTransaction,
} from '../transaction/transaction.js';
import type { Outlet } from '../transport/transport.js';
import {
  contactLine,
  DEFAULT_MAX_FORWARDS,
  type DialogContext,
  demandsReliable,
  linesOf,
  newCallId,
  newTag,
  routeLinesOf,
  sequenceNumber,
} from './context.js';
import { DialogState } from './dialog-state.js';
import { IncomingInDialogRequest, type RequestOwner } from './in-dialog-request.js';
import type { PeerIdentity } from './next-hop.js';
import {
  ignoreOutcome,
  type OutgoingInDialogRequest,
  type RequestWatcher,
  SentAck,
  sendBye,
  sendInDialog,
  sendPrack,
} from './outgoing-in-dialog.js';
import { type PendingAck, Session } from './session.js';
import type { DialogTenant } from './table.js';

/** No final answer for three minutes: the same bound as a proxy's timer C (§16.6 step 11). */
const DEFAULT_TIMEOUT_MS = 180_000;
/** Early dialogs of one INVITE; a peer that invents more To tags is not followed further. */
const FORKS_MAX = 16;

interface Fork {
  readonly index: number;
  readonly state: DialogState;
  readonly owner: RequestOwner;
  lastRSeq: number;
}

const TIMED_OUT_LINES = 'Reason: SIP;cause=408;text="Request Timeout"\r\n';
const LATE_FORK_LINES = 'Reason: SIP;cause=200;text="Call completed elsewhere"\r\n';
const CANCELLED_LINES = 'Reason: SIP;cause=487;text="Request Terminated"\r\n';

export class OutgoingInviteCall
  extends Timer
  implements OutgoingInvite, ClientUser, DialogTenant, PendingAck
{
  readonly #context: DialogContext;
  /** Let go once the INVITE is settled: what waits on for late forks must not keep a finished call alive. */
  #events: OutgoingInviteEvents | null;
  readonly #callId: Octets;
  readonly #localTag: string;
  readonly #local: Octets;
  readonly #uri: Octets;
  readonly #cseq: number;
  readonly #identity: PeerIdentity;
  readonly #hadBody: boolean;
  readonly #timeoutMs: number;
  #outlet: Outlet | null = null;
  #transaction: ClientTransaction | null = null;
  #forks: Fork[] = [];
  #cancelled = false;
  #timedOut = false;
  #heard = false;
  #settled = false;
  #dialogEvents: DialogEvents | undefined = undefined;
  /** While `onAnswer` runs. */
  #session: Session | null = null;
  /** The answered dialog, until it is acknowledged. */
  #answered: DialogState | null = null;
  /** To tag of the 2xx that was passed on; undefined before. */
  #answeredTag: string | undefined = undefined;
  #ack: SentAck | null = null;
  /** To tags of other forks whose 2xx has been ended, with the ACK to repeat. */
  #lateForks: Map<string, SentAck> | null = null;

  constructor(context: DialogContext, options: OutgoingInviteOptions, events: OutgoingInviteEvents) {
    super();
    this.#context = context;
    this.#events = events;
    this.#callId = options.repeat?.callId ?? newCallId(context);
    this.#localTag = options.repeat?.fromTag ?? newTag(context);
    this.#cseq = options.repeat?.cseq ?? 1;
    this.#local = flattened(`${options.from};tag=${this.#localTag}`);
    this.#uri = options.uri;
    this.#identity = { name: options.target.name, tls: options.target.tls };
    this.#hadBody = (options.body ?? '') !== '';
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  get dialogEvents(): DialogEvents | undefined {
    return this.#dialogEvents;
  }

  set dialogEvents(events: DialogEvents | undefined) {
    this.#dialogEvents = events;
    if (events !== undefined) this.#session?.listen(events);
  }

  /** Writes the INVITE. A fault found at once is reported later, never from inside this call. */
  send(options: OutgoingInviteOptions): void {
    const fault = this.#trySend(options);
    if (fault === undefined) return;
    queueMicrotask(() => this.onFault(fault));
  }

  #trySend(options: OutgoingInviteOptions): EngineFault | undefined {
    const context = this.#context;
    if (context.dialogs.size >= context.limits.dialogs) {
      context.notice({ kind: 'limit', limit: 'dialogs' });
      return { kind: 'capacity', detail: `${context.limits.dialogs} dialogs are in progress` };
    }
    const outlet = context.transports.outlet(options.target);
    if (isFault(outlet)) return outlet;
    const head: RequestHead = {
      method: 'INVITE',
      uri: options.uri,
      from: this.#local,
      to: options.to,
      callId: this.#callId,
      cseq: this.#cseq,
      maxForwards: options.maxForwards ?? DEFAULT_MAX_FORWARDS,
      routeLines: routeLinesOf(options.route),
    };
    const contact = contactLine(outlet.sentBy, outlet.transport, isSips(options.uri), options.contactUser);
    const lines = contact + linesOf(options.headers);
    this.#outlet = outlet;
    const transaction = context.transactions.request(head, lines, options.body ?? '', outlet, this);
    if (isFault(transaction)) return transaction;
    this.#transaction = transaction;
    context.dialogs.add(this.#localTag, this);
    context.clock.arm(this, this.#timeoutMs);
    this.#events?.onSent?.({ callId: this.#callId, fromTag: this.#localTag, cseq: this.#cseq });
    return undefined;
  }

  cancel(headers?: readonly HeaderField[]): void {
    if (this.#settled || this.#cancelled) return;
    this.#cancelled = true;
    this.#transaction?.cancel(linesOf(headers));
  }

  earlyRequest(
    index: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    const fork = this.#forks[index];
    if (this.#settled || fork === undefined) {
      queueMicrotask(() =>
        done({ kind: 'fault', fault: { kind: 'flow-lost', detail: 'no such early dialog' } }),
      );
      return;
    }
    sendInDialog(this.#context, fork.state, options, WATCHER, done);
  }

  onResponse(response: SipResponse, source: Source): void {
    if (response.status < 200) this.#onProvisional(response, source);
    else if (response.status < 300) this.#onSuccess(response, source);
    else this.#onRejection(response, source);
  }

  onFault(fault: EngineFault): void {
    if (this.#settled) return;
    this.#release()?.onFault(
      this.#timedOut
        ? { kind: 'timeout', heard: this.#heard, detail: `no final answer in ${this.#timeoutMs} ms` }
        : fault,
    );
  }

  /** `Timer`: no final answer. */
  override fire(): void {
    if (this.#settled) return;
    if (this.#cancelled) return;
    this.#timedOut = true;
    this.#cancelled = true;
    this.#transaction?.cancel(TIMED_OUT_LINES);
  }

  onDialogRequest(transaction: ServerTransaction, request: SipRequest): void {
    const remoteTag = request.from.tag ?? '';
    const fork = this.#forks.find((candidate) => candidate.state.remoteTag === remoteTag);
    if (fork === undefined || request.callId !== this.#callId) {
      transaction.respond(481, reasonPhrase(481), '', '');
      return;
    }
    if (request.cseq.number < fork.state.remoteSeq) {
      transaction.respond(500, reasonPhrase(500), 'Retry-After: 1\r\n', '');
      return;
    }
    fork.state.remoteSeq = request.cseq.number;
    fork.state.heardFrom(transaction.source);
    if (request.method === 'BYE') {
      // A callee must not end an early dialog by BYE (§15), yet some do; their final response still decides.
      transaction.respond(200, 'OK', '', '');
      return;
    }
    if (request.method === 'INVITE') {
      transaction.respond(491, reasonPhrase(491), '', '');
      return;
    }
    const events = this.#events;
    if (events?.onRequest === undefined) {
      transaction.respond(501, reasonPhrase(501), '', '');
      return;
    }
    if (request.method === 'UPDATE') fork.state.refresh(request, transaction.source, false);
    events.onRequest(new IncomingInDialogRequest(this.#context, transaction, fork.owner), fork.index);
  }

  onDialogAck(): void {
    // The callee sends no ACK before it has sent an INVITE.
  }

  shutDown(detail: string): void {
    if (this.#settled) return;
    this.#transaction?.cancel('');
    this.#release()?.onFault({ kind: 'engine-down', detail });
  }

  /** `PendingAck`. */
  acknowledge(headers?: readonly HeaderField[], body: Octets = ''): void {
    if (this.#answered === null) return;
    this.#ack = this.#sendAck(this.#answered, linesOf(headers), body);
    this.#answered = null;
  }

  #onProvisional(response: SipResponse, source: Source): void {
    this.#heard = true;
    if (this.#settled) return;
    const fork =
      response.status > 100 && response.to.tag !== undefined ? this.#forkOf(response, source) : undefined;
    const reliable = fork !== undefined && demandsReliable(response);
    let prack: Parameters<OutgoingInviteEvents['onProgress']>[0]['prack'];
    if (reliable) {
      const rseq = sequenceNumber(response.headers.get('rseq'));
      // RFC 3262 §4: in order only; "the UAC … MUST NOT acknowledge" one that skips, and a repetition is only discarded.
      if (rseq === undefined || (fork.lastRSeq >= 0 && rseq !== fork.lastRSeq + 1)) return;
      fork.lastRSeq = rseq;
      fork.state.refresh(response, source, true);
      if (response.body !== '' && !this.#hadBody && !this.#cancelled) {
        prack = (headers, body, done) => {
          sendPrack(
            this.#context,
            fork.state,
            rseq,
            this.#cseq,
            linesOf(headers),
            body ?? '',
            done ?? ignoreOutcome,
          );
        };
      } else {
        sendPrack(this.#context, fork.state, rseq, this.#cseq, '', '', ignoreOutcome);
      }
    }
    if (this.#cancelled) return;
    this.#events?.onProgress({ response, early: fork?.index ?? -1, reliable, prack });
  }

  #onSuccess(response: SipResponse, source: Source): void {
    const tag = response.to.tag ?? '';
    if (this.#settled) {
      if (this.#answeredTag === tag) this.#ack?.again();
      else this.#endLateFork(response, source, tag, LATE_FORK_LINES);
      return;
    }
    if (this.#cancelled) {
      const fault: EngineFault = this.#timedOut
        ? { kind: 'timeout', heard: true, detail: `no final answer in ${this.#timeoutMs} ms` }
        : { kind: 'cancelled', detail: `${response.status} crossed the CANCEL; acknowledged and ended` };
      this.#endLateFork(response, source, tag, CANCELLED_LINES);
      this.#release()?.onFault(fault);
      return;
    }
    const fork = this.#forks.find((candidate) => candidate.state.remoteTag === tag);
    const state = fork?.state ?? this.#newState(response, source);
    if (fork !== undefined) state.refresh(response, source, true);
    const events = this.#release();
    this.#answered = state;
    this.#answeredTag = detach(tag);
    const session = new Session(this.#context, state, this.#dialogEvents ?? UNHEARD);
    session.awaitUser(this);
    this.#session = session;
    events?.onAnswer({
      response,
      early: fork?.index ?? -1,
      dialog: session,
      ack: (headers, body) => this.acknowledge(headers, body),
    });
    // What stays for late forks must not keep the dialog's user alive.
    this.#session = null;
    this.#dialogEvents = undefined;
  }

  #onRejection(response: SipResponse, source: Source): void {
    if (this.#settled) return;
    const events = this.#release();
    if (this.#timedOut) {
      events?.onFault({
        kind: 'timeout',
        heard: this.#heard,
        detail: `no final answer in ${this.#timeoutMs} ms`,
      });
    } else {
      events?.onReject(response, source);
    }
  }

  /** §13.2.2.4: a 2xx that nobody wants any more is acknowledged, then its dialog ended with BYE. */
  #endLateFork(response: SipResponse, source: Source, tag: string, byeLines: Octets): void {
    this.#lateForks ??= new Map();
    const known = this.#lateForks.get(tag);
    if (known !== undefined) {
      known.again();
      return;
    }
    if (this.#lateForks.size >= FORKS_MAX) {
      this.#context.notice({ kind: 'limit', limit: 'forks', source });
      return;
    }
    const state = this.#newState(response, source);
    this.#lateForks.set(tag, this.#sendAck(state, '', ''));
    sendBye(this.#context, state, byeLines);
  }

  #sendAck(state: DialogState, lines: Octets, body: Octets): SentAck {
    return new SentAck(this.#context, state, this.#cseq, lines, body, this.#outlet!);
  }

  #forkOf(response: SipResponse, source: Source): Fork | undefined {
    const tag = response.to.tag ?? '';
    const known = this.#forks.find((candidate) => candidate.state.remoteTag === tag);
    if (known !== undefined) return known;
    if (this.#forks.length >= FORKS_MAX) {
      this.#context.notice({ kind: 'limit', limit: 'forks', source });
      return undefined;
    }
    const fork: Fork = {
      index: this.#forks.length,
      state: this.#newState(response, source),
      owner: { localTag: this.#localTag, onAnswered: () => undefined },
      lastRSeq: -1,
    };
    this.#forks.push(fork);
    return fork;
  }

  #newState(response: SipResponse, source: Source): DialogState {
    return DialogState.ofClient(
      {
        callId: this.#callId,
        localTag: this.#localTag,
        local: this.#local,
        uri: this.#uri,
        cseq: this.#cseq,
        identity: this.#identity,
      },
      response,
      source,
    );
  }

  /** Returns the events, for the last callback. */
  #release(): OutgoingInviteEvents | null {
    this.#settled = true;
    this.#context.clock.disarm(this);
    this.#context.dialogs.remove(this.#localTag);
    this.#transaction = null;
    this.#forks = [];
    const events = this.#events;
    this.#events = null;
    return events;
  }
}

const UNHEARD: DialogEvents = {
  onRequest: (request) => request.respond(501, reasonPhrase(501)),
  onEnded: () => undefined,
};

const WATCHER: RequestWatcher = {
  onSettled: (_request: OutgoingInDialogRequest, _outcome: DialogRequestOutcome) => undefined,
  over: false,
};
