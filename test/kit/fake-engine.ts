/**
 * An engine that is a script: a test says what caller and agent do, and reads what the gateway asked for. For rooms
 * above the port, and for failures that no real peer can be made to produce. It keeps the port's promises (one final
 * callback, none from inside a call) only as far as the test does.
 *
 * What a user of the port must not do is written to `misuse`: a second final answer, anything on a leg that is over.
 */
import type {
  AcceptOptions,
  Dialog,
  DialogEnd,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  Engine,
  EngineHealth,
  IncomingInvite,
  IncomingInviteEvents,
  IncomingRequest,
  InDialogRequest,
  Listener,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  PendingRequest,
  ProgressOptions,
  Source,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { HeaderField, SipRequest, SipResponse } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';
import { reasonPhrase } from '#sip/status.js';

const LISTENER: Listener = { id: 'udp:192.0.2.1:5060', transport: 'udp', host: '192.0.2.1', port: 5060 };

export function source(address = '198.51.100.7'): Source {
  return { transport: 'udp', address, port: 5060, listener: LISTENER, flow: 0 };
}

export const SDP = 'v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\n';

/** Header lines as `Name: value`. */
export function request(
  method: string,
  lines: readonly string[] = [],
  body = '',
  uri = 'sip:+14155550100@192.0.2.1',
): SipRequest {
  const own = [
    ['Via', 'SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKtest'],
    ['Max-Forwards', '70'],
    ['From', '"Carol" <sip:+14155550123@carrier.example>;tag=caller'],
    ['To', `<${uri}>`],
    ['Call-ID', 'inbound-call@carrier.example'],
    ['CSeq', `1 ${method}`],
  ] as const;
  const given = new Set(lines.map((line) => line.slice(0, line.indexOf(':')).toLowerCase()));
  const head = own
    .filter(([name]) => !given.has(name.toLowerCase()))
    .map(([name, value]) => `${name}: ${value}`);
  const type = body === '' || given.has('content-type') ? [] : ['Content-Type: application/sdp'];
  return parsed([`${method} ${uri} SIP/2.0`, ...head, ...lines, ...type], body) as SipRequest;
}

export function response(
  status: number,
  lines: readonly string[] = [],
  body = '',
  phrase = reasonPhrase(status),
): SipResponse {
  const type = body === '' ? [] : ['Content-Type: application/sdp'];
  return parsed(
    [
      `SIP/2.0 ${status} ${phrase}`,
      'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtest',
      'From: <sip:gateway@192.0.2.1>;tag=gateway',
      'To: <sip:agent@192.0.2.9>;tag=agent',
      'Call-ID: outbound-call',
      'CSeq: 1 INVITE',
      ...lines,
      ...type,
    ],
    body,
  ) as SipResponse;
}

function parsed(lines: readonly string[], body: string): SipRequest | SipResponse {
  const message = parseMessage([...lines, `Content-Length: ${body.length}`, '', body].join('\r\n'));
  if (message.kind === 'fault') throw new Error(`the test wrote a bad message: ${message.detail}`);
  return message;
}

export function fieldsOf(headers: readonly HeaderField[] | undefined): Record<string, string> {
  return Object.fromEntries((headers ?? []).map(({ name, value }) => [name.toLowerCase(), value]));
}

export class FakeDialog implements Dialog {
  readonly callId = 'dialog';
  readonly localTag = 'gateway';
  readonly remoteTag = 'peer';
  readonly remote = { transport: 'udp', address: '198.51.100.7', port: 5060 } as const;
  readonly events: DialogEvents | undefined;
  readonly requests: {
    options: DialogRequestOptions;
    done: (outcome: DialogRequestOutcome) => void;
    cancelled?: boolean;
  }[] = [];
  /** Header fields of our BYE. */
  bye: Record<string, string> | null = null;
  /** The peer, or the engine, has ended it. */
  over = false;
  readonly #misuse: string[];

  constructor(events: DialogEvents | undefined, misuse: string[]) {
    this.events = events;
    this.#misuse = misuse;
  }

  request(options: DialogRequestOptions, done: (outcome: DialogRequestOutcome) => void): PendingRequest {
    if (this.bye !== null || this.over) this.#misuse.push(`${options.method} in a dialog that is over`);
    const sent: FakeDialog['requests'][number] = { options, done };
    this.requests.push(sent);
    return {
      cancel: () => {
        sent.cancelled = true;
      },
    };
  }

  end(headers?: readonly HeaderField[]): void {
    if (this.bye !== null || this.over) this.#misuse.push('BYE in a dialog that is over');
    this.bye = fieldsOf(headers);
  }

  get alive(): boolean {
    return this.bye === null && !this.over;
  }

  peerEnds(cause: DialogEnd = { kind: 'bye', request: request('BYE') }): void {
    this.over = true;
    this.events?.onEnded(cause);
  }
}

export class FakeRequest implements InDialogRequest {
  readonly request: SipRequest;
  onCancel: ((cancel: SipRequest) => void) | undefined;
  onAck: ((ack: SipRequest) => void) | undefined;
  status = 0;
  headers: Record<string, string> = {};
  body = '';
  answers = 0;

  constructor(message: SipRequest) {
    this.request = message;
  }

  respond(status: number, _reason: string, headers?: readonly HeaderField[], body = ''): void {
    this.answers++;
    this.status = status;
    this.headers = fieldsOf(headers);
    this.body = body;
  }
}

export class FakeOutsideRequest extends FakeRequest implements IncomingRequest {
  readonly source: Source;

  constructor(message: SipRequest, from: Source) {
    super(message);
    this.source = from;
  }
}

/** The caller's INVITE. */
export class FakeIncomingInvite implements IncomingInvite {
  readonly request: SipRequest;
  readonly source: Source;
  events: IncomingInviteEvents = { onCancel: () => undefined };
  readonly supportsReliable: boolean;
  readonly requiresReliable: boolean;
  readonly progressed: ProgressOptions[] = [];
  accepted: AcceptOptions | null = null;
  dialog: FakeDialog | null = null;
  rejected: { status: number; reason: string; headers: Record<string, string>; body: string } | null = null;
  readonly early: {
    early: number;
    options: DialogRequestOptions;
    done: (outcome: DialogRequestOutcome) => void;
  }[] = [];
  /** The caller has cancelled or was lost. */
  over = false;
  readonly misuse: string[];

  constructor(message: SipRequest, from: Source = source(), misuse: string[] = []) {
    const says = (name: string): boolean => (message.headers.get(name) ?? '').includes('100rel');
    this.request = message;
    this.source = from;
    this.requiresReliable = says('require');
    this.supportsReliable = this.requiresReliable || says('supported');
    this.misuse = misuse;
  }

  get finals(): number {
    return (this.accepted === null ? 0 : 1) + (this.rejected === null ? 0 : 1);
  }

  progress(options: ProgressOptions): void {
    if (this.over || this.finals > 0) this.misuse.push(`${options.status} after the end`);
    this.progressed.push(options);
  }

  accept(options: AcceptOptions, events: DialogEvents): Dialog {
    if (this.over || this.finals > 0) this.misuse.push('2xx after the end');
    this.accepted = options;
    this.dialog = new FakeDialog(events, this.misuse);
    return this.dialog;
  }

  reject(status: number, reason: string, headers?: readonly HeaderField[], body = ''): void {
    if (this.over || this.finals > 0) this.misuse.push(`${status} after the end`);
    this.rejected = { status, reason, headers: fieldsOf(headers), body };
  }

  earlyRequest(
    early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    if (this.over || this.finals > 0) this.misuse.push(`early ${options.method} after the end`);
    if (!this.progressed.some((sent) => (sent.early ?? 0) === early)) {
      this.misuse.push(`${options.method} in early dialog ${early}, which the caller has not seen`);
    }
    this.early.push({ early, options, done });
  }

  cancel(lines: readonly string[] = []): void {
    this.over = true;
    this.events.onCancel({ kind: 'cancel', request: request('CANCEL', lines) });
  }

  lose(detail: string): void {
    this.over = true;
    this.events.onCancel({ kind: 'lost', detail });
  }
}

/** The gateway's INVITE to an agent. */
export class FakeOutgoingInvite implements OutgoingInvite {
  readonly options: OutgoingInviteOptions;
  readonly events: OutgoingInviteEvents;
  dialogEvents: DialogEvents | undefined;
  dialog: FakeDialog | null = null;
  cancelled: Record<string, string> | null = null;
  acked: { headers: Record<string, string>; body: string } | null = null;
  acks = 0;
  readonly pracks: { headers: Record<string, string>; body: string | undefined }[] = [];
  readonly early: {
    early: number;
    options: DialogRequestOptions;
    done: (outcome: DialogRequestOutcome) => void;
  }[] = [];
  /** A final answer or fault has been reported. */
  over = false;
  /** Early dialogs that the agent has shown. */
  readonly shown = new Set<number>();
  readonly #misuse: string[];

  constructor(options: OutgoingInviteOptions, events: OutgoingInviteEvents, misuse: string[]) {
    this.options = options;
    this.events = events;
    this.#misuse = misuse;
  }

  get headers(): Record<string, string> {
    return fieldsOf(this.options.headers);
  }

  /** Neither ended nor given up by the gateway. */
  get pending(): boolean {
    return !this.over && this.cancelled === null;
  }

  cancel(headers?: readonly HeaderField[]): void {
    if (this.over) this.#misuse.push('CANCEL after the final answer');
    this.cancelled = fieldsOf(headers);
  }

  earlyRequest(
    early: number,
    options: DialogRequestOptions,
    done: (outcome: DialogRequestOutcome) => void,
  ): void {
    if (!this.pending) this.#misuse.push(`early ${options.method} on a leg that is over`);
    if (!this.shown.has(early))
      this.#misuse.push(`${options.method} in early dialog ${early}, which is not the agent's`);
    this.early.push({ early, options, done });
  }

  progress(
    status: number,
    more: {
      lines?: readonly string[];
      body?: string;
      early?: number;
      reliable?: boolean;
      offer?: boolean;
    } = {},
  ): void {
    const early = more.early ?? (status === 100 ? -1 : 0);
    if (status > 100) this.shown.add(Math.max(early, 0));
    this.events.onProgress({
      response: response(status, more.lines, more.body),
      early,
      reliable: more.reliable ?? false,
      prack: more.offer
        ? (headers, body) => {
            this.pracks.push({ headers: fieldsOf(headers), body });
          }
        : undefined,
    });
  }

  answer(lines: readonly string[] = [], body = SDP, early = 0): FakeDialog {
    this.over = true;
    const dialog = new FakeDialog(
      {
        onRequest: (inside) => this.dialogEvents?.onRequest(inside),
        onEnded: (cause) => this.dialogEvents?.onEnded(cause),
      },
      this.#misuse,
    );
    this.dialog = dialog;
    this.events.onAnswer({
      response: response(200, lines, body),
      early,
      dialog,
      ack: (headers, ackBody = '') => {
        this.acks++;
        this.acked = { headers: fieldsOf(headers), body: ackBody };
      },
    });
    return dialog;
  }

  /** `from`: default the address that the INVITE went to. */
  reject(status: number, lines: readonly string[] = [], phrase?: string, from?: string): void {
    this.over = true;
    this.events.onReject(response(status, lines, '', phrase), source(from ?? this.options.target.address));
  }

  fault(fault: EngineFault): void {
    this.over = true;
    this.events.onFault(fault);
  }
}

export class FakeEngine implements Engine {
  readonly listeners = [LISTENER];
  readonly leavesFrom = (): Listener => LISTENER;
  readonly invites: FakeOutgoingInvite[] = [];
  readonly misuse: string[] = [];
  /** When set, `invite` throws it: a bug of the engine's. */
  bug: Error | null = null;

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  drain(): void {}

  health(): EngineHealth {
    return { ready: true, detail: '', gauges: { transactions: 0, dialogs: 0, connections: 0, timers: 0 } };
  }

  invite(options: OutgoingInviteOptions, events: OutgoingInviteEvents): OutgoingInvite {
    if (this.bug !== null) throw this.bug;
    const invite = new FakeOutgoingInvite(options, events, this.misuse);
    this.invites.push(invite);
    const { repeat } = options;
    events.onSent?.({
      callId: repeat?.callId ?? `leg-${this.invites.length}`,
      fromTag: repeat?.fromTag ?? 'gateway',
      cseq: repeat?.cseq ?? 1,
    });
    return invite;
  }

  request(): void {
    throw new Error('not scripted');
  }

  /** The newest INVITE of the gateway. */
  get last(): FakeOutgoingInvite {
    const invite = this.invites.at(-1);
    if (invite === undefined) throw new Error('the gateway has sent no INVITE');
    return invite;
  }
}
