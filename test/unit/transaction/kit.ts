/**
 * A transaction layer between a fake transport and a fake user, on a clock that stands still. Time, loss and a
 * failing socket cannot be provoked otherwise. What happens is written to one log, `500 send INVITE`, and a test
 * compares that log with the rows of the RFC's figures.
 */

import { expect } from 'vitest';
import { DEFAULT_LIMITS, type Limits } from '#engine/embedded/limits.js';
import type {
  ClientTransaction,
  RequestHead,
  ServerTransaction,
  TransactionUser,
} from '#engine/embedded/transaction/transaction.js';
import { Transactions, type TransactionsOptions } from '#engine/embedded/transaction/transactions.js';
import type { Outlet, SendOwner, TransportSink, Transports } from '#engine/embedded/transport/transport.js';
import type { EngineNotice, Listener, Source, Target, TransportName } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { SeededIds } from '#lib/ids.js';
import type { SipMessage, SipRequest, SipResponse } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';
import { DEFAULT_TIMERS } from '#sip/timers.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const OUR_PORT = 5060;
export const PEER = '192.0.2.9';

function listenerOf(transport: TransportName): Listener {
  return { id: `${transport}:192.0.2.1`, transport, host: '192.0.2.1', port: OUR_PORT };
}

export function sourceOf(transport: TransportName, address = PEER, port = 5080): Source {
  return { transport, address, port, listener: listenerOf(transport), flow: transport === 'udp' ? 0 : 7 };
}

/** What `parseMessage` makes of octets that left; a test fails when it is not a message. */
function read(octets: string): SipMessage {
  const message = parseMessage(octets);
  if (message.kind === 'fault') throw new Error(`not a message: ${message.detail}\n${octets}`);
  return message;
}

export function readRequest(octets: string): SipRequest {
  const message = read(octets);
  if (message.kind !== 'request') throw new Error('not a request');
  return message;
}

export function readResponse(octets: string): SipResponse {
  const message = read(octets);
  if (message.kind !== 'response') throw new Error('not a response');
  return message;
}

/** Method or status, also of what is no message: tests of that look at the octets themselves. */
function nameOf(octets: string): string {
  const [first, second] = octets.split(' ', 2);
  return first === 'SIP/2.0' ? `${second}` : `${first}`;
}

class FakeOutlet implements Outlet {
  readonly listener: Listener;
  readonly sentBy: string;
  readonly transport: TransportName;
  readonly reliable: boolean;
  /** Who would hear now that the connection closed. */
  readonly owners = new Set<SendOwner>();

  readonly target: Target;
  readonly #bench: Bench;

  constructor(target: Target, bench: Bench) {
    this.target = target;
    this.#bench = bench;
    this.transport = target.transport;
    this.reliable = target.transport !== 'udp';
    this.listener = listenerOf(target.transport);
    this.sentBy = `192.0.2.1:${target.transport === 'tls' ? 5061 : 5060}`;
  }

  send(octets: string, owner: SendOwner | null): void {
    this.#bench.sent.push(octets);
    this.#bench.outlets.push(this);
    this.#bench.note(`send ${nameOf(octets)}${this.#bench.showTransport ? ` ${this.transport}` : ''}`);
    if (owner !== null) this.owners.add(owner);
  }

  forget(owner: SendOwner): void {
    this.owners.delete(owner);
  }

  fail(fault: EngineFault): void {
    for (const owner of [...this.owners]) owner.sendFailed(fault);
  }
}

export interface Reply {
  readonly octets: string;
  readonly source: Source;
  readonly host: string;
  readonly port: number | undefined;
  readonly rport: boolean;
}

