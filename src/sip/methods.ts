/** Request methods (RFC 3261 §7.1 and IANA's registry). Methods are case-sensitive. */
const NAMES = [
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

const METHODS: ReadonlyMap<string, string> = new Map(NAMES.map((name) => [name, name]));

/** The one shared string for a registered method, so that comparing methods compares pointers. */
export function internMethod(method: string): string {
  return METHODS.get(method) ?? method;
}

/** Registered, so refused with 405 where we do not serve it, and not with 501. */
export function isKnownMethod(method: string): boolean {
  return METHODS.has(method);
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
