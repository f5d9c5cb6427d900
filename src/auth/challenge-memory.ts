/**
 * What servers have asked, remembered: the next request then brings its credentials along, which saves a round trip and
 * an INVITE that is counted.
 */
import type { Secret } from '#directory/secret.js';
import type { Ids } from '#lib/ids.js';
import type { Challenge } from '#sip/digest.js';
import { detach } from '#sip/octets.js';

export interface Credentials {
  /** Digest user. */
  readonly username: string;
  readonly password: Secret;
}

/** A challenge as it was met last, and how often its nonce has been used. */
export interface Remembered {
  readonly challenge: Challenge;
  nonceCount: number;
  /** The cnonce that a -sess key was made with. */
  readonly sessionCnonce: string;
}

/** What the servers of one account have asked: one question of a registrar or UAS, one of a proxy. */
export class ChallengeMemory {
  www: Remembered | null = null;
  proxy: Remembered | null = null;

  forget(): void {
    this.www = null;
    this.proxy = null;
  }
}

export const CNONCE_BITS = 80;

/** The challenge outlives its message, so it keeps no part of it alive. */
export function remember(challenge: Challenge, ids: Ids): Remembered {
  return {
    challenge: {
      ...challenge,
      realm: detach(challenge.realm),
      nonce: detach(challenge.nonce),
      opaque: challenge.opaque === undefined ? undefined : detach(challenge.opaque),
      algorithmName: challenge.algorithmName === undefined ? undefined : detach(challenge.algorithmName),
    },
    nonceCount: 0,
    sessionCnonce: ids.token(CNONCE_BITS),
  };
}
