/**
 * Names of what lies in Redis. They all begin with one prefix, so that a Redis may be shared, and whatever came from
 * outside is escaped: a name can neither break out of its place nor become another's.
 */

/** Begins every key and channel. */
export const PREFIX = 'trunkline';

/**
 * `trunkline:<part>:<part>…`. In a part, everything but letters, digits and `- . _ + @ ~` is percent-encoded (RFC 3986
 * §2.1, of its UTF-8 bytes), so different parts never make one key.
 */
export function redisKey(...parts: readonly string[]): string {
  let key = PREFIX;
  for (const part of parts) key += `:${escapePart(part)}`;
  return key;
}

/** One part of a key, escaped as `redisKey` does. */
export function escapePart(part: string): string {
  if (/^[\w.+@~-]*$/.test(part)) return part;
  let escaped = '';
  for (const byte of Buffer.from(part, 'utf8')) {
    const character = String.fromCharCode(byte);
    escaped += /[\w.+@~-]/.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return escaped;
}

/** The part that `escapePart` wrote. Throws URIError for what it did not write. */
export function unescapePart(escaped: string): string {
  return decodeURIComponent(escaped);
}
