/**
 * Whether the two ends of a call can send media to each other, as far as their session descriptions tell: media pass the
 * gateway by, so an address that means nothing to the other side is silence in one direction.
 */
import type { Octets } from '#sip/octets.js';
import { descriptionIn, mediaAddresses } from '#sip/sdp.js';
import type { CallWarning, EndedBy } from './observer.js';

/** One end: what it said last, and the address that its messages come from; '' where that is not known. */
export interface MediaEnd {
  /** Its name in the record. */
  readonly side: EndedBy;
  readonly body: Octets;
  readonly address: string;
}

/** How far an address is understood: on its own machine, in its own network, everywhere. */
const LOCAL = 0;
const PRIVATE = 1;
const PUBLIC = 2;

const LOOPBACK = /^(?:127\.|::1$)/;
/** RFC 1918, RFC 6598, RFC 3927; RFC 4193, RFC 4291 §2.5.6. */
const NETWORK =
  /^(?:10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|169\.254\.|f[cd]|fe[89ab])/i;
/** "The connection address of zero" (RFC 3264 §8.4) puts a stream on hold. */
const HELD = /^(?:0\.0\.0\.0|::)$/;

/**
 * The address that `end` wants its media at, where `other` cannot reach it: a private one although `end` itself, or
 * `other`, comes from the Internet, or one of its own machine although they are two. Undefined where nothing tells so;
 * with ICE candidates (RFC 8839) the ends find a way by themselves.
 */
export function unreachableMedia(end: MediaEnd, other: MediaEnd): string | undefined {
  const needed = Math.max(reach(end.address), reach(other.address));
  if (needed === LOCAL || end.body === '') return undefined;
  const { addresses, hasCandidates } = mediaAddresses(descriptionIn(end.body));
  if (hasCandidates) return undefined;
  return addresses.find((address) => !HELD.test(address) && reach(address) < needed);
}

/** Empty where nothing tells that media will not arrive. */
export function mediaWarnings(a: MediaEnd, b: MediaEnd): readonly CallWarning[] {
  const ofA = unreachableMedia(a, b);
  const ofB = unreachableMedia(b, a);
  if (ofA === undefined && ofB === undefined) return NONE;
  return [
    ...(ofA === undefined ? [] : [warning(a, b, ofA)]),
    ...(ofB === undefined ? [] : [warning(b, a, ofB)]),
  ];
}

const NONE: readonly CallWarning[] = [];

function warning({ side, address }: MediaEnd, other: MediaEnd, media: string): CallWarning {
  const from = address === '' ? '' : ` at ${address}`;
  const to = other.address === '' ? '' : ` at ${other.address}`;
  return {
    code: 'private_media_address',
    side,
    detail: `the ${side}${from} wants its media at ${media}, which the ${other.side}${to} may not reach: one-way audio`,
  };
}

function reach(address: string): number {
  if (address === '' || LOOPBACK.test(address)) return LOCAL;
  return NETWORK.test(address) ? PRIVATE : PUBLIC;
}
