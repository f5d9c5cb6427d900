/** From, To, Contact, Route and their like: `"Display" <uri>;params` (RFC 3261 §20.10, §25.1). */
import type { Octets } from './octets.js';

export interface NameAddr {
  /** Unquoted and unescaped; undefined when there is none. */
  readonly displayName: Octets | undefined;
  /** The URI as written, without angle brackets. */
  readonly uri: Octets;
  /** Header parameters; names in lower case, a flag parameter has the value ''. */
  readonly params: ReadonlyMap<string, Octets>;
  /** The `tag` parameter. */
  readonly tag: string | undefined;
}