export class Bench implements Transports, TransactionUser {
  readonly clock = new VirtualClock();
  readonly log: string[] = [];
  readonly sent: string[] = [];
  /** The outlet of each of `sent`. */
  readonly outlets: FakeOutlet[] = [];
  readonly replies: Reply[] = [];
  readonly notices: EngineNotice[] = [];
  readonly incoming: ServerTransaction[] = [];
  readonly passedUp: SipResponse[] = [];
  readonly faults: EngineFault[] = [];
  readonly acks: SipRequest[] = [];
  readonly layer: Transactions;
  readonly listeners: readonly Listener[] = [];
  readonly connectionCount = 0;
  showTransport = false;
  /** Given: what `outlet` answers for TCP. */
  noTcp: EngineFault | undefined;
  /** Called for every request passed up. */
  onNew: (transaction: ServerTransaction) => void = () => undefined;
  /** Whether a new request gets a user that hears of CANCEL and loss. */
  listens = true;

  constructor(options: Partial<TransactionsOptions> & { readonly limit?: number } = {}) {
    const limits: Limits = { ...DEFAULT_LIMITS, transactions: options.limit ?? DEFAULT_LIMITS.transactions };
    this.layer = new Transactions({
      transports: this,
      user: this,
      clock: this.clock,
      ids: new SeededIds(1),
      limits,
      timers: DEFAULT_TIMERS,
      ...options,
    });
  }

  note(what: string): void {
    this.log.push(`${this.clock.now()} ${what}`);
  }

  /** Lets all transactions end, at most within ten minutes, and notes when the last one went. */
  untilGone(): void {
    const gone = this.clock.advanceUntil(() => this.layer.size === 0, 600_000);
    this.note(gone ? 'gone' : 'stays');
    if (gone) expect(this.clock.armedCount).toBe(0);
  }

  // Transports

  start(_sink: TransportSink): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  outlet(target: Target): Outlet | EngineFault {
    if (target.transport === 'tcp' && this.noTcp !== undefined) return this.noTcp;
    return new FakeOutlet(target, this);
  }

  reply(
    source: Source,
    fallback: { readonly host: string; readonly port: number | undefined; readonly rport: boolean },
    octets: string,
  ): void {
    // Read at once: the layer may pass an object that it goes on using.
    const { host, port, rport } = fallback;
    this.replies.push({ octets, source, host, port, rport });
    this.note(`reply ${nameOf(octets)}`);
  }

  watch(): boolean {
    return true;
  }

  unwatch(): void {}

  sentBy(listener: Listener): string {
    return `${listener.host}:${listener.port}`;
  }

  // TransactionUser

  screen(): 'known' {
    return 'known';
  }

  onRequest(transaction: ServerTransaction): void {
    this.note(`up ${transaction.request.method}`);
    this.incoming.push(transaction);
    if (this.listens) {
      transaction.user = {
        onCancel: () => this.note('up CANCEL'),
        onLost: (detail) => this.note(`lost: ${detail}`),
      };
    }
    this.onNew(transaction);
  }

  onAck(ack: SipRequest): void {
    this.acks.push(ack);
    this.note('up ACK');
  }

  onNotice(notice: EngineNotice): void {
    this.notices.push(notice);
  }

  // Short ways for tests

  newOutlet(transport: TransportName): FakeOutlet {
    return new FakeOutlet({ transport, address: PEER, port: 5080 }, this);
  }

  /** Sends a request of ours; a fault instead of a transaction fails the test. */
  request(method: string, outlet: Outlet, changes: Partial<RequestHead> = {}, body = ''): ClientTransaction {
    const started = this.layer.request({ ...HEAD, method, ...changes }, REST, body, outlet, this.clientUser);
    if ('kind' in started) throw new Error(`not sent: ${started.kind}`);
    return started;
  }

  readonly clientUser = {
    onResponse: (response: SipResponse): void => {
      this.passedUp.push(response);
      this.note(`up ${response.status}`);
    },
    onFault: (fault: EngineFault): void => {
      this.faults.push(fault);
      this.note(
        `fault ${fault.kind}${fault.kind === 'timeout' ? (fault.heard ? ' heard' : ' unheard') : ''}`,
      );
    },
  };

