/**
 * Secrets at rest: AES-256-GCM (NIST SP 800-38D) with a key that is not where the data is. What a sealed secret belongs
 * to (kind, id, field) is authenticated along with it, so one object's secret cannot be put into another's place. Each
 * carries the id of its key: several keys may be known, the first one seals.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { Secret } from './secret.js';

/** Marks a sealed text and its form. */
const PREFIX = 'sealed:1:';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

export interface SecretKey {
  /** Told from the key, and tells nothing about it. */
  readonly id: string;
  readonly bytes: Buffer;
}

/** Why a sealed secret cannot be opened. Names the object and the key's id, never the content. */
export class SealFault extends Error {
  override readonly name = 'SealFault';
}

/** What a sealed secret belongs to. */
export interface SealedPlace {
  readonly kind: string;
  readonly id: string;
  /** `tls.clientKey`. */
  readonly field: string;
}

/**
 * Reads a key: 32 bytes in base64, base64url or hex.
 * @throws Error that says what to mend, without the text
 */
export function parseSecretKey(text: string): SecretKey {
  const trimmed = text.trim();
  const bytes = /^[0-9a-fA-F]{64}$/.test(trimmed)
    ? Buffer.from(trimmed, 'hex')
    : /^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)
      ? Buffer.from(trimmed, 'base64')
      : undefined;
  if (bytes?.length !== KEY_BYTES) {
    throw new Error(
      'a secret key is 32 random bytes, as base64 (44 characters) or hex (64): openssl rand -base64 32',
    );
  }
  return keyOf(bytes);
}

/** A new key from the operating system's randomness. */
export function makeSecretKey(): SecretKey {
  return keyOf(randomBytes(KEY_BYTES));
}

/** Base64, as the key file and TRUNKLINE_SECRET_KEY have it. */
export function formatSecretKey({ bytes }: SecretKey): string {
  return bytes.toString('base64');
}

export function isSealed(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** The id of the key that sealed it; undefined when it is not sealed. */
export function keyIdOf(sealed: string): string | undefined {
  return isSealed(sealed) ? sealed.slice(PREFIX.length).split(':', 1)[0] : undefined;
}

/** The keys in force: the first one seals, the others only open (former ones, while secrets are sealed anew). */
export type SecretKeys = readonly [SecretKey, ...SecretKey[]];

export class SecretBox {
  readonly #read: () => SecretKeys;
  #current: SecretKey;
  #keys: ReadonlyMap<string, SecretKey>;

  /** @param read gives the keys; asked again for a secret of an unknown key, since somebody may have added one */
  constructor(read: () => SecretKeys) {
    this.#read = read;
    const keys = read();
    this.#current = keys[0];
    this.#keys = byId(keys);
  }

  /** Id of the key that seals. */
  get keyId(): string {
    return this.#current.id;
  }

  /** Whether the key that seals has sealed this. */
  isCurrent(sealed: string): boolean {
    return keyIdOf(sealed) === this.#current.id;
  }

  /** Reads the keys again. Throws what `read` throws, and changes nothing then. */
  reload(): void {
    const keys = this.#read();
    this.#current = keys[0];
    this.#keys = byId(keys);
  }

  seal(secret: Secret, place: SealedPlace): string {
    // A random nonce: with 96 bits, 2^32 seals under one key stay far below the bound of SP 800-38D §8.3.
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#current.bytes, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(associated(place, this.#current.id));
    const body = Buffer.concat([cipher.update(secret.reveal(), 'utf8'), cipher.final()]);
    const sealed = Buffer.concat([nonce, body, cipher.getAuthTag()]).toString('base64url');
    return `${PREFIX}${this.#current.id}:${sealed}`;
  }

  /** @throws SealFault */
  open(sealed: string, place: SealedPlace): Secret {
    const what = `${place.kind}/${place.id} ${place.field}`;
    const match = /^sealed:1:([0-9a-f]{16}):([A-Za-z0-9_-]+)$/.exec(sealed);
    if (match === null) throw new SealFault(`${what} is not a sealed secret`);
    const keyId = match[1]!;
    if (!this.#keys.has(keyId)) this.reload();
    const key = this.#keys.get(keyId);
    if (key === undefined) {
      throw new SealFault(
        `${what} was sealed with key ${keyId}, which is not here (here: ${[...this.#keys.keys()].join(', ')})`,
      );
    }
    const bytes = Buffer.from(match[2]!, 'base64url');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new SealFault(`${what} is damaged`);
    const decipher = createDecipheriv('aes-256-gcm', key.bytes, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(associated(place, keyId));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      const body = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
      return new Secret(Buffer.concat([body, decipher.final()]).toString('utf8'));
    } catch (error) {
      throw new SealFault(`${what} is damaged, or belongs to another object`, { cause: error });
    }
  }
}

function byId(keys: SecretKeys): ReadonlyMap<string, SecretKey> {
  return new Map(keys.map((key) => [key.id, key]));
}

function keyOf(bytes: Buffer): SecretKey {
  const id = createHash('sha256').update('trunkline key id\0').update(bytes).digest('hex').slice(0, 16);
  return { id, bytes };
}

/** NUL stands in none of the parts. */
function associated({ kind, id, field }: SealedPlace, keyId: string): Buffer {
  return Buffer.from([PREFIX, keyId, kind, id, field].join('\0'), 'utf8');
}
