/**
 * A message as it may be shown: without what would let its reader log in or listen in. What is taken out leaves as many
 * asterisks, so that every length in the message stays true.
 */
import type { Octets } from '#sip/octets.js';

/** RFC 3261 §22: a header field that carries credentials, with the lines that continue it. */
const CREDENTIALS = /^((?:proxy-)?authorization[ \t]*:)((?:[^\r\n]|\r?\n[ \t])*)/gim;
const SCHEME = /^\s*[^\s,]+/;
/** Parameters of Digest credentials that say who and for what, and prove nothing (RFC 7616 §3.4). */
const HARMLESS = new Set(['username', 'realm', 'uri', 'algorithm', 'qop', 'nc', 'opaque', 'userhash']);
/** A parameter, or whatever else stands between commas. */
const PARAMETER = /([a-z0-9*_-]+)(\s*=\s*)("(?:[^"\\]|\\[\s\S])*"?|[^,\s]*)|[^,\s]+/gi;
/** RFC 4568 §9.1 (each `inline:` of a line), RFC 4567, RFC 8839 §5.4, RFC 4566 §5.12. */
const MEDIA_KEYS = [
  /(\binline:)([^\s|;]+)/gi,
  /^(a=key-mgmt:\S*[ \t]*)([^\r\n]+)/gim,
  /^(a=ice-pwd:)([^\r\n]+)/gim,
  /^(k=)([^\r\n]+)/gim,
] as const;

/** The message, with credentials and media keys masked. */
export function withoutSecrets(octets: Octets): Octets {
  let shown = octets.replace(
    CREDENTIALS,
    (_all, name: string, value: string) => name + maskedCredentials(value),
  );
  for (const pattern of MEDIA_KEYS) {
    shown = shown.replace(pattern, (_all, name: string, key: string) => name + stars(key));
  }
  return shown;
}

function maskedCredentials(value: string): string {
  const scheme = SCHEME.exec(value)?.[0] ?? '';
  const rest = value.slice(scheme.length);
  // Alone it is no scheme.
  if (rest.trim() === '') return stars(value);
  if (scheme.trim().toLowerCase() !== 'digest') return scheme + stars(rest);
  return (
    scheme +
    rest.replace(PARAMETER, (all, name: string | undefined, equals: string, given: string) => {
      if (name === undefined) return stars(all);
      return HARMLESS.has(name.toLowerCase()) ? all : name + equals + maskedValue(given);
    })
  );
}

function maskedValue(value: string): string {
  const inner = /^"([\s\S]*)"$/.exec(value)?.[1];
  return inner === undefined ? stars(value) : `"${stars(inner)}"`;
}

/** As many asterisks; line ends and blanks stay. */
function stars(text: string): string {
  return text.replace(/\S/g, '*');
}