  /** A response of the peer to a request of ours. */
  respond(toRequest: string, status: number, options: { toTag?: string; branch?: string } = {}): void {
    this.layer.onMessage(
      responseTo(toRequest, status, options),
      sourceOf(this.outlets[0]!.transport),
      'known',
    );
  }

  receive(octets: string, transport: TransportName = 'udp', standing: 'known' | 'stranger' = 'known'): void {
    this.layer.onMessage(octets, sourceOf(transport), standing);
  }
}

export const HEAD: RequestHead = {
  method: 'INVITE',
  uri: 'sip:agent@192.0.2.9:5080',
  from: '<sip:+14155550100@example.com>;tag=ours',
  to: '<sip:agent@example.com>',
  callId: 'call-1',
  cseq: 314,
  maxForwards: 69,
  routeLines: 'Route: <sip:proxy.example.com;lr>\r\n',
};

const REST = 'Contact: <sip:192.0.2.1:5060>\r\nSupported: 100rel\r\n';

export function responseTo(
  toRequest: string,
  status: number,
  options: { toTag?: string; branch?: string } = {},
): string {
  const request = readRequest(toRequest);
  let via = request.headers.get('via')!;
  if (options.branch !== undefined) via = via.replace(request.topVia.branch!, options.branch);
  const tag = status === 100 ? '' : `;tag=${options.toTag ?? 'theirs'}`;
  return message(`SIP/2.0 ${status} Whatever`, [
    `Via: ${via}`,
    `From: ${request.headers.get('from')}`,
    `To: ${request.headers.get('to')}${tag}`,
    `Call-ID: ${request.callId}`,
    `CSeq: ${request.headers.get('cseq')}`,
  ]);
}

export function message(startLine: string, lines: readonly string[], body = ''): string {
  return `${startLine}\r\n${lines.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

export interface Incoming {
  readonly method?: string;
  readonly uri?: string;
  /** Whole Via value; replaces the two below. */
  readonly via?: string;
  readonly branch?: string;
  readonly sentBy?: string;
  readonly fromTag?: string;
  readonly toTag?: string;
  readonly callId?: string;
  readonly cseq?: number;
  readonly more?: readonly string[];
  readonly body?: string;
  readonly transport?: TransportName;
}

/** A request of the peer. */
export function incoming(options: Incoming = {}): string {
  const method = options.method ?? 'INVITE';
  const branch = options.branch ?? 'z9hG4bKpeer1';
  const transport = (options.transport ?? 'udp').toUpperCase();
  const via = options.via ?? `SIP/2.0/${transport} ${options.sentBy ?? `${PEER}:5080`};branch=${branch}`;
  return message(
    `${method} ${options.uri ?? 'sip:+14155550100@192.0.2.1'} SIP/2.0`,
    [
      `Via: ${via}`,
      'Max-Forwards: 70',
      `From: "Caller" <sip:caller@example.org>${options.fromTag === '' ? '' : `;tag=${options.fromTag ?? 'caller'}`}`,
      `To: <sip:+14155550100@example.com>${options.toTag === undefined ? '' : `;tag=${options.toTag}`}`,
      `Call-ID: ${options.callId ?? 'in-1@example.org'}`,
      `CSeq: ${options.cseq ?? 1} ${method}`,
      ...(options.more ?? ['Contact: <sip:caller@192.0.2.9:5080>']),
    ],
    options.body ?? '',
  );
}

/** Runs a script: at each time what is to happen, in the words of `acts`. */
export function play(
  bench: Bench,
  script: readonly (readonly [number, string])[],
  acts: Readonly<Record<string, () => void>>,
): void {
  for (const [at, what] of script) {
    bench.clock.advance(at - bench.clock.now());
    const act = acts[what];
    if (act === undefined) throw new Error(`no such act: ${what}`);
    act();
  }
}
