/** Transfers that the API asks for: who may be transferred, by which trunk, and the call that comes of it. */

import type { Calls } from '#call/calls.js';
import type { NoHandover } from '#call/handover.js';
import type { CallRecord } from '#call/observer.js';
import type { PhoneNumber } from '#directory/number.js';
import type { OutboundDecision, OutboundQuestion } from '#routing/outbound-decision.js';
import { type OrderRefusal, refusal } from './originations.js';
import { TransferredCall } from './transferred-call.js';

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
  }

  /**
   * Calls somebody for the telephone of this call. What becomes of it is the new call's to say; the old one goes on
   * until the telephone talks to whom it was transferred to.
   */
  transfer(id: string, order: TransferOrder): OrderedTransfer | NoTransfer | OrderRefusal {
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
    const transferred = new TransferredCall({ id: callId, clock: calls.clock, log: calls.log, random });
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
