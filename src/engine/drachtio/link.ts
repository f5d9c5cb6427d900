/**
 * One drachtio-server over its lifetime: connect, authenticate, reconnect with back-off, and hold back what its
 * connection cannot take.
 *
 * The server reads up to 8,192 octets at a time into a ring of 12,228 that holds what it has not understood yet, and
 * what does not fit overwrites the start: the connection is then stuck until both ends restart. So a frame of up to
 * `SHARED_BYTES` may go at any time (it leaves room for a whole read behind it), a larger one only alone, when all
 * before it has been answered and nothing follows until it is; and one above `ALONE_BYTES` never.
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { Connection } from './srf.js';
import type { ServerAddress, WireRequest, WireRequestEvents, WireRequestOptions } from './wire.js';

export const SHARED_BYTES = 4_000;
export const ALONE_BYTES = 12_000;
/** Commands held back; more than a burst of large messages needs, and a bound. */
const WAITING_MAX = 1_000;
/** Nothing answered for so long while something is outstanding: ask whether the server is still there. */
const SILENCE_MS = 5_000;
const PROBE_MS = 3_000;
const BACK_OFF_FIRST_MS = 250;
const BACK_OFF_MAX_MS = 4_000;
/** Between two looks at a server's listeners. */
const SETTLE_MS = 300;
/** From the connection to "authenticated". */
const CONNECT_MS = 5_000;

export type Refusal = 'down' | 'too-large' | 'full';

export interface LinkEvents {
  onUp(link: ServerLink): void;
  /** The connection is lost; whatever ran over it is lost with it. `fatal`: the secret is wrong. */
  onDown(link: ServerLink, detail: string, fatal: boolean): void;
  onRequest(link: ServerLink, request: WireRequest): void;
  /** It is not up yet, and why: it will be tried again. */
  onRetry(link: ServerLink, detail: string): void;
}

interface Command {
  readonly bytes: number;
  /** Sends; `settle` must be called when the server has answered. */
  run(settle: () => void): void;
  /** It will not be sent, or its answer never came. */
  abandon(detail: string): void;
  sentAt: number;
}

export class ServerLink {
  readonly name: string;
  advertised: readonly string[] = [];
  bound: readonly string[] = [];
  version = '';
  readonly #address: ServerAddress;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #events: LinkEvents;
  #connection: Connection | null = null;
  #ready = false;
  #stopped = false;
  #failures = 0;
  /** Listeners that the last scout saw, and whether they are all. */
  #seen = '';
  #complete = false;
  readonly #outstanding = new Set<Command>();
  readonly #waiting: Command[] = [];
  #alone = false;
  #probing = false;
  readonly #silence = new CallbackTimer(() => this.#onSilence());
  readonly #retry = new CallbackTimer(() => this.#connect());
  readonly #late = new CallbackTimer(() => this.#connection?.close(`no answer in ${CONNECT_MS} ms`));

