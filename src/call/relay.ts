/** Requests inside the dialogs, and their answers, as they cross from one leg to the other. */
import type { DialogRequestOptions, DialogRequestOutcome, InDialogRequest } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import type { HeaderField, SipMessage, SipRequest, SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import {
  ACK,
  allowFor,
  PROGRESS,
  REQUEST,
  RESPONSE,
  relayed,
  requireFor,
  supportedFor,
} from './header-policy.js';
import { sendablePhrase, toldStatus } from './hunt.js';

/** What this message's sender can and wants, for the other side; Allow only where it was said. */
function capabilities({ headers }: SipMessage, refers: boolean, out: HeaderField[]): void {
  if (headers.has('allow')) out.push({ name: 'Allow', value: allowFor(headers, refers) });
  agreements(headers, out);
}

/** Extensions that both ends must know of. */
export function agreements(headers: SipMessage['headers'], out: HeaderField[]): void {
  const supported = supportedFor(headers, false);
  if (supported !== '') out.push({ name: 'Supported', value: supported });
  const required = requireFor(headers);
  if (required !== '') out.push({ name: 'Require', value: required });
}

/**
 * A request of one leg as the other is sent it.
 * @param refers the other is an agent that may ask for transfers
 */
export function relayedRequest(
  request: InDialogRequest,
  maxForwards: number,
  refers: boolean,
): DialogRequestOptions {
  const message: SipRequest = request.request;
  const headers = relayed(message, REQUEST, []);
  capabilities(message, refers, headers);
  return {
    method: message.method,
    headers,
    body: message.body,
    maxForwards: Math.min(message.maxForwards - 1, maxForwards),
    onProgress: message.method === 'INVITE' ? (response) => passOn(request, response) : undefined,
  };
}

/** A 1xx to a relayed re-INVITE; the engine has acknowledged it where that was asked. */
function passOn(request: InDialogRequest, response: SipResponse): void {
  request.respond(response.status, sendablePhrase(response), relayed(response, PROGRESS, []), response.body);
}

/** Refuses a request in a dialog; 501 says what is allowed. */
export function refuseRequest(request: InDialogRequest, status: number): void {
  const headers =
    status === 501
      ? [{ name: 'Allow', value: 'INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE' }]
      : [];
  request.respond(status, reasonPhrase(status), headers);
}

/**
 * Answers a request with what the other side said to it.
 * @param refers who asked is an agent that may ask for transfers
 */
export function answerRelayed(
  request: InDialogRequest,
  outcome: DialogRequestOutcome,
  refers: boolean,
): void {
  if (outcome.kind === 'fault') {
    const status = statusOfFault(outcome.fault);
    request.respond(status, reasonPhrase(status), [
      { name: 'Reason', value: `SIP;cause=${status};text="${outcome.fault.kind}"` },
    ]);
    return;
  }
  const { response, ack } = outcome;
  const status = response.status < 300 ? response.status : toldStatus(response.status);
  const headers = relayed(response, RESPONSE, []);
  capabilities(response, refers, headers);
  if (ack !== undefined) {
    // An offer in the re-INVITE has its answer now. Without one the 2xx made the offer, and the answer comes with the
    // ACK of the side that asked.
    if (request.request.body !== '' || response.body === '') ack();
    else request.onAck = (answer) => ack(relayed(answer, ACK, []), answer.body);
  }
  request.respond(
    status,
    status === response.status ? sendablePhrase(response) : reasonPhrase(status),
    headers,
    response.body,
  );
}

/**
 * Tells what the two sides have agreed on by a relayed re-INVITE or UPDATE (RFC 3264 §8), after `answerRelayed`.
 * `said(true, …)` is the description of the side that asked.
 */
export function heedSessions(
  request: InDialogRequest,
  outcome: DialogRequestOutcome,
  said: (asker: boolean, body: Octets) => void,
): void {
  const { method, body } = request.request;
  if (method !== 'INVITE' && method !== 'UPDATE') return;
  if (outcome.kind === 'fault' || outcome.response.status >= 300 || outcome.response.body === '') return;
  said(false, outcome.response.body);
  if (body !== '') {
    said(true, body);
    return;
  }
  // The 2xx has offered: the answer comes with the ACK.
  const pass = request.onAck;
  request.onAck = (ack) => {
    if (ack.body !== '') said(true, ack.body);
    pass?.(ack);
  };
}

/** The status that one side is answered with when its request met a fault on the other. */
export function statusOfFault(fault: EngineFault): number {
  switch (fault.kind) {
    case 'timeout':
      return 408;
    case 'glare':
      return 491;
    case 'capacity':
    case 'engine-down':
      return 503;
    default:
      return 481;
  }
}
