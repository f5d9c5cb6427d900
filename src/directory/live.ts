/**
 * The directory in force: the config file's objects and the store's in one snapshot, kept up with the store whoever
 * writes to it. Everything that changes the snapshot goes one after the other. A failing store changes nothing: what
 * was known stays in force, and is caught up with when the store is back.
 */
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Logger } from '#lib/logger.js';
import type { CompiledSnapshot } from './compiled-snapshot.js';
import { Directory } from './directory.js';
import { DIRECTORY_KINDS, type DirectoryKind, isDirectoryKind, type Model, readObject } from './documents.js';
import {
  apply,
  type Change,
  type ConfigPart,
  type DirectoryProblem,
  merge,
  type Objection,
} from './merge.js';
import type { SecretBox } from './secret-box.js';
import {
  type ChangedObject,
  type ObjectStore,
  type Change as StoreChange,
  type StoredObject,
  StoreUnavailable,
  type TransactionOutcome,
} from './store.js';

/** What the store says of an object, besides its fields. */
export interface ObjectMeta {
  readonly organizationId: string;
  /** For ETag and `ifVersion`. */
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly updatedAt: number;
}

interface Entry extends ObjectMeta {
  /** undefined: it cannot be read. */
  readonly model: Model | undefined;
}

export interface LiveDirectoryOptions {
  readonly store: ObjectStore;
  readonly box: SecretBox;
  readonly clock: Clock;
  readonly log: Logger;
  readonly config: ConfigPart;
}

/** What to write, worked out against the snapshot in force. */
export interface Plan {
  readonly changes: readonly Change[];
  readonly writes: readonly StoreChange[];
}

export type Committed =
  | { readonly kind: 'committed'; readonly objects: readonly ChangedObject[] }
  | { readonly kind: 'refused'; readonly objections: readonly Objection[] };

/** Somebody who waits to write. */
interface Edit {
  readonly plan: (snapshot: CompiledSnapshot) => Promise<Plan | { readonly kind: string }>;
  readonly resolve: (outcome: Committed | { readonly kind: string }) => void;
  readonly reject: (error: unknown) => void;
  /** How often others were quicker. */
  tries: number;
}

/** On its way to the store; `snapshot` is what will be in force with it and with those before it. */
interface Pending {
  readonly edit: Edit;
  readonly planned: Plan;
  readonly snapshot: CompiledSnapshot;
}

/** Others write too: so often a write is worked out anew. */
const TRIES = 50;
/** Writes that go to the store together at most. */
const TOGETHER = 64;
/** Objects of a write that goes alone. */
const LARGE = 100;
const CATCH_UP_AGAIN_MS = 1_000;
/** Up to so many problems are looked at after each edit; for more everything is merged anew. */
const PROBLEMS_TRIED = 50;
/** Problems that are logged one by one. */
const PROBLEMS_LOGGED = 20;

export class LiveDirectory {
  /** The snapshot for everybody who only reads. */
  readonly directory: Directory;
  readonly #store: ObjectStore;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #again: CallbackTimer;
  #config: ConfigPart;
  #snapshot: CompiledSnapshot;
  #entries = new Map<string, Entry>();
  #problems: readonly DirectoryProblem[] = [];
  /** What is read but cannot be understood, by key. */
  #unreadable = new Map<string, DirectoryProblem>();
  #sequence = 0;
  /** What the store has said last. */
  #told = 0;
  #following = false;
  #fault: string | undefined;
  #unwatch: (() => void) | undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly #waiting: Edit[] = [];
  #committing = false;
  #stopped = false;

  constructor({ store, box, clock, log, config }: LiveDirectoryOptions) {
    this.#store = store;
    this.#box = box;
    this.#clock = clock;
    this.#log = log;
    this.#config = config;
    this.#snapshot = config.snapshot;
    this.directory = new Directory(config.snapshot);
    this.#again = new CallbackTimer(() => this.#follow());
  }

