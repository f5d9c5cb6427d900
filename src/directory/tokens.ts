/**
 * Tokens of the API: who may do what in which organisation. A token is shown once, when it is made; what is kept is its
 * SHA-256, which is enough for 256 random bits. All tokens are in memory and follow the store, so that a revoked one is
 * refused by every node within a second and a request waits for no database.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { Logger } from '#lib/logger.js';
import { type AuditAuthor, auditEntry } from './audit.js';
import type { Memory, ObjectStore, StoredObject } from './store.js';

/** `read`: everything that changes nothing. `write`: changes of the directory. `calls`: placing and ending calls. */
export const TOKEN_SCOPES = ['read', 'write', 'calls'] as const;
export type TokenScope = (typeof TOKEN_SCOPES)[number];

export interface TokenHolder {
  readonly tokenId: string;
  readonly organizationId: string;
  readonly scopes: readonly TokenScope[];
}

/** A token as it may be shown. */
export interface TokenView extends TokenHolder {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly revokedAt: number | null;
  /** To the minute. */
  readonly lastUsedAt: number | null;
}

export interface TokensOptions {
  readonly store: ObjectStore;
  readonly memory: Memory;
  readonly ids: Ids;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Entry {
  readonly holder: TokenHolder;
  readonly hash: Buffer;
  /** By the clock's `now`. */
  noted: number;
}

const ID_BITS = 80;
const SECRET_BYTES = 32;
/** `tl_<id>_<secret>`: told from others at sight, and by scanners for leaked secrets. */
const FORM = /^tl_([a-z2-7]{16})_([A-Za-z0-9_-]{43})$/;
/** Its use is noted at most so often. */
const NOTE_MS = 60_000;
const USE_KEPT_MS = 400 * 86_400_000;
const FOLLOW_AGAIN_MS = 1_000;

export class Tokens {
  readonly #store: ObjectStore;
  readonly #memory: Memory;
  readonly #ids: Ids;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #again: CallbackTimer;
  #entries = new Map<string, Entry>();
  #sequence = 0;
  #last: Promise<unknown> = Promise.resolve();
  #unwatch: (() => void) | undefined;
  #stopped = false;

  constructor({ store, memory, ids, clock, log }: TokensOptions) {
    this.#store = store;
    this.#memory = memory;
    this.#ids = ids;
    this.#clock = clock;
    this.#log = log;
    this.#again = new CallbackTimer(() => this.#follow());
  }

  /** Rejects with StoreUnavailable. */
  async start(): Promise<void> {
    await this.#load();
    this.#unwatch = this.#store.watch((sequence, kinds) => {
      if (sequence === this.#sequence) return;
      // Most of what is written are no tokens.
      if (kinds !== undefined && !kinds.has('token') && sequence === this.#sequence + 1)
        this.#sequence = sequence;
      else this.#follow();
    });
    await this.#catchUp();
  }

  stop(): void {
    this.#stopped = true;
    this.#unwatch?.();
    this.#clock.disarm(this.#again);
  }

  /** Whose it is; undefined: nobody's, or revoked. */
  authenticate(token: string): TokenHolder | undefined {
    const [, id, secret] = FORM.exec(token) ?? [];
    if (id === undefined || secret === undefined) return undefined;
    const entry = this.#entries.get(id);
    // The id is no secret; what follows it is compared in a time that tells nothing.
    if (entry === undefined || !timingSafeEqual(hashOf(secret), entry.hash)) return undefined;
    this.#note(entry);
    return entry.holder;
  }

