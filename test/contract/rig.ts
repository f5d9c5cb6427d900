/**
 * What the contract suite stands on: an engine under test with real sockets around it, and records of everything that
 * it tells. The records also watch the rules of the port that no single test looks for: no callback from inside the
 * call that started an operation, none after the final one.
 */
import { expect, test } from 'vitest';
import type {
  Dialog,
  DialogEnd,
  DialogEvents,
  DialogRequestOptions,
  DialogRequestOutcome,
  Engine,
  EngineGauges,
  EngineNotice,
  IncomingInvite,
  IncomingInviteEvents,
  IncomingRequest,
  InDialogRequest,
  Listener,
  OutgoingInvite,
  OutgoingInviteEvents,
  OutgoingInviteOptions,
  OutgoingRequestOptions,
  RequestOutcome,
  Source,
  Target,
  TransportName,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { SipRequest, SipResponse } from '#sip/message.js';
import type { SipTimers } from '#sip/timers.js';
import type { Address } from '../kit/sip-message.js';
import { type PeerOptions, SipPeer } from '../kit/sip-peer.js';

export interface ListenAt {
  readonly transport: TransportName;
  readonly host: string;
  readonly port: number;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly caFile?: string;
  readonly requestClientCert?: boolean;
}

/** Bounds that the suite lowers. An engine that has no such bound skips the tests by name. */
export interface EngineLimits {
  readonly transactions?: number;
  readonly dialogs?: number;
  readonly connections?: number;
  readonly connectionsPerAddress?: number;
  readonly messageBytes?: number;
  readonly headBytes?: number;
  readonly headers?: number;
  readonly messageTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
}

export interface CreateOptions {
  readonly listen: readonly ListenAt[];
  readonly timers?: Partial<SipTimers> | undefined;
  readonly limits?: EngineLimits | undefined;
}

/** One engine for the suite to run on. */
export interface EngineFixture {
  readonly name: string;
  /** Makes an engine; the suite starts and stops it. */
  create(options: CreateOptions): Engine | Promise<Engine>;
  /** Tests that this engine does not pass, each with the reason why that is so. */
  readonly skip: readonly { readonly test: string; readonly reason: string }[];
}

/** 64·T1 is 1.6 s: time-outs of the RFC in the time of a test, on real sockets. */
export const FAST: SipTimers = { t1: 25, t2: 200, t4: 250 };
export const HOST = '127.0.0.1';
export const PLAIN: readonly ListenAt[] = [
  { transport: 'udp', host: HOST, port: 0 },
  { transport: 'tcp', host: HOST, port: 0 },
];

const WAIT_MS = 10_000;

/** Things in order of their coming, each taken once. */
export class Queue<T> {
  readonly all: T[] = [];
  readonly #name: string;
  #taken = 0;
  #wake: (() => void)[] = [];

  constructor(name: string) {
    this.#name = name;
  }

  push(item: T): void {
    this.all.push(item);
    const wake = this.#wake;
    this.#wake = [];
    for (const go of wake) go();
  }

  /** The next one; waits for it, and fails with the queue's name when none comes. */
  async next(timeoutMs = WAIT_MS): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    while (this.all.length <= this.#taken) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`Waited ${timeoutMs} ms for ${this.#name}; ${this.#taken} have come.`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return this.all[this.#taken++]!;
  }
}

/** Broken rules of the port, as sentences. */
type Report = (violation: string) => void;

export class DialogRecord implements DialogEvents {
  readonly requests = new Queue<InDialogRequest>('a request in the dialog');
  readonly acks = new Queue<SipRequest>('the ACK of a 2xx');
  readonly ended = new Queue<DialogEnd>('the end of the dialog');
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  onRequest(request: InDialogRequest): void {
    this.#alive('onRequest');
    this.requests.push(request);
  }

  onAck(ack: SipRequest): void {
    this.#alive('onAck');
    this.acks.push(ack);
  }

  onEnded(cause: DialogEnd): void {
    this.#alive('onEnded');
    this.ended.push(cause);
  }

  #alive(what: string): void {
    if (this.ended.all.length > 0) this.#report(`${what} of a dialog after onEnded`);
  }
}