  /** Loads what the store has, and keeps up with it from now on. Rejects with StoreUnavailable. */
  async start(): Promise<void> {
    await this.#inTurn(() => this.#load());
    this.#unwatch = this.#store.watch((sequence) => {
      this.#told = sequence;
      if (sequence !== this.#sequence) this.#follow();
    });
    // What was written between loading and watching.
    await this.#inTurn(() => this.#catchUp());
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch?.();
    this.#clock.disarm(this.#again);
  }

  /** Objects of the store that are not, or not wholly, in force. */
  get problems(): readonly DirectoryProblem[] {
    return [...this.#unreadable.values(), ...this.#problems];
  }

  health(): { readonly ok: boolean; readonly detail: string } {
    if (this.#fault !== undefined) return { ok: false, detail: this.#fault };
    const { length } = this.problems;
    return {
      ok: true,
      detail:
        length === 0
          ? 'config and store are in force'
          : `${length} objects of the store are not wholly in force; the log names them`,
    };
  }

  /** undefined for objects of the config file, and for what is not there. */
  meta(kind: DirectoryKind, id: string): ObjectMeta | undefined {
    return this.#entries.get(`${kind}/${id}`);
  }

  /** Takes over another config file's objects. Without a promise: it is in force when this returns. */
  configure(config: ConfigPart): void {
    this.#config = config;
    this.#mergeAll();
  }

  /**
   * Writes, all or nothing. The plan is made again when somebody else has written meanwhile; it may say another thing
   * then, or refuse by giving something else than a plan. What is asked for while the store is writing goes to it together
   * afterwards, each in a transaction of its own.
   * Rejects with StoreUnavailable; whether it was written is then unknown, and will be seen.
   */
  commit<R extends { readonly kind: string }>(
    plan: (snapshot: CompiledSnapshot) => Promise<Plan | R>,
  ): Promise<Committed | R> {
    return new Promise((resolve, reject) => {
      // What a plan refuses with is handed back to who made it, and to nobody else.
      this.#waiting.push({ plan, resolve: resolve as Edit['resolve'], reject, tries: 0 });
      if (!this.#committing) this.#commitSoon();
    });
  }

  #commitSoon(): void {
    this.#committing = true;
    this.#inTurn(() => this.#commitWaiting())
      .catch((error: unknown) => {
        for (const { reject } of this.#waiting.splice(0)) reject(error);
      })
      .finally(() => {
        this.#committing = false;
        if (this.#waiting.length > 0) this.#commitSoon();
      });
  }

  async #commitWaiting(): Promise<void> {
    const base = this.#snapshot;
    const pending = await this.#planWaiting(base);
    if (pending.length === 0) return;
    let sequence = this.#sequence;
    // All at once: a store makes one sync to disk of them.
    const outcomes = await Promise.allSettled(
      pending.map(({ planned }) => this.#store.transaction(planned.writes, { ifSequence: sequence++ })),
    );
    await this.#conclude(base, pending, outcomes);
  }

  /**
   * Plans what waits, one on top of the other, and takes it from those who wait. Refused is only what comes first: the
   * others would be for the sake of something that is not written yet, so they wait for the next time.
   */
  async #planWaiting(base: CompiledSnapshot): Promise<Pending[]> {
    const pending: Pending[] = [];
    const keys = new Set<string>();
    // What cannot be in force is tried again after each edit: then one goes after the other.
    const most = this.#problems.length > 0 ? 1 : TOGETHER;
    let snapshot = base;
    for (let edit = this.#waiting[0]; edit !== undefined && pending.length < most; edit = this.#waiting[0]) {
      try {
        const planned = await edit.plan(snapshot);
        const refusal = 'kind' in planned ? planned : undefined;
        const draft = 'kind' in planned ? [] : apply(snapshot, planned.changes, this.#config.relayHeaders);
        if (refusal !== undefined || 'kind' in planned || !('finish' in draft)) {
          if (pending.length > 0) break;
          this.#waiting.shift();
          edit.resolve(refusal ?? { kind: 'refused', objections: 'finish' in draft ? [] : draft });
          continue;
        }
        const own = planned.writes.map(({ kind, id }) => `${kind}/${id}`);
        const large = own.length > LARGE;
        // What another has not written yet, this plan has not seen; and what is large is sent bit by bit.
        if (pending.length > 0 && (large || own.some((key) => keys.has(key)))) break;
        for (const key of own) keys.add(key);
        this.#waiting.shift();
        snapshot = draft.finish(snapshot.version + 1);
        pending.push({ edit, planned, snapshot });
        if (large) break;
      } catch (error) {
        this.#waiting.shift();
        edit.reject(error);
      }
    }
    return pending;
  }

  /** Puts in force what was written. What was not, because others have written, waits again, before everybody else. */
  async #conclude(
    base: CompiledSnapshot,
    pending: readonly Pending[],
    outcomes: readonly PromiseSettledResult<TransactionOutcome>[],
  ): Promise<void> {
    const changes: Change[] = [];
    let reached = base;
    let next = 0;
    const done: (() => void)[] = [];
    const told = ({ edit }: Pending, objects: readonly ChangedObject[]) =>
      done.push(() => edit.resolve({ kind: 'committed', objects }));
    for (; next < pending.length; next++) {
      const one = pending[next];
      const outcome = outcomes[next];
      if (one === undefined || outcome?.status !== 'fulfilled' || outcome.value.kind !== 'committed') break;
      const { sequence, objects } = outcome.value;
      this.#sequence = sequence;
      this.#remember(objects, one.planned.changes);
      changes.push(...one.planned.changes);
      reached = one.snapshot;
      told(one, objects);
    }
    // The config file may have been read again while the store was writing.
    if (next > 0 && this.#snapshot !== base) this.#mergeAll();
    else if (next > 0) this.#advance(reached, changes);
    for (const tell of done.splice(0)) tell();
    const again: Edit[] = [];
    let missed = false;
    for (; next < pending.length; next++) {
      const one = pending[next];
      const outcome = outcomes[next];
      if (one === undefined || outcome === undefined) continue;
      if (outcome.status === 'rejected') one.edit.reject(outcome.reason);
      else if (outcome.value.kind !== 'committed') again.push(one.edit);
      else {
        // Behind one whose fate is unknown: seen with what the store has now.
        missed = true;
        told(one, outcome.value.objects);
      }
    }
    if (again.length > 0 || missed) await this.#retry(again);
    for (const tell of done) tell();
  }

  async #retry(edits: readonly Edit[]): Promise<void> {
    try {
      await this.#catchUp();
    } catch (error) {
      for (const { reject } of edits) reject(error);
      return;
    }
    for (const edit of edits) edit.tries++;
    for (const { tries, reject } of edits) {
      if (tries >= TRIES) reject(new StoreUnavailable('others write to the store all the time: try again'));
    }
    this.#waiting.unshift(...edits.filter(({ tries }) => tries < TRIES));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #follow(): void {
    if (this.#stopped || this.#following) return;
    this.#following = true;
    const follow = async (): Promise<void> => {
      this.#following = false;
      // Our own write, mostly: what waited before this has seen to it.
      if (this.#told === this.#sequence) this.#fault = undefined;
      else await this.#catchUp();
    };
    this.#inTurn(follow).catch((error: unknown) => {
      this.#fault = error instanceof Error ? error.message : String(error);
      this.#log.warn({ fault: this.#fault }, 'the store cannot be followed: what was known stays in force');
      if (!this.#stopped) this.#clock.arm(this.#again, CATCH_UP_AGAIN_MS);
    });
  }

  async #load(): Promise<void> {
    const { sequence, objects } = await this.#store.load(DIRECTORY_KINDS);
    this.#sequence = sequence;
    this.#entries = new Map();
    this.#unreadable = new Map();
    for (const object of objects) this.#take(object);
    this.#mergeAll();
  }

  async #catchUp(): Promise<void> {
    const changes = await this.#store.changes(this.#sequence);
    this.#fault = undefined;
    if (changes.kind === 'lost') {
      await this.#load();
      return;
    }
    this.#sequence = changes.sequence;
    const taken: Change[] = [];
    for (const object of changes.objects) {
      const { kind, id } = object;
      if (!isDirectoryKind(kind)) continue;
      taken.push({ kind, id, model: object.document === null ? this.#drop(kind, id) : this.#take(object) });
    }
    if (taken.length === 0) return;
    const draft = apply(this.#snapshot, taken, this.#config.relayHeaders);
    if ('finish' in draft) this.#advance(draft.finish(this.#snapshot.version + 1), taken);
    else this.#mergeAll();
  }

  /** It comes into force, and with it what could not be before and can be now. */
  #advance(advanced: CompiledSnapshot, changes: readonly Change[]): void {
    if (this.#problems.length > PROBLEMS_TRIED) {
      this.#mergeAll();
      return;
    }
    let next = advanced;
    const { version } = advanced;
    const done = new Set(changes.map(({ kind, id }) => `${kind}/${id}`));
    const left: DirectoryProblem[] = [];
    for (const problem of this.#problems) {
      const { kind, id } = problem;
      const model = this.#entries.get(`${kind}/${id}`)?.model;
      if (model === undefined || done.has(`${kind}/${id}`)) continue;
      const again = apply(next, [{ kind, id, model }], this.#config.relayHeaders);
      if ('finish' in again) next = again.finish(version);
      else left.push(problem);
    }
    this.#problems = left;
    this.#swap(next);
  }

  #remember(objects: readonly ChangedObject[], changes: readonly Change[]): void {
    const models = new Map(changes.map((change) => [`${change.kind}/${change.id}`, change.model]));
    for (const object of objects) {
      const { kind, id } = object;
      if (!isDirectoryKind(kind)) continue;
      if (object.document === null) this.#drop(kind, id);
      else this.#enter(object, models.get(`${kind}/${id}`));
    }
  }

  /** Reads an object into memory; what cannot be read is reported. */
  #take(object: StoredObject): Model | undefined {
    const { kind, id } = object;
    const model = readObject(object, this.#box);
    if (typeof model !== 'string') return this.#enter(object, model);
    this.#enter(object, undefined);
    if (isDirectoryKind(kind)) {
      const problem: DirectoryProblem = { kind, id, leftOut: true, detail: model };
      this.#unreadable.set(`${kind}/${id}`, problem);
      this.#log.warn({ ...problem }, 'an object of the store cannot be read');
    }
    return undefined;
  }

  #enter(object: StoredObject, model: Model | undefined): Model | undefined {
    const { kind, id, organizationId, version, createdAt, updatedAt } = object;
    const key = `${kind}/${id}`;
    this.#entries.set(key, { organizationId, version, createdAt, updatedAt, model });
    this.#unreadable.delete(key);
    return model;
  }

  #drop(kind: DirectoryKind, id: string): undefined {
    this.#entries.delete(`${kind}/${id}`);
    this.#unreadable.delete(`${kind}/${id}`);
    return undefined;
  }

  #mergeAll(): void {
    const models: Model[] = [];
    for (const { model } of this.#entries.values()) if (model !== undefined) models.push(model);
    const { draft, problems } = merge(this.#config, models);
    this.#report(problems);
    this.#problems = problems;
    this.#swap(draft.finish(this.#snapshot.version + 1));
  }

  #report(problems: readonly DirectoryProblem[]): void {
    const known = new Set(this.#problems.map(({ kind, id, detail }) => `${kind}/${id} ${detail}`));
    const fresh = problems.filter(({ kind, id, detail }) => !known.has(`${kind}/${id} ${detail}`));
    for (const problem of fresh.slice(0, PROBLEMS_LOGGED)) {
      this.#log.warn(
        { ...problem },
        problem.leftOut
          ? 'an object of the store is left out'
          : 'an object of the store is not wholly in force',
      );
    }
    if (fresh.length > PROBLEMS_LOGGED) {
      this.#log.warn(
        { objects: fresh.length - PROBLEMS_LOGGED },
        'more objects of the store are not in force',
      );
    }
  }

  #swap(snapshot: CompiledSnapshot): void {
    this.#snapshot = snapshot;
    this.directory.replace(snapshot);
  }
}
