/**
 * Text of a SIP message inside the gateway is a string of octets: one character (U+0000 to U+00FF) per byte, as
 * `latin1` decodes it. A body or a UTF-8 display name therefore crosses the gateway untouched, a slice costs no
 * copy, and a string's length is its length on the wire. Turn it into readable text only where it leaves for
 * people: `toText` for an API, `printable` for a log.
 */
export type Octets = string;

/** The octets of a text of ours, as UTF-8. */
export function fromText(text: string): Octets {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Octets read as UTF-8; what is not UTF-8 becomes U+FFFD. */
export function toText(octets: Octets): string {
  return Buffer.from(octets, 'latin1').toString('utf8');
}

/** Text fit for a log line: controls escaped, UTF-8 decoded, at most `limit` octets of it. */
export function printable(octets: Octets, limit = 200): string {
  // Detached, since records and logs outlive the message.
  if (octets.length <= limit && PLAIN.test(octets)) return detach(octets);
  const escaped = toText(octets.slice(0, limit)).replace(
    CONTROLS,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return octets.length > limit ? `${escaped}…` : escaped;
}

/** What nearly every value consists of; it needs no decoding. */
const PLAIN = /^[\x20-\x7e]*$/;
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/**
 * A copy that shares no memory with the message it was cut from. V8 keeps the whole parent of a slice alive, so
 * whatever is kept longer than a transaction (dialog ids, remote targets) should be detached.
 */
export function detach(octets: Octets): Octets {
  return Buffer.from(octets, 'latin1').toString('latin1');
}

/**
 * The text in one piece of its own: a string put together from parts keeps the parts, and a part may be a slice that
 * keeps a whole message. Reading a character makes V8 copy it together, in one pass; only a reading whose result
 * matters is not optimised away. Cheaper than `detach`, for text put together only.
 */
export function flattened(octets: Octets): Octets {
  return octets.charCodeAt(0) === 0 ? '' : octets;
}