export class IncomingRecord implements IncomingInviteEvents {
  readonly invite: IncomingInvite;
  readonly cancels = new Queue<Parameters<IncomingInviteEvents['onCancel']>[0]>('onCancel');
  readonly pracks = new Queue<{ prack: SipRequest; early: number }>('onPrack');
  readonly prackTimeouts = new Queue<number>('onPrackTimeout');
  readonly requests = new Queue<{ request: InDialogRequest; early: number }>('a request in the early dialog');
  readonly onRequest: ((request: InDialogRequest, early: number) => void) | undefined;
  readonly #report: Report;

  constructor(invite: IncomingInvite, report: Report, takesRequests: boolean) {
    this.invite = invite;
    this.#report = report;
    invite.events = this;
    if (takesRequests) {
      this.onRequest = (request, early) => {
        this.#alive('onRequest');
        this.requests.push({ request, early });
      };
    }
  }

  onCancel(cause: Parameters<IncomingInviteEvents['onCancel']>[0]): void {
    this.#alive('onCancel');
    this.cancels.push(cause);
  }

  onPrack(prack: SipRequest, early: number): void {
    this.#alive('onPrack');
    this.pracks.push({ prack, early });
  }

  onPrackTimeout(early: number): void {
    this.#alive('onPrackTimeout');
    this.prackTimeouts.push(early);
  }

  #alive(what: string): void {
    if (this.cancels.all.length > 0) this.#report(`${what} of an incoming INVITE after onCancel`);
  }
}

type Progress = Parameters<OutgoingInviteEvents['onProgress']>[0];
type Answer = Parameters<OutgoingInviteEvents['onAnswer']>[0];
type Sent = Parameters<NonNullable<OutgoingInviteEvents['onSent']>>[0];

export class OutgoingRecord implements OutgoingInviteEvents {
  readonly sent = new Queue<Sent>('onSent');
  readonly progress = new Queue<Progress>('a provisional response');
  readonly answers = new Queue<Answer>('the answer');
  readonly rejects = new Queue<SipResponse>('the rejection');
  readonly faults = new Queue<EngineFault>('a fault');
  readonly requests = new Queue<{ request: InDialogRequest; early: number }>('a request in the early dialog');
  readonly dialog: DialogRecord;
  readonly onRequest: ((request: InDialogRequest, early: number) => void) | undefined;
  invite!: OutgoingInvite;
  readonly #report: Report;

  constructor(report: Report, takesRequests: boolean) {
    this.#report = report;
    this.dialog = new DialogRecord(report);
    if (takesRequests) {
      this.onRequest = (request, early) => {
        this.#alive('onRequest');
        this.requests.push({ request, early });
      };
    }
  }

  onSent(sent: Sent): void {
    this.#alive('onSent');
    this.sent.push(sent);
  }

  onProgress(progress: Progress): void {
    this.#alive('onProgress');
    this.progress.push(progress);
  }

  onAnswer(answer: Answer): void {
    this.#alive('onAnswer');
    this.invite.dialogEvents = this.dialog;
    this.answers.push(answer);
  }

  onReject(response: SipResponse): void {
    this.#alive('onReject');
    this.rejects.push(response);
  }

  onFault(fault: EngineFault): void {
    this.#alive('onFault');
    this.faults.push(fault);
  }

  /** How many final callbacks have come. */
  get finals(): number {
    return this.answers.all.length + this.rejects.all.length + this.faults.all.length;
  }

  #alive(what: string): void {
    if (this.finals > 0) this.#report(`${what} of an outgoing INVITE after its final callback`);
  }
}

export interface RigOptions {
  readonly listen?: readonly ListenAt[] | undefined;
  readonly timers?: Partial<SipTimers> | undefined;
  readonly limits?: EngineLimits | undefined;
  /** Whether early dialogs have an `onRequest` handler. Default true. */
  readonly takesEarlyRequests?: boolean | undefined;
  /** Default true. */
  readonly start?: boolean | undefined;
}

