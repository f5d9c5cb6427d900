/**
 * The last attempts of one registration, packed: with 20,000 registrations fifty objects each would weigh more than
 * all else. Numbers stand in one typed array; what is the same from attempt to attempt is kept once.
 */
import type { RegistrationAttempt } from './registration-view.js';

const TIMELINE_MAX = 50;
const FIRST_CAPACITY = 4;
/** Numbers per attempt: time, latency and status, granted expiry and foreign bindings. */
const STRIDE = 3;
/** Two numbers in one: both are far below 2^26. */
const SHIFT = 1024;
const LATENCY_MAX = 2 ** 32;

/** What seldom changes between attempts. */
type Circumstances = Omit<
  RegistrationAttempt,
  'at' | 'latencyMs' | 'status' | 'grantedExpirySeconds' | 'foreignBindings'
>;

export interface TimelineEntry extends Circumstances {
  /** Wall clock, milliseconds. */
  readonly atMs: number;
  readonly latencyMs: number;
  readonly status: number | null;
  readonly grantedExpirySeconds?: number | undefined;
  readonly foreignBindings?: number | undefined;
}

export class Timeline {
  #numbers = new Float64Array(FIRST_CAPACITY * STRIDE);
  readonly #circumstances: Circumstances[] = [];
  #oldest = 0;

  get size(): number {
    return this.#circumstances.length;
  }

  add(entry: TimelineEntry): void {
    const size = this.#circumstances.length;
    let slot = size;
    if (size === TIMELINE_MAX) {
      slot = this.#oldest;
      this.#oldest = (slot + 1) % TIMELINE_MAX;
    } else if (size * STRIDE === this.#numbers.length) this.#grow();
    const before = this.#circumstances[slot === 0 ? size - 1 : slot - 1];
    const numbers = this.#numbers;
    numbers[slot * STRIDE] = entry.atMs;
    const latency = Math.min(Math.max(Math.round(entry.latencyMs), 0), LATENCY_MAX);
    numbers[slot * STRIDE + 1] = latency * SHIFT + (entry.status ?? 0);
    const foreign = Math.min(entry.foreignBindings ?? -1, SHIFT - 2) + 1;
    numbers[slot * STRIDE + 2] = ((entry.grantedExpirySeconds ?? -1) + 1) * SHIFT + foreign;
    this.#circumstances[slot] =
      before !== undefined && isSame(before, entry) ? before : circumstancesOf(entry);
  }

  /** Oldest first. */
  attempts(): RegistrationAttempt[] {
    const { length } = this.#circumstances;
    return Array.from({ length }, (_, index) => this.#attempt((this.#oldest + index) % length));
  }

  #attempt(slot: number): RegistrationAttempt {
    const numbers = this.#numbers;
    const answer = numbers[slot * STRIDE + 1]!;
    const status = answer % SHIFT;
    const binding = numbers[slot * STRIDE + 2]!;
    const granted = Math.floor(binding / SHIFT) - 1;
    const foreign = (binding % SHIFT) - 1;
    return {
      at: new Date(numbers[slot * STRIDE]!).toISOString(),
      latencyMs: Math.floor(answer / SHIFT),
      status: status === 0 ? null : status,
      ...(granted < 0 ? {} : { grantedExpirySeconds: granted }),
      ...(foreign < 0 ? {} : { foreignBindings: foreign }),
      ...this.#circumstances[slot]!,
    };
  }

  #grow(): void {
    const capacity = Math.min((this.#numbers.length / STRIDE) * 2, TIMELINE_MAX);
    const grown = new Float64Array(capacity * STRIDE);
    grown.set(this.#numbers);
    this.#numbers = grown;
  }
}

function isSame(a: Circumstances, b: Circumstances): boolean {
  return (
    a.target === b.target &&
    a.fault === b.fault &&
    a.verdict === b.verdict &&
    a.realm === b.realm &&
    a.algorithm === b.algorithm &&
    a.natAddress === b.natAddress &&
    a.detail === b.detail
  );
}

function circumstancesOf(entry: TimelineEntry): Circumstances {
  const { target, fault, verdict, realm, algorithm, natAddress, detail } = entry;
  return {
    target,
    fault,
    verdict,
    ...(realm === undefined ? {} : { realm }),
    ...(algorithm === undefined ? {} : { algorithm }),
    ...(natAddress === undefined ? {} : { natAddress }),
    detail,
  };
}
