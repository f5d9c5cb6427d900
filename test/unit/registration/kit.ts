/** Registrars by script: an engine that has only `request`, time that a test advances, and names that resolve as told. */
import type {
  Engine,
  Listener,
  OutgoingRequestOptions,
  RequestOutcome,
  Source,
  Target,
} from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { CallbackTimer } from '#lib/clock.js';
import { SeededIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import type { LiveRegistration, RegistrationObserver } from '#registration/observer.js';
import type { RegistrationAttempt, RegistrationState } from '#registration/registration-view.js';
import { type RegistrationSettings, Registrations } from '#registration/registrations.js';
import type { SipResponse } from '#sip/message.js';
import { parseMessage } from '#sip/parse.js';
import { reasonPhrase } from '#sip/status.js';
import type { ResolutionFault } from '#targets/locate.js';
import { type Described, snapshotOf } from '../../kit/directory.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const LISTENERS: readonly Listener[] = (['udp', 'tcp', 'tls'] as const).map((transport) => ({
  id: `${transport}:192.0.2.1:5060`,
  transport,
  host: '192.0.2.1',
  port: 5060,
  sentBy: 'gw.example.net:5060',
}));

/** A response to REGISTER; lines as `Name: value`. */
export function answer(
  status: number,
  lines: readonly string[] = [],
  reason = reasonPhrase(status),
): SipResponse {
  const via = lines.some((line) => line.startsWith('Via:'))
    ? []
    : ['Via: SIP/2.0/UDP gw.example.net:5060;branch=z9hG4bKtest'];
  const message = parseMessage(
    [
      `SIP/2.0 ${status} ${reason}`,
      ...via,
      'From: <sip:acme@provider.example>;tag=gateway',
      'To: <sip:acme@provider.example>;tag=registrar',
      'Call-ID: call',
      'CSeq: 1 REGISTER',
      ...lines,
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n'),
  );
  if (message.kind !== 'response')
    throw new Error(`the test wrote a bad message: ${JSON.stringify(message)}`);
  return message;
}

/** What a registrar does with a request: an answer after a while, a fault, or `null` for silence (timer F). */
export type Reply =
  | {
      readonly response: SipResponse;
      readonly afterMs?: number;
      readonly from?: string;
      readonly flow?: number;
    }
  | { readonly fault: EngineFault; readonly afterMs?: number }
  | null;

export interface Sent {
  readonly at: number;
  readonly options: OutgoingRequestOptions;
}

const TIMER_F_MS = 32_000;
const T2_MS = 4_000;

export class ScriptedEngine implements Pick<Engine, 'request' | 'leavesFrom' | 'keepAlive' | 'closeFlow'> {
  /** What every listener announces; undefined: what the list above says. */
  address: string | undefined;
  readonly leavesFrom = ({ transport }: Target): Listener | undefined => {
    const found = LISTENERS.find((listener) => listener.transport === transport);
    if (found === undefined || this.address === undefined) return found;
    return { ...found, sentBy: `${this.address}:5060` };
  };
  readonly sent: Sent[] = [];
  readonly kept: Target[] = [];
  readonly closed: number[] = [];
  /** Called by `closeFlow`, as the engine's notice would be. */
  onClosed: (flow: number) => void = () => undefined;
  script: (options: OutgoingRequestOptions, sent: readonly Sent[]) => Reply = () => null;
  /** A request that meets silence is shown to the script again every 4 s, as it would be sent over UDP. */
  retransmits = false;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  request(options: OutgoingRequestOptions, done: (outcome: RequestOutcome) => void): void {
    this.sent.push({ at: this.#clock.now(), options });
    this.#deliver(options, done, this.#clock.now() + TIMER_F_MS);
  }

  #deliver(options: OutgoingRequestOptions, done: (outcome: RequestOutcome) => void, until: number): void {
    const reply = this.script(options, this.sent);
    const { target } = options;
    if (reply === null && this.retransmits && this.#clock.now() + T2_MS < until) {
      this.#clock.arm(new CallbackTimer(() => this.#deliver(options, done, until)), T2_MS);
      return;
    }
    let outcome: RequestOutcome;
    if (reply === null) {
      outcome = { kind: 'fault', fault: { kind: 'timeout', heard: false, detail: 'silence' } };
    } else if ('fault' in reply) outcome = { kind: 'fault', fault: reply.fault };
    else {
      const source: Source = {
        transport: target.transport,
        address: reply.from ?? target.address,
        port: target.port,
        listener: LISTENERS[0]!,
        flow: reply.flow ?? (target.transport === 'udp' ? 0 : (target.flow ?? 1)),
      };
      outcome = { kind: 'response', response: reply.response, source };
    }
    const afterMs = reply === null ? until - this.#clock.now() : (reply.afterMs ?? 20);
    this.#clock.arm(new CallbackTimer(() => done(outcome)), afterMs);
  }

  keepAlive(target: Target): void {
    this.kept.push(target);
  }

  closeFlow(flow: number): void {
    this.closed.push(flow);
    this.onClosed(flow);
  }

  of(method: string): Sent[] {
    return this.sent.filter(({ options }) => options.method === method);
  }

  get registers(): Sent[] {
    return this.of('REGISTER');
  }
}

export const TRUNK = {
  id: 'carrier',
  server: 'sip.provider.example',
  domain: 'provider.example',
  authUser: 'acme',
  authPassword: 'secret',
} as const;

export const DESCRIBED: Described = {
  sipCredentials: [TRUNK],
  phoneNumbers: [{ phoneNumber: '+14155550100', credentialsId: 'carrier', registration: true }],
};

export interface Bench {
  readonly clock: VirtualClock;
  readonly engine: ScriptedEngine;
  readonly registrations: Registrations;
  readonly states: [string, RegistrationState][];
  readonly attempts: RegistrationAttempt[];
  readonly removed: string[];
  readonly dialled: string[];
  readonly quarantined: Set<string>;
  /** Addresses that the next resolutions give, or why there are none. */
  addresses: readonly string[] | ResolutionFault;
  apply(described: Described): void;
}

export function bench(
  options: { settings?: Partial<RegistrationSettings>; random?: () => number; seed?: number } = {},
): Bench {
  const clock = new VirtualClock();
  const engine = new ScriptedEngine(clock);
  const states: [string, RegistrationState][] = [];
  const attempts: RegistrationAttempt[] = [];
  const removed: string[] = [];
  const dialled: string[] = [];
  const quarantined = new Set<string>();
  const observer: RegistrationObserver = {
    registrationChanged: ({ aor, state }: LiveRegistration) => states.push([aor, state]),
    registrationAttempted: (_registration, attempt) => attempts.push(attempt),
    registrationRemoved: ({ aor }) => removed.push(aor),
  };
  const registrations = new Registrations({
    engine,
    clock,
    ids: new SeededIds(options.seed ?? 1),
    random: options.random ?? (() => 0.5),
    resolver: {
      resolve: (uri, done, { transport, tls }) => {
        if ('kind' in made.addresses) done(made.addresses);
        else {
          const port = uri.port ?? 5060;
          const targets = made.addresses.map((address) => ({
            transport,
            address,
            port,
            name: uri.host,
            tls,
          }));
          const ill = targets.filter(({ address }) => quarantined.has(address));
          done([...targets.filter((target) => !ill.includes(target)), ...ill]);
        }
      },
      quarantine: ({ address }) => void quarantined.add(address),
      isQuarantined: ({ address }) => quarantined.has(address),
      release: ({ address }) => void quarantined.delete(address),
    },
    observer,
    log: silentLogger,
    dialling: (address) => dialled.push(address),
    settings: options.settings,
  });
  engine.onClosed = (flow) => registrations.connectionClosed(flow);
  let version = 0;
  const made: Bench = {
    clock,
    engine,
    registrations,
    states,
    attempts,
    removed,
    dialled,
    quarantined,
    addresses: ['198.51.100.1'],
    apply: (described) => registrations.apply(snapshotOf(described, ++version)),
  };
  return made;
}

/** A registrar that takes everything, and lists our Contact with what was asked. */
export function granting(seconds?: number): ScriptedEngine['script'] {
  return (options) => {
    if (options.method !== 'REGISTER') return { response: answer(200) };
    return { response: answer(200, [`Contact: ${granted(options.contact ?? '', seconds)}`]) };
  };
}

export function granted(contact: string, seconds?: number): string {
  return seconds === undefined ? contact : contact.replace(/;expires=\d+/, `;expires=${seconds}`);
}

export function header(options: OutgoingRequestOptions, name: string): string | undefined {
  return options.headers?.find((field) => field.name.toLowerCase() === name.toLowerCase())?.value;
}
