/** Messages to keep, and a listener that they cross. */
import type { Listener } from '#engine/engine.js';
import type { TracedMessage } from '#trace/wire-trace.js';

export const LISTENER: Listener = {
  id: 'udp:192.0.2.9:5060',
  transport: 'udp',
  host: '192.0.2.9',
  port: 5060,
};

export function message(callId: string, more: readonly string[] = [], body = ''): string {
  return [
    'OPTIONS sip:a@192.0.2.9 SIP/2.0',
    'Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1',
    `Call-ID: ${callId}`,
    ...more,
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

export function traced(octets: string, changes: Partial<TracedMessage> = {}): TracedMessage {
  return {
    sequence: 0,
    at: Date.UTC(2030, 0, 1, 12, 0, 0, 250),
    direction: 'in',
    listener: LISTENER,
    address: '192.0.2.1',
    port: 5080,
    octets,
    length: octets.length,
    callId: 'x',
    ...changes,
  };
}