export class Rig {
  readonly engine: Engine;
  readonly invites = new Queue<IncomingRecord>('an INVITE');
  readonly requests = new Queue<IncomingRequest>('a request outside a dialog');
  readonly notices: EngineNotice[] = [];
  readonly violations: string[] = [];
  /** What `screen` says, until a test says otherwise. */
  standing: (source: Source) => 'known' | 'stranger' | 'drop' = () => 'known';
  /** Called inside `onInvite`, before the record is queued. */
  onInvite: ((record: IncomingRecord) => void) | undefined;
  /** Answers requests outside dialogs at once; OPTIONS of fences need it. */
  autoAnswer: (request: IncomingRequest) => boolean = (incoming) => {
    if (incoming.request.method !== 'OPTIONS') return false;
    incoming.respond(200, 'OK');
    return true;
  };
  readonly #options: RigOptions;
  readonly #peers: SipPeer[] = [];
  #inside = 0;

  constructor(engine: Engine, options: RigOptions) {
    this.engine = engine;
    this.#options = options;
  }

  readonly #report: Report = (violation) => {
    this.violations.push(violation);
  };

  async start(): Promise<void> {
    await this.engine.start({
      screen: (source) => this.standing(source),
      onInvite: (invite) => {
        this.#outside('onInvite');
        const record = new IncomingRecord(invite, this.#report, this.#options.takesEarlyRequests !== false);
        this.onInvite?.(record);
        this.invites.push(record);
      },
      onRequest: (request) => {
        this.#outside('onRequest');
        if (!this.autoAnswer(request)) this.requests.push(request);
      },
      onNotice: (notice) => this.notices.push(notice),
    });
  }

  listener(transport: TransportName, host = HOST): Listener {
    const found = this.engine.listeners.find(
      (listener) => listener.transport === transport && listener.host === host,
    );
    if (found === undefined) throw new Error(`No ${transport} listener on ${host}.`);
    return found;
  }

  /** Where the engine listens. */
  at(transport: TransportName, host = HOST): Address {
    const { port } = this.listener(transport, host);
    return { host, port };
  }

  /** A peer that is closed with the rig. */
  async peer(transport: TransportName = 'udp', options: PeerOptions = {}): Promise<SipPeer> {
    const peer = await SipPeer.open(transport, options);
    this.#peers.push(peer);
    return peer;
  }

  /** Sends an INVITE and records what becomes of it. */
  call(
    peer: SipPeer | Target,
    options: Partial<OutgoingInviteOptions> = {},
    more: { readonly takesRequests?: boolean } = {},
  ): OutgoingRecord {
    const target = targetOf(peer);
    const host = target.address.includes(':') ? `[${target.address}]` : target.address;
    const record = new OutgoingRecord(this.#report, more.takesRequests !== false);
    this.#guarded(() => {
      record.invite = this.engine.invite(
        {
          uri: `sip:callee@${host}:${target.port}`,
          target,
          from: '"Caller" <sip:caller@example.com>',
          to: '<sip:callee@example.net>',
          headers: [],
          ...options,
        },
        this.#watched(record),
      );
    });
    return record;
  }

  /** Sends a request outside a dialog; the queue gets its outcome. */
  request(peer: SipPeer | Target, options: Partial<OutgoingRequestOptions> = {}): Queue<RequestOutcome> {
    const target = targetOf(peer);
    const outcomes = new Queue<RequestOutcome>('the outcome of the request');
    this.#guarded(() =>
      this.engine.request(
        {
          method: 'OPTIONS',
          uri: `sip:${target.address}:${target.port}`,
          target,
          from: '<sip:gateway@example.com>',
          to: '<sip:provider@example.net>',
          ...options,
        },
        (outcome) => {
          this.#outside('done');
          outcomes.push(outcome);
        },
      ),
    );
    return outcomes;
  }

  /** Sends a request in a dialog; the queue gets its outcome. */
  dialogRequest(
    to: Dialog | { early: IncomingInvite | OutgoingInvite; index: number },
    options: DialogRequestOptions,
  ): Queue<DialogRequestOutcome> {
    const outcomes = new Queue<DialogRequestOutcome>('the outcome of the request in the dialog');
    const done = (outcome: DialogRequestOutcome): void => {
      this.#outside('done');
      outcomes.push(outcome);
    };
    this.#guarded(() => {
      if ('early' in to) to.early.earlyRequest(to.index, options, done);
      else to.request(options, done);
    });
    return outcomes;
  }

  accept(
    record: IncomingRecord,
    options: Parameters<IncomingInvite['accept']>[0] = {},
  ): {
    dialog: Dialog;
    events: DialogRecord;
  } {
    const events = new DialogRecord(this.#report);
    let dialog!: Dialog;
    this.#guarded(() => {
      dialog = record.invite.accept(options, events);
    });
    return { dialog, events };
  }

  get gauges(): EngineGauges {
    return this.engine.health().gauges;
  }

  /** Waits until the engine holds no transaction and no dialog, and no timer but those of connections. */
  async idle(timeoutMs = 15_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const { transactions, dialogs, timers, connections } = this.gauges;
      if (transactions + dialogs === 0 && timers <= connections) return;
      if (performance.now() > deadline)
        throw new Error(`The engine still holds ${JSON.stringify(this.gauges)}.`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async until(what: string, condition: () => boolean, timeoutMs = WAIT_MS): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`Waited ${timeoutMs} ms in vain: ${what}.`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Closes the peers' connections, and waits until the engine has noticed. */
  async disconnect(): Promise<void> {
    for (const peer of this.#peers) peer.disconnect();
    await this.until('no connection left', () => this.gauges.connections === 0);
  }

  /** Stops the engine; the peers answer what that sends. */
  async close(): Promise<void> {
    for (const peer of this.#peers) {
      peer.intercept = (message) => {
        if (message.method !== '' && message.method !== 'ACK') peer.respond(message, 200, 'OK');
        return true;
      };
    }
    await this.engine.stop(0);
    for (const peer of this.#peers) await peer.close();
  }

  /** Runs what starts an operation; a callback meanwhile breaks the port's rule. */
  #guarded(start: () => void): void {
    this.#inside++;
    try {
      start();
    } finally {
      this.#inside--;
    }
  }

  #outside(what: string): void {
    if (this.#inside > 0) this.#report(`${what} from inside the call that started the operation`);
  }

  #watched(record: OutgoingRecord): OutgoingInviteEvents {
    const rig = this;
    return {
      // The request may be written inside the call: this tells, it does not end.
      onSent: (sent) => record.onSent(sent),
      onProgress(progress) {
        rig.#outside('onProgress');
        record.onProgress(progress);
      },
      onAnswer(answer) {
        rig.#outside('onAnswer');
        record.onAnswer(answer);
      },
      onReject(response) {
        rig.#outside('onReject');
        record.onReject(response);
      },
      onFault(fault) {
        rig.#outside('onFault');
        record.onFault(fault);
      },
      ...(record.onRequest === undefined ? {} : { onRequest: record.onRequest }),
    };
  }
}

function targetOf(peer: SipPeer | Target): Target {
  return peer instanceof SipPeer ? { transport: peer.transport, address: peer.host, port: peer.port } : peer;
}

/** Registers one test of the suite. */
export type Scenario = (name: string, body: (rig: Rig) => Promise<void>, options?: RigOptions) => void;

/** Registers tests for one engine, and remembers their names to find skips of tests that do not exist. */
export function scenarios(fixture: EngineFixture): { scenario: Scenario; names: Set<string> } {
  const names = new Set<string>();
  const scenario: Scenario = (name, body, options = {}) => {
    if (names.has(name)) throw new Error(`Two tests are called "${name}".`);
    names.add(name);
    const skipped = fixture.skip.find((entry) => entry.test === name);
    if (skipped !== undefined) {
      test.skip(`${name} [skipped for ${fixture.name}: ${skipped.reason}]`, () => undefined);
      return;
    }
    test(name, async () => {
      const engine = await fixture.create({
        listen: options.listen ?? PLAIN,
        timers: options.timers,
        limits: options.limits,
      });
      const rig = new Rig(engine, options);
      try {
        if (options.start !== false) await rig.start();
        await body(rig);
      } finally {
        await rig.close();
      }
      expect(rig.violations).toEqual([]);
    });
  };
  return { scenario, names };
}
