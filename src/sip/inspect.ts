/** The checks of RFC 3261 §8.2.1, §8.2.2 and §16.3 that need no state: method, Request-URI scheme, extensions. */
import { splitList } from './lists.js';
import type { HeaderField, SipRequest } from './message.js';
import { isKnownMethod } from './methods.js';
import { reasonPhrase } from './status.js';

export interface Rejection {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderField[];
}

export interface Understood {
  readonly methods: ReadonlySet<string>;
  /** Option tags in lower case. */
  readonly extensions: ReadonlySet<string>;
}

/** What a request deserves before anybody looks at its meaning; null when nothing is wrong. Never for ACK. */
export function inspectRequest(request: SipRequest, understood: Understood): Rejection | null {
  // §17: an ACK is never answered; §8.2.2.3: Require is ignored in a CANCEL or in an ACK for a non-2xx.
  if (request.method === 'ACK') return null;
  if (!understood.methods.has(request.method)) {
    const status = isKnownMethod(request.method) ? 405 : 501;
    return rejection(status, [{ name: 'Allow', value: [...understood.methods].join(', ') }]);
  }
  const scheme = request.requestUri.scheme;
  if (scheme !== 'sip' && scheme !== 'sips' && scheme !== 'tel') return rejection(416, []);
  if (request.method === 'CANCEL') return null;
  // We stand where both a proxy (§16.3: Proxy-Require) and a user agent (§8.2.2.3: Require) would.
  if (!request.headers.has('require') && !request.headers.has('proxy-require')) return null;
  const unsupported: string[] = [];
  for (const key of ['require', 'proxy-require']) {
    for (const value of request.headers.all(key)) {
      for (const tag of splitList(value)) {
        if (!understood.extensions.has(tag.toLowerCase())) unsupported.push(tag);
      }
    }
  }
  // §21.4.21: the tags go back in Unsupported, as the peer spelled them.
  return unsupported.length === 0
    ? null
    : rejection(420, [{ name: 'Unsupported', value: unsupported.join(', ') }]);
}

function rejection(status: number, headers: HeaderField[]): Rejection {
  return { status, reason: reasonPhrase(status), headers };
}
