/**
 * Session descriptions (RFC 8866) as far as a signalling gateway that joins two legs must know them (RFC 3264): find
 * one in a message, answer one with silence, tell whether two mean the same, and keep one origin over a dialog. What
 * the media are is the two ends' affair, so lines that are not named here are never looked at. Pure.
 */
import type { Octets } from './octets.js';

export const SDP_TYPE = 'application/sdp';

/** The lines without their ends; a lone LF is let pass, as RFC 8866 §5 asks of parsers. */
function linesOf(sdp: Octets): Octets[] {
  return sdp.split(/\r?\n/).filter((line) => line !== '');
}

/**
 * The session description that a message carries: its body, or the first part of that type in a multipart body (RFC
 * 5621 §8; carriers send ISUP beside it). '' when there is none.
 */
export function sdpIn(contentType: Octets | undefined, body: Octets): Octets {
  if (body === '') return '';
  const type = contentType ?? '';
  if (isSdpType(type)) return body;
  const boundary = /^\s*multipart\/[^;]*;.*\bboundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(type);
  if (boundary === null) return '';
  const delimiter = `--${boundary[1] ?? boundary[2]}`;
  // The first piece is the preamble, the last begins with the closing "--" (RFC 2046 §5.1.1).
  for (const piece of `\r\n${body}`.split(`\r\n${delimiter}`).slice(1)) {
    if (piece.startsWith('--')) break;
    const head = piece.indexOf('\r\n\r\n');
    if (head < 0) continue;
    const partType = /\r\ncontent-type[ \t]*:[ \t]*([^\r\n]*)/i.exec(piece.slice(0, head))?.[1] ?? '';
    if (isSdpType(partType)) return piece.slice(head + 4);
  }
  return '';
}

