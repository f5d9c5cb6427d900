/**
 * A composition root: what the gateway remembers. Opens the store that the configuration names, finds the keys of its
 * secrets, and puts the directory on top. `app.ts` builds the gateway on it; `manage.ts` the commands.
 */

import type { Config } from '#config/schema.js';
import {
  createKeyFile,
  placeName,
  readSecretKeys,
  SECRET_KEY_VARIABLE,
  type SecretKeyPlace,
  secretKeyPlace,
} from '#config/secret-keys.js';
import { forgetAudit } from '#directory/audit.js';
import type { CompiledSnapshot } from '#directory/compiled-snapshot.js';
import type { Directory } from '#directory/directory.js';
import { Editor } from '#directory/editor.js';
import { LiveDirectory } from '#directory/live.js';
import type { ConfigPart } from '#directory/merge.js';
import { Secret } from '#directory/secret.js';
import { keyIdOf, SealFault, SecretBox, type SecretKeys } from '#directory/secret-box.js';
import type { Store } from '#directory/store.js';
import { Tokens } from '#directory/tokens.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { RedisStore } from '#store/redis/store.js';
import { SqliteStore } from '#store/sqlite/store.js';

/** What the configuration file says about trunks, numbers and agents. */
export function configPart(config: Config, snapshot: CompiledSnapshot): ConfigPart {
  return { snapshot, relayHeaders: config.calls.relayHeaders };
}

export interface KnowledgeOptions {
  readonly config: Config;
  readonly part: ConfigPart;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly log: Logger;
}

/** Says whether the keys are those that the store's secrets were sealed with. */
const CHECK = { kind: 'internal', id: 'secret-key-check' } as const;
const CHECK_PLACE = { ...CHECK, field: 'check' };
const CHECKED = 'trunkline';
const AUDIT_KEPT_MS = 90 * 86_400_000;
const AUDIT_SWEEP_MS = 3_600_000;

/** Rejects with StoreUnavailable that says what to mend. */
export async function openStore(config: Config, clock: Clock, ids: Ids, log: Logger): Promise<Store> {
  const { url } = config.redis;
  // A connection of its own: what the store asks may take longer than pacing can wait.
  if (config.store.kind === 'redis' && url !== null) return RedisStore.open({ url, clock, ids, log });
  return SqliteStore.open({ path: config.store.path, clock, log });
}

/**
 * The box for the store's secrets. Makes a key where there is none and nothing was sealed yet.
 * Rejects with an Error that says what to mend.
 */
export async function openBox(
  store: Store,
  place: SecretKeyPlace,
): Promise<{ readonly box: SecretBox; readonly created: boolean }> {
  const check = await store.get(CHECK.kind, CHECK.id);
  const sealed = check === undefined ? undefined : String(check.document.sealed);
  const found = readSecretKeys(place);
  if (found === undefined && sealed !== undefined) {
    throw new Error(
      `the secrets of the store were sealed with key ${keyIdOf(sealed)}, and there is no key: give it in ${SECRET_KEY_VARIABLE} or ${placeName(place)}`,
    );
  }
  const made = found === undefined && place.kind === 'file' ? createKeyFile(place.path) : undefined;
  const first = found ?? made;
  if (first === undefined) throw new Error(`${placeName(place)} holds no secret key`);
  let unread: SecretKeys | undefined = first;
  const box = new SecretBox(() => {
    const keys = unread ?? readSecretKeys(place);
    unread = undefined;
    if (keys === undefined) throw new Error(`${placeName(place)} is gone`);
    return keys;
  });
  if (sealed === undefined) await writeCheck(store, box);
  else {
    try {
      box.open(sealed, CHECK_PLACE);
    } catch (error) {
      if (!(error instanceof SealFault)) throw error;
      throw new Error(
        `the secrets of the store were sealed with key ${keyIdOf(sealed)}, but ${placeName(place)} has ${first.map(({ id }) => id).join(', ')}: give that key too`,
        { cause: error },
      );
    }
  }
  return { box, created: made !== undefined };
}

/** Seals the check with the current key. */
export async function writeCheck(store: Store, box: SecretBox): Promise<void> {
  const document = { sealed: box.seal(new Secret(CHECKED), CHECK_PLACE) };
  await store.transaction([{ ...CHECK, expect: 'any', organizationId: 'default', document }]);
}

export class Knowledge {
  readonly store: Store;
  readonly box: SecretBox;
  readonly live: LiveDirectory;
  readonly editor: Editor;
  readonly tokens: Tokens;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #sweep: CallbackTimer;

  private constructor(store: Store, box: SecretBox, { part, clock, ids, log }: KnowledgeOptions) {
    this.#clock = clock;
    this.#log = log;
    this.store = store;
    this.box = box;
    this.live = new LiveDirectory({ store, box, clock, log, config: part });
    this.editor = new Editor({ live: this.live, store, box, ids, clock });
    this.tokens = new Tokens({ store, memory: store.memory, ids, clock, log });
    this.#sweep = new CallbackTimer(() => void this.#forgetOld());
  }

  /** Rejects with an Error that says what to mend. */
  static async open(options: KnowledgeOptions): Promise<Knowledge> {
    const { config, clock, ids, log } = options;
    const store = await openStore(config, clock, ids, log);
    try {
      const place = secretKeyPlace(config.store.secretKeyFile);
      const { box, created } = await openBox(store, place);
      if (created) {
        log.warn(
          { file: placeName(place), key: box.keyId },
          'a key for secrets at rest was made: keep a copy of the file, without it they are lost',
        );
      }
      const knowledge = new Knowledge(store, box, options);
      await knowledge.live.start();
      await knowledge.tokens.start();
      knowledge.#clock.arm(knowledge.#sweep, AUDIT_SWEEP_MS);
      return knowledge;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** What routing and everybody else reads. */
  get directory(): Directory {
    return this.live.directory;
  }

  health(): { readonly ok: boolean; readonly detail: string } {
    const health = this.store.health();
    return health.ok ? this.live.health() : health;
  }

  /** Keys may have been added to their file. What cannot be read leaves those in force. */
  rereadKeys(): void {
    try {
      this.box.reload();
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      this.#log.error({ fault }, 'the secret keys were not read again: those in force stay');
    }
  }

  /** Stops following and closes the store. */
  async close(): Promise<void> {
    this.#clock.disarm(this.#sweep);
    this.tokens.stop();
    this.live.stop();
    await this.store.close();
  }

  async #forgetOld(): Promise<void> {
    try {
      const before = this.#clock.wallNow() - AUDIT_KEPT_MS;
      while ((await forgetAudit(this.store, before)) > 0);
    } catch (error) {
      this.#log.debug({ err: error }, 'old entries of the audit log were not removed');
    }
    this.#clock.arm(this.#sweep, AUDIT_SWEEP_MS);
  }
}
