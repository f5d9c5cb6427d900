/** The state of one dialog, early or confirmed (RFC 3261 §12): tags, sequence numbers, route set, remote target. */
import { splitList } from '#sip/lists.js';
import type { SipMessage, SipRequest, SipResponse } from '#sip/message.js';
import { parseNameAddr } from '#sip/name-addr.js';
import type { Octets } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';
import type { Source, Target } from '../../engine.js';
import type { RequestHead } from '../transaction/transaction.js';
import { nextHop, type PeerIdentity } from './next-hop.js';

const NO_ROUTE: readonly Octets[] = [];
const UNVERIFIED: PeerIdentity = { name: undefined, tls: undefined };

/** What a request of ours that may begin a dialog was sent with. */
interface SentRequest {
  readonly callId: Octets;
  readonly localTag: string;
  /** From, with the tag. */
  readonly local: Octets;
  readonly uri: Octets;
  readonly cseq: number;
  readonly identity: PeerIdentity;
}

export class DialogState {
  readonly callId: Octets;
  readonly localTag: string;
  readonly remoteTag: string;
  /** From value of our requests, with tag. */
  readonly local: Octets;
  /** To value of our requests, with tag. */
  readonly remote: Octets;
  remoteTarget: Octets;
  route: readonly Octets[];
  localSeq: number;
  /** −1 until the peer has sent a request. */
  remoteSeq: number;
  /** Where the peer last spoke from. */
  source: Source;
  readonly #identity: PeerIdentity;
  #target: Target | null = null;

  private constructor(fields: {
    callId: Octets;
    localTag: string;
    remoteTag: string;
    local: Octets;
    remote: Octets;
    remoteTarget: Octets;
    route: readonly Octets[];
    localSeq: number;
    remoteSeq: number;
    source: Source;
    identity: PeerIdentity;
  }) {
    this.callId = fields.callId;
    this.localTag = fields.localTag;
    this.remoteTag = fields.remoteTag;
    this.local = fields.local;
    this.remote = fields.remote;
    this.remoteTarget = fields.remoteTarget;
    this.route = fields.route;
    this.localSeq = fields.localSeq;
    this.remoteSeq = fields.remoteSeq;
    this.source = fields.source;
    this.#identity = fields.identity;
  }

  /** §12.1.1, the callee's side. */
  static ofServer(invite: SipRequest, source: Source, localTag: string): DialogState {
    const from = invite.headers.get('from') ?? '';
    return new DialogState({
      callId: invite.callId,
      localTag,
      remoteTag: invite.from.tag ?? '',
      local: `${invite.headers.get('to') ?? ''};tag=${localTag}`,
      remote: from,
      // A 2543 caller may leave Contact out; its From URI then is the best Request-URI we know.
      remoteTarget: invite.contact?.uri ?? invite.from.uri,
      // "The route set MUST be set to the list of URIs in the Record-Route header field from the request, taken in order".
      route: recordRoute(invite),
      localSeq: 0,
      remoteSeq: invite.cseq.number,
      source,
      identity: UNVERIFIED,
    });
  }

  /** §12.1.2, the caller's side, from a 1xx or 2xx with a To tag (or, from a 2543 callee, without). */
  static ofClient(sent: SentRequest, response: SipResponse, source: Source): DialogState {
    return new DialogState({
      callId: sent.callId,
      localTag: sent.localTag,
      remoteTag: response.to.tag ?? '',
      local: sent.local,
      remote: response.headers.get('to') ?? '',
      remoteTarget: response.contact?.uri ?? sent.uri,
      // "… from the response, taken in reverse order".
      route: recordRoute(response).toReversed(),
      localSeq: sent.cseq,
      remoteSeq: -1,
      source,
      identity: sent.identity,
    });
  }

  /** The subscriber's side, from a NOTIFY (RFC 6665 §4.4.1): a request of the peer makes a dialog that ours began. */
  static ofSubscriber(sent: SentRequest, notify: SipRequest, source: Source): DialogState {
    return new DialogState({
      callId: sent.callId,
      localTag: sent.localTag,
      remoteTag: notify.from.tag ?? '',
      local: sent.local,
      remote: notify.headers.get('from') ?? '',
      remoteTarget: notify.contact?.uri ?? sent.uri,
      // As in `ofServer`: the request has passed the proxies towards us.
      route: recordRoute(notify),
      localSeq: sent.cseq,
      remoteSeq: notify.cseq.number,
      source,
      identity: sent.identity,
    });
  }

  /**
   * §13.2.2.4: a 2xx recomputes the route set of its early dialog; other target refreshes (§12.2) replace the
   * remote target only.
   */
  refresh(message: SipMessage, source: Source, answeredInvite: boolean): void {
    if (message.contact !== undefined) this.remoteTarget = message.contact.uri;
    if (answeredInvite) this.route = recordRoute(message).toReversed();
    this.heardFrom(source);
    this.#target = null;
  }

  heardFrom(source: Source): void {
    if (source === this.source) return;
    this.source = source;
    this.#target = null;
  }

  /** Where requests go now. */
  target(): Target {
    this.#target ??= nextHop(parseUri(this.#nextUri()), this.source, this.#identity);
    return this.#target;
  }

  nextSeq(): number {
    return ++this.localSeq;
  }

  /** §12.2.1.1, loose and strict routes. */
  head(method: string, cseq: number, maxForwards: number): RequestHead {
    let uri = this.remoteTarget;
    let routeLines = '';
    const first = this.route[0];
    if (first !== undefined) {
      const firstUri = inBrackets(first);
      if (isLoose(firstUri)) {
        for (const value of this.route) routeLines += `Route: ${value}\r\n`;
      } else {
        uri = firstUri;
        for (let i = 1; i < this.route.length; i++) routeLines += `Route: ${this.route[i]!}\r\n`;
        routeLines += `Route: <${this.remoteTarget}>\r\n`;
      }
    }
    return {
      method,
      uri,
      from: this.local,
      to: this.remote,
      callId: this.callId,
      cseq,
      maxForwards,
      routeLines,
    };
  }

  #nextUri(): Octets {
    const first = this.route[0];
    return first === undefined ? this.remoteTarget : inBrackets(first);
  }
}

function recordRoute(message: SipMessage): readonly Octets[] {
  if (!message.headers.has('record-route')) return NO_ROUTE;
  return message.headers.all('record-route').flatMap(splitList);
}

function inBrackets(value: Octets): Octets {
  return parseNameAddr(value)?.uri ?? value;
}

function isLoose(uri: Octets): boolean {
  return parseUri(uri)?.params.has('lr') ?? false;
}
