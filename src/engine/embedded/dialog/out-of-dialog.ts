/** Requests other than INVITE that we send outside a dialog (RFC 3261 §8.1): REGISTER, OPTIONS, SUBSCRIBE, MESSAGE. */
import { headerLine } from '#sip/fields.js';
import type { SipResponse } from '#sip/message.js';
import type { OutgoingRequestOptions, RequestOutcome, Source } from '../../engine.js';
import { type EngineFault, isFault } from '../../faults.js';
import type { ClientUser, RequestHead } from '../transaction/transaction.js';
import {
  DEFAULT_MAX_FORWARDS,
  type DialogContext,
  linesOf,
  newCallId,
  newTag,
  routeLinesOf,
} from './context.js';

/** `done` is called exactly once and never from inside this call. */
export function sendOutOfDialog(
  context: DialogContext,
  options: OutgoingRequestOptions,
  done: (outcome: RequestOutcome) => void,
): void {
  const fault = trySend(context, options, done);
  if (fault !== undefined) queueMicrotask(() => done({ kind: 'fault', fault }));
}

function trySend(
  context: DialogContext,
  options: OutgoingRequestOptions,
  done: (outcome: RequestOutcome) => void,
): EngineFault | undefined {
  const outlet = context.transports.outlet(options.target);
  if (isFault(outlet)) return outlet;
  const head: RequestHead = {
    method: options.method,
    uri: options.uri,
    from: `${options.from};tag=${options.fromTag ?? newTag(context)}`,
    to: options.to,
    callId: options.callId ?? newCallId(context),
    cseq: options.cseq ?? 1,
    maxForwards: options.maxForwards ?? DEFAULT_MAX_FORWARDS,
    routeLines: routeLinesOf(options.route),
  };
  const contact = options.contact === undefined ? '' : headerLine('Contact', options.contact);
  const sent = context.transactions.request(
    head,
    contact + linesOf(options.headers),
    options.body ?? '',
    outlet,
    new Waiting(done),
  );
  return isFault(sent) ? sent : undefined;
}

class Waiting implements ClientUser {
  readonly #done: (outcome: RequestOutcome) => void;

  constructor(done: (outcome: RequestOutcome) => void) {
    this.#done = done;
  }

  onResponse(response: SipResponse, source: Source): void {
    if (response.status >= 200) this.#done({ kind: 'response', response, source });
  }

  onFault(fault: EngineFault): void {
    this.#done({ kind: 'fault', fault });
  }
}