  constructor(address: ServerAddress, clock: Clock, ids: Ids, events: LinkEvents) {
    this.name = `${address.host}:${address.port}`;
    this.#address = address;
    this.#clock = clock;
    this.#ids = ids;
    this.#events = events;
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Commands that the server has not answered. */
  get pending(): number {
    return this.#outstanding.size + this.#waiting.length;
  }

  connect(): void {
    this.#connect();
  }

  close(): void {
    this.#stopped = true;
    this.#clock.disarm(this.#retry);
    this.#connection?.close('the gateway stops');
  }

  /** Sends a request; null when it is on its way, else nothing was sent and no event follows. */
  request(options: WireRequestOptions, events: WireRequestEvents): Refusal | null {
    return this.#submit(
      Connection.frameBytes(options),
      (settle) => {
        this.#connection!.request(options, {
          onSent: (transaction) => {
            settle();
            events.onSent(transaction);
          },
          onRefused: (reason) => {
            settle();
            events.onRefused(reason);
          },
          onResponse: (response) => events.onResponse(response),
        });
      },
      (detail) => events.onRefused(detail),
    );
  }

  /** As `Connection.cancel`. */
  cancel(transactionId: string, headers: readonly HeaderField[], done: () => void): void {
    this.command(
      { headers, body: '' },
      (settle) => this.#connection!.cancel(transactionId, headers, settle),
      done,
    );
  }

  /** As `Connection.answer`. */
  answer(transactionId: string, status: number, headers: readonly HeaderField[]): void {
    if (this.#ready) this.#connection?.answer(transactionId, status, headers);
  }

  /** Sends something that `send` knows how to; `done` hears a failure as text. */
  command(
    parts: { readonly headers: readonly HeaderField[]; readonly body: Octets },
    send: (done: (failure: string | null, dialogId: string) => void) => void,
    done: (failure: string | null, dialogId: string) => void,
  ): void {
    const refusal = this.#submit(
      Connection.frameBytes(parts),
      (settle) =>
        send((failure, dialogId) => {
          settle();
          done(failure, dialogId);
        }),
      (detail) => done(detail, ''),
    );
    if (refusal !== null) queueMicrotask(() => done(refusal, ''));
  }

  #submit(bytes: number, run: Command['run'], abandon: Command['abandon']): Refusal | null {
    if (!this.#ready) return 'down';
    if (bytes > ALONE_BYTES) return 'too-large';
    const command: Command = { bytes, run, abandon, sentAt: 0 };
    if (this.#waiting.length === 0 && this.#mayGo(command)) {
      this.#go(command);
      return null;
    }
    if (this.#waiting.length >= WAITING_MAX) return 'full';
    this.#waiting.push(command);
    return null;
  }

  #mayGo(command: Command): boolean {
    if (this.#alone) return false;
    return command.bytes <= SHARED_BYTES || this.#outstanding.size === 0;
  }

  #go(command: Command): void {
    command.sentAt = this.#clock.now();
    this.#alone = command.bytes > SHARED_BYTES;
    if (this.#outstanding.size === 0) this.#clock.arm(this.#silence, SILENCE_MS);
    this.#outstanding.add(command);
    command.run(() => this.#settled(command));
  }

  #settled(command: Command): void {
    if (!this.#outstanding.delete(command)) return;
    this.#alone = false;
    if (this.#outstanding.size === 0) this.#clock.disarm(this.#silence);
    else if (!this.#probing) this.#clock.arm(this.#silence, SILENCE_MS);
    this.#pump();
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#ready && this.#mayGo(this.#waiting[0]!))
      this.#go(this.#waiting.shift()!);
  }

  /** An answer can be lost without the server being gone, so it is asked something that it must refuse. */
  #onSilence(): void {
    if (!this.#ready) return;
    if (this.#probing) {
      this.#connection?.close(`no answer in ${SILENCE_MS + PROBE_MS} ms`);
      return;
    }
    this.#probing = true;
    this.#clock.arm(this.#silence, PROBE_MS);
    const answered = (): void => {
      this.#probing = false;
      if (!this.#ready) return;
      const limit = this.#clock.now() - SILENCE_MS;
      for (const command of this.#outstanding) {
        if (command.sentAt > limit) continue;
        this.#outstanding.delete(command);
        this.#alone = false;
        command.abandon('the server did not answer');
      }
      if (this.#outstanding.size === 0) this.#clock.disarm(this.#silence);
      else this.#clock.arm(this.#silence, SILENCE_MS);
      this.#pump();
    };
    if (this.#connection !== null) this.#probe(this.#connection, answered);
  }

  /**
   * A server takes connections before its SIP stack is up, dies of a command that comes so early, and tells its
   * listeners only when a connection begins. So scouts come first, which only look: when one sees the listeners that
   * the one before saw, some time earlier, the connection that serves is made.
   */
  #connect(): void {
    if (this.#stopped) return;
    this.#clock.arm(this.#late, CONNECT_MS);
    const scout = !this.#complete;
    const connection = new Connection(
      this.#address,
      {
        onReady: (advertised, bound, version) => {
          this.#clock.disarm(this.#late);
          this.advertised = advertised;
          this.bound = bound;
          this.version = version;
          if (scout) this.#onScouted(connection);
          else this.#probe(connection, () => this.#up());
        },
        onClosed: (detail, fatal) => {
          if (this.#connection === connection) this.#onClosed(detail, fatal);
        },
        onRequest: (request) => this.#events.onRequest(this, request),
      },
      scout,
    );
    this.#connection = connection;
  }

  #onScouted(connection: Connection): void {
    const seen = this.bound.join(' ');
    this.#complete = seen !== '' && seen === this.#seen;
    this.#seen = seen;
    this.#connection = null;
    connection.close('');
    this.#clock.arm(this.#retry, this.#complete ? 0 : SETTLE_MS);
    if (this.#complete) return;
    const listens = seen === '' ? 'it does not listen yet' : `it listens on ${this.bound.join(', ')}`;
    this.#events.onRetry(this, `${listens}; ${SETTLE_MS} ms later that is looked at again`);
  }

  /** The server has answered, so it has taken note of which requests we want. */
  #up(): void {
    if (this.#connection === null || this.#ready) return;
    this.#failures = 0;
    this.#ready = true;
    this.#events.onUp(this);
  }

  /** Asks something that the server must refuse, without effect. */
  #probe(connection: Connection, answered: () => void): void {
    connection.request(
      { method: 'OPTIONS', dialogId: 'trunkline-probe', headers: [], body: '' },
      { onSent: answered, onRefused: answered, onResponse: () => undefined },
    );
  }

  #onClosed(detail: string, fatal: boolean): void {
    const wasReady = this.#ready;
    this.#ready = false;
    this.#connection = null;
    this.#complete = false;
    this.#seen = '';
    this.#probing = false;
    this.#alone = false;
    this.#clock.disarm(this.#late);
    this.#clock.disarm(this.#silence);
    if (!this.#stopped) this.#scheduleRetry();
    if (wasReady || fatal) this.#events.onDown(this, detail, fatal);
    else this.#events.onRetry(this, detail);
    const lost = [...this.#outstanding, ...this.#waiting];
    this.#outstanding.clear();
    this.#waiting.length = 0;
    for (const command of lost) command.abandon('down');
  }

  /** Doubles up to 4 s; half of it is random, so that gateways do not come back to a server all at once. */
  #scheduleRetry(): void {
    const ceiling = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    const jitter = Number.parseInt(this.#ids.token(20), 32);
    const fraction = Number.isNaN(jitter) ? 0.5 : (jitter % 1000) / 1000;
    this.#clock.arm(this.#retry, ceiling / 2 + (ceiling / 2) * fraction);
  }
}
