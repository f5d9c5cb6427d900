/** Request methods (RFC 3261 §7.1 and IANA's registry). Methods are case-sensitive. */
import type { Octets } from './octets.js';

const NAMES: readonly string[] = [
  'INVITE',
  'ACK',
  'BYE',
  'CANCEL',
  'OPTIONS',
  'REGISTER',
  'PRACK',
  'UPDATE',
  'INFO',
  'MESSAGE',
  'SUBSCRIBE',
  'NOTIFY',
  'REFER',
  'PUBLISH',
];

const KNOWN: ReadonlySet<string> = new Set(NAMES);

const BY_LENGTH: readonly (readonly string[])[] = Array.from({ length: 16 }, (_, length) =>
  NAMES.filter((name) => name.length === length),
);

/** The method in `[start, end)`; for a registered one always the same string, so that comparing compares pointers. */
export function methodAt(text: Octets, start: number, end: number): string {
  const candidates = BY_LENGTH[end - start];
  if (candidates !== undefined) {
    for (let i = 0; i < candidates.length; i++) {
      if (text.startsWith(candidates[i]!, start)) return candidates[i]!;
    }
  }
  return text.slice(start, end);
}

/** Registered, so refused with 405 where we do not serve it, and not with 501. */
export function isKnownMethod(method: string): boolean {
  return KNOWN.has(method);
}

/**
 * Methods whose Contact becomes a remote target (§12.1.1, §12.2.2) or a binding (§10.3), so that a malformed one
 * must not be let in.
 */
export function usesContact(method: string): boolean {
  switch (method) {
    case 'INVITE':
    case 'UPDATE':
    case 'SUBSCRIBE':
    case 'NOTIFY':
    case 'REFER':
    case 'REGISTER':
      return true;
    default:
      return false;
  }
}
