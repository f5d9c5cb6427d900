/**
 * Messages that no peer has sent: what one call of a joined pair says to the other, in the form that the call room
 * reads. They are written out and parsed, so that they are what a peer's would be, and nothing is here but text.
 */
import { headerLines } from '#sip/fields.js';
import type { HeaderField, SipMessage, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { parseMessage } from '#sip/parse.js';
import { SDP_TYPE } from '#sip/sdp.js';
import { requestLine, statusLine } from '#sip/serialise.js';

/** Beyond what any peer's message has, whose fields these are, with ours. */
const LIMITS = { maxHeaders: 1_024, maxBytes: 1_048_576 } as const;

/** Where a field must stand and nobody looks. RFC 2606 §2 keeps the domain for it. */
const HERE = '<sip:trunkline.invalid>';

export interface WrittenRequest {
  readonly method: string;
  /** name-addr. Default one that means nothing. */
  readonly from?: Octets | undefined;
  readonly callId: Octets;
  readonly maxForwards?: number | undefined;
  readonly headers: readonly HeaderField[];
  readonly body?: Octets | undefined;
}

/** Throws RangeError when a header field cannot be sent: callers check what comes from people. */
export function writtenRequest(request: WrittenRequest): SipRequest {
  const { method, callId, headers, body = '' } = request;
  const head = commonLines(method, request.from ?? HERE, callId);
  const forwards = `Max-Forwards: ${request.maxForwards ?? 70}\r\n`;
  return parsed(
    requestLine(method, 'sip:trunkline.invalid') + head + forwards + ending(headers, body),
  ) as SipRequest;
}

/** As `writtenRequest`. */
export function writtenResponse(
  method: string,
  status: number,
  reason: Octets,
  headers: readonly HeaderField[],
  body: Octets = '',
): SipResponse {
  const head = commonLines(method, HERE, 'joined');
  return parsed(statusLine(status, reason) + head + ending(headers, body)) as SipResponse;
}

export const SDP_FIELD: HeaderField = { name: 'Content-Type', value: SDP_TYPE };

function commonLines(method: string, from: Octets, callId: Octets): Octets {
  return headerLines([
    { name: 'Via', value: 'SIP/2.0/UDP trunkline.invalid;branch=z9hG4bKjoined' },
    { name: 'From', value: `${from};tag=joined` },
    { name: 'To', value: HERE },
    { name: 'Call-ID', value: callId },
    { name: 'CSeq', value: `1 ${method}` },
  ]);
}

function ending(headers: readonly HeaderField[], body: Octets): Octets {
  return `${headerLines(headers)}Content-Length: ${body.length}\r\n\r\n${body}`;
}

function parsed(octets: Octets): SipMessage {
  const message = parseMessage(octets, LIMITS);
  if (message.kind === 'fault') throw new RangeError(`a message of ours cannot be read: ${message.detail}`);
  return message;
}
