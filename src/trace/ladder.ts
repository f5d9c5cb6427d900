/** A trace as text for a terminal: first one line for each message, then the messages. */
import { toText } from '#sip/octets.js';
import { hostPort } from '#sip/uri.js';
import { withoutSecrets } from './secrets.js';
import type { Trace, TracedMessage } from './wire-trace.js';

/** What each message of a trace belongs to, in a few words: `caller`, `attempt 1`. */
export type LegOf = (callId: string) => string;

/** Control characters that a terminal would obey; line ends are ours. */
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]/g;
const START_LINE_MAX = 160;

/** `INVITE sip:+14155550100@…` or `200 OK`, of a message that may be broken. */
export function startLine(octets: string): string {
  const line = octets.slice(0, START_LINE_MAX).split(/\r?\n/, 1)[0] ?? '';
  return readable(line.replace(/^SIP\/2\.0 /i, '').replace(/ SIP\/2\.0$/i, ''));
}

/** The message without secrets, as text: UTF-8 decoded, control characters escaped, lines ended by `\n`. */
export function messageText(message: TracedMessage): string {
  const { octets, length } = message;
  const text = readable(withoutSecrets(octets).replaceAll('\r\n', '\n'));
  const lost = length - octets.length;
  return lost === 0 ? text : `${text}\n[${lost} more octets are not kept]\n`;
}

/** The whole text, ended by a line feed. */
export function ladder({ messages, lostUntil }: Trace, legOf: LegOf): string {
  const notes =
    lostUntil === undefined
      ? []
      : [`Messages from before ${new Date(lostUntil).toISOString()} may have been given up.`];
  if (messages.length === 0) return [...notes, 'There are no messages.', ''].join('\n');
  const peers = messages.map(
    ({ listener, address, port }) => `${listener.transport} ${hostPort(address, port)}`,
  );
  const peerWidth = Math.max(...peers.map((peer) => peer.length));
  const legs = messages.map(({ callId }) => legOf(callId));
  const legWidth = Math.max(...legs.map((leg) => leg.length));
  const head = (message: TracedMessage, index: number): string =>
    [
      new Date(message.at).toISOString(),
      legs[index]!.padEnd(legWidth),
      message.direction === 'in' ? '<-' : '->',
      peers[index]!.padEnd(peerWidth),
      startLine(message.octets),
    ].join('  ');
  return [
    ...notes,
    ...messages.map(head),
    '',
    ...messages.flatMap((message, index) => [
      `─── ${head(message, index)}`,
      '',
      messageText(message).trimEnd(),
      '',
    ]),
  ].join('\n');
}

function readable(text: string): string {
  return toText(text).replace(CONTROLS, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