  /** Rejects with StoreUnavailable. */
  async create(
    author: AuditAuthor,
    name: string,
    scopes: readonly TokenScope[],
  ): Promise<{ readonly token: string; readonly view: TokenView }> {
    const id = this.#ids.token(ID_BITS);
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const document = { name, scopes: [...scopes], hash: hashOf(secret).toString('hex'), revokedAt: null };
    const outcome = await this.#store.transaction([
      { kind: 'token', id, expect: 'absent', organizationId: author.organizationId, document },
      auditEntry(this.#clock, this.#ids, author, {
        action: 'create',
        kind: 'token',
        id,
        fields: ['name', 'scopes'],
      }),
    ]);
    const object = outcome.kind === 'committed' ? outcome.objects.find((each) => each.id === id) : undefined;
    if (object === undefined || object.document === null) throw new Error(`token ${id} was not written`);
    this.#take(object);
    return { token: `tl_${id}_${secret}`, view: await this.#view(object) };
  }

  /** Tokens of an organisation, or of all; those that were revoked too. In order of their ids. */
  async list(organizationId?: string): Promise<readonly TokenView[]> {
    const views: TokenView[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list('token', { organizationId, after, limit: 500 });
      for (const object of page) views.push(await this.#view(object));
      after = page.at(-1)?.id;
      if (after === undefined) return views;
    }
  }

  /** From now on it is nobody's. @returns false when the organisation has no such token */
  async revoke(author: AuditAuthor, id: string): Promise<boolean> {
    for (;;) {
      const object = await this.#store.get('token', id);
      if (object === undefined || object.organizationId !== author.organizationId) return false;
      if (typeof object.document.revokedAt === 'number') return true;
      const document = { ...object.document, revokedAt: this.#clock.wallNow() };
      const outcome = await this.#store.transaction([
        { kind: 'token', id, expect: object.version, organizationId: object.organizationId, document },
        auditEntry(this.#clock, this.#ids, author, { action: 'revoke', kind: 'token', id, fields: [] }),
      ]);
      if (outcome.kind !== 'committed') continue;
      this.#entries.delete(id);
      return true;
    }
  }

  #note(entry: Entry): void {
    const now = this.#clock.now();
    if (now - entry.noted < NOTE_MS) return;
    entry.noted = now;
    const at = String(this.#clock.wallNow());
    this.#memory.replace(useKey(entry.holder.tokenId), at, USE_KEPT_MS).catch((error: unknown) => {
      this.#log.debug({ err: error }, 'the use of a token was not noted');
    });
  }

  async #view(object: StoredObject): Promise<TokenView> {
    const { name, revokedAt } = object.document;
    const used = await this.#memory.recall(useKey(object.id));
    return {
      ...holderOf(object),
      name: typeof name === 'string' ? name : '',
      createdAt: object.createdAt,
      revokedAt: typeof revokedAt === 'number' ? revokedAt : null,
      lastUsedAt: used === undefined ? null : Number(used),
    };
  }

  #follow(): void {
    if (this.#stopped) return;
    const turn = this.#last.then(() => this.#catchUp());
    this.#last = turn.catch(() => {
      if (!this.#stopped) this.#clock.arm(this.#again, FOLLOW_AGAIN_MS);
    });
  }

  async #load(): Promise<void> {
    const { sequence, objects } = await this.#store.load(['token']);
    this.#sequence = sequence;
    this.#entries = new Map();
    for (const object of objects) this.#take(object);
  }

  async #catchUp(): Promise<void> {
    const changes = await this.#store.changes(this.#sequence);
    if (changes.kind === 'lost') return this.#load();
    this.#sequence = changes.sequence;
    for (const object of changes.objects) {
      if (object.kind !== 'token') continue;
      if (object.document === null) this.#entries.delete(object.id);
      else this.#take(object);
    }
  }

  #take(object: StoredObject): void {
    const { hash, revokedAt } = object.document;
    const known = this.#entries.get(object.id);
    if (typeof hash !== 'string' || !/^[0-9a-f]{64}$/.test(hash) || revokedAt !== null) {
      this.#entries.delete(object.id);
      return;
    }
    const noted = known?.noted ?? Number.NEGATIVE_INFINITY;
    this.#entries.set(object.id, { holder: holderOf(object), hash: Buffer.from(hash, 'hex'), noted });
  }
}

function holderOf({ id, organizationId, document: { scopes } }: StoredObject): TokenHolder {
  const given = Array.isArray(scopes) ? scopes : [];
  return { tokenId: id, organizationId, scopes: TOKEN_SCOPES.filter((scope) => given.includes(scope)) };
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function useKey(id: string): string {
  return `token-used/${id}`;
}
