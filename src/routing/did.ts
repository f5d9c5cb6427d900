/**
 * Where an INVITE names the number that was dialled. Each source answers the users it names, most telling first;
 * whether one of them is a number of ours is the caller's question.
 */
import { DID_SOURCES, type DidSource } from '#directory/trunk.js';
import { splitList } from '#sip/lists.js';
import type { SipRequest } from '#sip/message.js';
import { parseNameAddr } from '#sip/name-addr.js';
import type { Octets } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';

/** Diversion and History-Info grow with every forwarding; later entries than these say nothing about us. */
const MAX_ENTRIES = 8;

const NONE: readonly Octets[] = [];

/** The user parts that a source of this request names, with their escapes; empty when it names nobody. */
function didsFrom(request: SipRequest, source: DidSource): readonly Octets[] {
  switch (source) {
    case 'ruri':
      return one(userOf(request.uri));
    case 'to':
      return one(userOf(request.to.uri));
    case 'x-dest-user':
      return one(destUser(request.headers.get('x-dest-user')));
    case 'p-called-party-id':
      // RFC 7315 §4.2: the URI that the call was for before a server retargeted it.
      return one(userOfNameAddr(request.headers.get('p-called-party-id')));
    case 'diversion':
      // RFC 5806 §4: "the topmost diversion header field is the most recent diversion".
      return entries(request.headers.all('diversion'));
    case 'history-info':
      // RFC 7044 §5: entries stand in the order of retargeting, so the last ones are nearest to us.
      return entries(request.headers.all('history-info')).toReversed();
  }
}

/** Reads each source once, however many trunks ask for it. */
export class DidReader {
  readonly #request: SipRequest;
  readonly #read: (readonly Octets[] | undefined)[] = [];

  constructor(request: SipRequest) {
    this.#request = request;
  }

  from(source: DidSource): readonly Octets[] {
    const slot = DID_SOURCES.indexOf(source);
    let dids = this.#read[slot];
    if (dids === undefined) {
      dids = didsFrom(this.#request, source);
      this.#read[slot] = dids;
    }
    return dids;
  }
}

function one(user: Octets | undefined): readonly Octets[] {
  return user === undefined ? NONE : [user];
}

function entries(values: readonly Octets[]): Octets[] {
  const users: Octets[] = [];
  for (const value of values) {
    for (const entry of splitList(value)) {
      if (users.length >= MAX_ENTRIES) return users;
      const user = userOfNameAddr(entry);
      if (user !== undefined) users.push(user);
    }
  }
  return users;
}

/** voip.ms and others write a bare user; a URI is taken too. */
function destUser(value: Octets | undefined): Octets | undefined {
  if (value === undefined) return undefined;
  return value.includes(':') ? userOfNameAddr(value) : usable(value);
}

function userOfNameAddr(value: Octets | undefined): Octets | undefined {
  if (value === undefined) return undefined;
  const parsed = parseNameAddr(value);
  return parsed === undefined ? undefined : userOf(parsed.uri);
}

function userOf(text: Octets): Octets | undefined {
  const uri = parseUri(text);
  return uri?.user === undefined ? undefined : usable(uri.user);
}

/** `s` is what Asterisk and registrars put where no user is meant. */
function usable(user: Octets): Octets | undefined {
  // RFC 3261 §19.1.6: a telephone-subscriber keeps its parameters in the user part: `+14155550100;npdi`.
  const end = user.indexOf(';');
  const bare = end < 0 ? user : user.slice(0, end);
  return bare === '' || bare === 's' ? undefined : bare;
}