/** The description in a body whose Content-Type was not kept: all of it, or its part in a multipart body (RFC 2046 §5.1). */
export function descriptionIn(body: Octets): Octets {
  const boundary = /^(?:\r\n)?--([^\r\n"]{1,70}?)[ \t]*\r\n/.exec(body)?.[1];
  return boundary === undefined ? body : sdpIn(`multipart/mixed;boundary="${boundary}"`, body);
}

/** A host name where an address should be is no address: what it stands for is not looked up. */
const CONNECTION = /^c=IN IP[46] ([0-9a-f.:]+)/i;

/**
 * Where the streams that are on are to be sent: the connection address of each (RFC 8866 §5.7), its own or the session's.
 * Without multicast suffixes; what is not an address is left out.
 */
export function mediaAddresses(sdp: Octets): {
  readonly addresses: readonly string[];
  readonly hasCandidates: boolean;
} {
  const addresses: string[] = [];
  let hasCandidates = false;
  let session: string | undefined;
  /** Of the medium that is being read; undefined: none is, or it is off. */
  let current: string | undefined;
  let isOn = false;
  const close = (): void => {
    if (isOn && current !== undefined && !addresses.includes(current)) addresses.push(current);
  };
  let inMedium = false;
  for (const line of linesOf(sdp)) {
    if (line.startsWith('m=')) {
      close();
      inMedium = true;
      isOn = line.split(' ', 2)[1] !== '0';
      current = session;
    } else if (line.startsWith('c=')) {
      const address = CONNECTION.exec(line)?.[1];
      current = address;
      if (!inMedium) session = address;
    } else if (line.startsWith('a=candidate:')) {
      hasCandidates = true;
    }
  }
  close();
  return { addresses, hasCandidates };
}

const isSdpType = (value: Octets): boolean => value.split(';', 1)[0]!.trim().toLowerCase() === SDP_TYPE;

/** An offer can be answered: it is of version 0 and has at least one medium. */
export function isUsableOffer(sdp: Octets): boolean {
  return sdp.startsWith('v=0') && /(?:^|\n)m=/.test(sdp);
}

/** RTP profiles that an answer without keys of ours can take up. */
const OPEN_PROFILES: ReadonlySet<string> = new Set(['RTP/AVP', 'RTP/AVPF']);

/**
 * An answer that accepts the offered streams and lets nothing flow (RFC 3264 §6.1, `a=inactive`): same media lines in
 * the same order, same times. A stream that needs keys or candidates, which only a real end has, is refused with port
 * 0, and a later offer takes it up again (§8.2). `sessionId`: digits.
 */
export function heldAnswer(offer: Octets, sessionId: string): Octets {
  const lines = linesOf(offer);
  const firstMedium = lines.findIndex((line) => line.startsWith('m='));
  const session = firstMedium < 0 ? lines : lines.slice(0, firstMedium);
  const family = session.some((line) => /^c=IN IP6 /i.test(line)) ? 'IP6 ::' : 'IP4 0.0.0.0';
  const times = session.filter((line) => line.startsWith('t='));
  const out = ['v=0', `o=- ${sessionId} 1 IN ${family}`, 's=-', `c=IN ${family}`];
  // RFC 3264 §6: "The "t=" line in the answer MUST be equal to that of the offer."
  out.push(...(times.length > 0 ? times : ['t=0 0']));
  for (let at = firstMedium; at >= 0 && at < lines.length; ) {
    let next = at + 1;
    while (next < lines.length && !lines[next]!.startsWith('m=')) next++;
    out.push(...heldMedium(lines[at]!, lines.slice(at + 1, next)));
    at = next;
  }
  return `${out.join('\r\n')}\r\n`;
}

/** Fields that an answer repeats: what the formats mean, and which medium this is (RFC 5888 §9.1). */
const REPEATED = /^a=(?:rtpmap|fmtp|mid):/;
/** The discard port: streams are on, and nothing is sent there. */
const DISCARD = 9;

function heldMedium(line: Octets, attributes: readonly Octets[]): Octets[] {
  const [media = 'm=audio', port = '0', profile = 'RTP/AVP', ...formats] = line.split(' ');
  const on = port !== '0' && OPEN_PROFILES.has(profile.toUpperCase());
  const rest = [profile, ...formats].join(' ');
  const mid = attributes.filter((attribute) => attribute.startsWith('a=mid:'));
  if (!on) return [`${media} 0 ${rest}`, ...mid];
  const repeated = attributes.filter((attribute) => REPEATED.test(attribute));
  return [`${media} ${DISCARD} ${rest}`, ...repeated, 'a=inactive'];
}

/** Both describe the same session: equal but for the origin, whose version counts announcements and not media. */
export function sameSession(a: Octets, b: Octets): boolean {
  return a === b || withoutOrigin(a) === withoutOrigin(b);
}

const withoutOrigin = (sdp: Octets): string =>
  linesOf(sdp)
    .filter((line) => !line.startsWith('o='))
    .map((line) => line.trimEnd())
    .join('\n');

const ORIGIN = /^o=(\S+) (\d{1,20}) (\d{1,20}) (\S+ \S+ \S+)\s*$/;

/**
 * The origin that one end is shown over its dialog, whoever speaks behind the gateway: RFC 3264 §8 wants an unchanged
 * `o=` but for a version that grows with each change. The first description's origin is kept; as long as others come
 * from the same they pass untouched, afterwards they are given it.
 */
export class ShownOrigin {
  #user = '';
  #id = '';
  #place = '';
  #version = 0n;
  /** The last description shown, as shown. */
  #shown: Octets = '';
  #foreign = false;

  /** The description as the end is to see it. */
  show(sdp: Octets): Octets {
    const lines = linesOf(sdp);
    const at = lines.findIndex((line) => line.startsWith('o='));
    const origin = at < 0 ? null : ORIGIN.exec(lines[at]!);
    // Not ours to mend.
    if (origin === null) return sdp;
    const [, user = '', id = '', version = '0', place = ''] = origin;
    if (this.#shown === '') {
      this.#user = user;
      this.#id = id;
      this.#place = place;
      this.#version = BigInt(version);
      this.#shown = sdp;
      return sdp;
    }
    this.#foreign ||= user !== this.#user || id !== this.#id || place !== this.#place;
    if (!this.#foreign) {
      this.#version = BigInt(version);
      this.#shown = sdp;
      return sdp;
    }
    // The same content keeps its version.
    if (!sameSession(sdp, this.#shown)) this.#version += 1n;
    lines[at] = `o=${this.#user} ${this.#id} ${this.#version} ${this.#place}`;
    this.#shown = `${lines.join('\r\n')}\r\n`;
    return this.#shown;
  }
}
