/** Transfers, which the API or the agent asks for: who may be transferred, by which trunk, and the call that comes of it. */

import type { Calls } from '#call/calls.js';
import type { NoHandover } from '#call/handover.js';
import type { CallRecord } from '#call/observer.js';
import type { PhoneNumber } from '#directory/number.js';
import type { Dialog, InDialogRequest } from '#engine/engine.js';
import type { OutboundDecision, OutboundQuestion } from '#routing/outbound-decision.js';
import { REASONS } from '#routing/refusals.js';
import { reasonPhrase } from '#sip/status.js';
import { type OrderRefusal, refusal } from './originations.js';
import { ReferSubscription, readRefer } from './referral.js';
import { type TransferListener, TransferredCall } from './transferred-call.js';

export interface TransferOrder {
  /** Who is to talk to the telephone: as `to` of a call. */
  readonly to: string;
  /** Default: the `transferTrunkId` of the call's number, else the trunk of the call. */
  readonly trunkId?: string | undefined;
  /** How long they may ring. Default: the trunk's. */
  readonly ringTimeoutSeconds?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** The call that is made for it. */
export interface OrderedTransfer {
  readonly kind: 'ordered';
  readonly id: string;
}

/** The call has nobody to transfer now. */
export interface NoTransfer {
  readonly kind: 'impossible';
  /** `no_agent`: two telephones talk to each other, after a transfer. */
  readonly why: NoHandover | 'no_agent';
}

export interface TransfersOptions {
  readonly calls: Calls;
  readonly decide: (question: OutboundQuestion) => OutboundDecision;
  readonly number: (id: string) => PhoneNumber | undefined;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export class Transfers {
  readonly #options: TransfersOptions;

  constructor(options: TransfersOptions) {
    this.#options = options;
    options.calls.onRefer = (id, request, dialog) => this.#refer(id, request, dialog);
  }

  /**
   * Calls somebody for the telephone of this call. What becomes of it is the new call's to say; the old one goes on
   * until the telephone talks to whom it was transferred to.
   */
  transfer(
    id: string,
    order: TransferOrder,
    listener?: TransferListener,
  ): OrderedTransfer | NoTransfer | OrderRefusal {
    const { calls, decide, random } = this.#options;
    const entry = calls.live(id);
    if (entry === undefined || entry.state !== 'answered') return { kind: 'impossible', why: 'not_answered' };
    const record = entry.record();
    if (record.transferredFrom !== null) return { kind: 'impossible', why: 'no_agent' };
    const decision = decide(this.#question(record, order));
    if (decision.kind === 'refuse') return refusal(decision.code, decision);
    const full = calls.fullness(undefined);
    if (full !== null) return refusal(full);
    const callId = calls.newId();
    const transferred = new TransferredCall({
      id: callId,
      clock: calls.clock,
      log: calls.log,
      random,
      listener,
    });
    const side = entry.promise(transferred, callId);
    if (typeof side === 'string') return { kind: 'impossible', why: side };
    if (side.said === '') {
      side.withdraw();
      return { kind: 'impossible', why: 'not_answered' };
    }
    calls.originate(transferred.begin(side, decision.routes[0]!.from), decision, {
      id: callId,
      transferredFrom: id,
      ringTimeoutMs: order.ringTimeoutSeconds === undefined ? undefined : order.ringTimeoutSeconds * 1000,
    });
    return { kind: 'ordered', id: callId };
  }

  /** The agent of a call asks for its transfer (RFC 3515). Always answers. */
  #refer(id: string, request: InDialogRequest, dialog: Pick<Dialog, 'request'>): void {
    const referral = readRefer(request.request);
    if (referral.kind === 'refused') {
      request.respond(referral.status, referral.reason);
      return;
    }
    const subscription = referral.notifies ? new ReferSubscription(dialog, request) : undefined;
    const ordered = this.transfer(id, { to: referral.to }, subscription);
    switch (ordered.kind) {
      case 'ordered':
        request.respond(202, reasonPhrase(202), [
          { name: 'X-Trunkline-Call-Id', value: ordered.id },
          // RFC 4488 §4: said so that the agent waits for no NOTIFY.
          ...(subscription === undefined ? [{ name: 'Refer-Sub', value: 'false' }] : []),
        ]);
        subscription?.begin();
        return;
      case 'impossible': {
        const status = ordered.why === 'transfer_pending' ? 491 : 603;
        request.respond(status, reasonPhrase(status), [{ name: 'X-Trunkline-Reason', value: ordered.why }]);
        return;
      }
      case 'refused': {
        const { status, phrase } = REASONS[ordered.code];
        const headers = [{ name: 'X-Trunkline-Reason', value: ordered.code }];
        if (status === 0) request.respond(603, reasonPhrase(603), headers);
        else request.respond(status, phrase, headers);
      }
    }
  }

  #question(record: CallRecord, { to, trunkId, headers }: TransferOrder): OutboundQuestion {
    const number = record.phoneNumberId === null ? undefined : this.#options.number(record.phoneNumberId);
    const own = record.trunkId?.startsWith('agent:') === true ? undefined : (record.trunkId ?? undefined);
    return {
      agentId: record.agentId ?? '',
      organizationId: record.organizationId ?? undefined,
      to,
      from: number?.phoneNumber,
      trunkId: trunkId ?? number?.transferTrunkId ?? own,
      headers: headers === undefined ? undefined : new Map(Object.entries(headers)),
    };
  }
}
