/**
 * Calls per second towards providers: the port. A call that is about to leave for a trunk joins the line of the
 * trunk's key, is given a slot when its turn has come, and sends its INVITE in that slot or gives it back. The line is
 * one over all nodes that share a Redis; without Redis it is this node's own. Both keep the same promises, which
 * `test/contract/pacing` states.
 *
 * Every new INVITE to a provider takes a slot: the first attempt, and each failover attempt. The repeat of a challenged
 * one does not, unless its trunk says so.
 */

/** What a key allows, as the directory has it now. */
export interface PaceRule {
  /** The line: organisation and cpsKey, or the trunk's id. */
  readonly key: string;
  /** New INVITEs per second, fractions allowed; the smallest of the members' limits. */
  readonly limit: number;
  /** Slots that may be taken at once after a rest; 1 is even spacing, and the only value a rolling second bears. */
  readonly burst: number;
  /** Calls that may wait; one more is refused. */
  readonly maxQueued: number;
}

export interface TicketRequest {
  /** Id of the call, and a count for its further attempts: unique over all nodes. */
  readonly id: string;
  readonly rule: PaceRule;
  /** 0 to 9; the highest goes first, then who came first. */
  readonly priority: number;
  /** Wait at most so long; then `onRefused('queue_timeout')`. */
  readonly timeoutMs: number;
  /**
   * The call needs time before it can send (an agent must be rung first): it is told `onPrepare` about `leadMs` before
   * its slot, and answers `Ticket.ready()`. Its slot: as if each of those before it took one of its own, ready in time or
   * not; so as many calls per second prepare as the limit has. Slots that come meanwhile go to those in line who are
   * ready. Absent: ready.
   */
  readonly leadMs?: number | undefined;
  /**
   * What another node needs to go on with the call when this one dies while it waits. Absent: nobody can (the caller is
   * held by this node's SIP), and the ticket dies with the node.
   */
  readonly payload?: string | undefined;
}

export type PaceRefusal =
  /** `maxQueued` calls wait already. Nothing was taken. */
  | 'queue_full'
  | 'queue_timeout'
  /** The pacer stops. */
  | 'shutdown'
  /**
   * This node was out of reach of the others for so long that one of them went on with the call (see `payload`): here
   * it is to be forgotten without a word to anybody.
   */
  | 'taken_over';

export interface Place {
  /** Calls before this one; 0: next. */
  readonly position: number;
  /** Milliseconds until its slot, as far as can be told. */
  readonly waitMs: number;
}

/** Never called from inside `enqueue`, `ready`, `cancel`; after `onSlot` returned true or `onRefused`, nothing follows. */
export interface TicketEvents {
  /** Where the call stands: once when it has joined, then when that has changed markedly, at most once a second. */
  onPlace?(place: Place): void;
  /** The slot is about `leadMs` away. Once, before `onSlot`; only for tickets with `leadMs`. */
  onPrepare?(): void;
  /**
   * Now. Send the INVITE before returning, and answer true; false gives the slot back, and the ticket waits on at its
   * place (until `ready` for one with `leadMs`).
   */
  onSlot(): boolean;
  onRefused(why: PaceRefusal): void;
}

export interface Ticket {
  readonly id: string;
  /** What is known now; undefined until the first answer of the line. */
  readonly place: Place | undefined;
  /** See `leadMs`. */
  ready(): void;
  /** Leaves the line; a slot that was set aside goes to the next. Idempotent, nothing is called after it. */
  cancel(): void;
  /** The rule of the key has changed. */
  rule(rule: PaceRule): void;
}

/** One line for people. Counts are over all nodes where the pacer is shared. */
export interface LineView {
  readonly key: string;
  /** Waiting by priority, the highest first. */
  readonly waiting: readonly { readonly priority: number; readonly count: number }[];
  readonly sentLastMinute: number;
  /** Milliseconds waited by those sent in the last minutes; null when none was. */
  readonly waitP50Ms: number | null;
  readonly waitP95Ms: number | null;
  /** Present pace in calls per second: the limit, or less while a provider's refusal is heeded. */
  readonly pace: number;
  readonly refusedByProvider: number;
  /** Slots that went by because a node was late for them; see `PaceObserver`. */
  readonly slotsLost: number;
}

/** A call that a dead node left behind. */
export type Orphan =
  /** It waited: this node owns its place in the line now; `payload` says what it was. `adopt` takes it up. */
  | {
      readonly kind: 'waiting';
      readonly id: string;
      readonly key: string;
      readonly payload: string;
      adopt(request: TicketRequest, events: TicketEvents): Ticket;
    }
  /** Its slot had been given, so its INVITE may have left: it must not be dialled again. */
  | { readonly kind: 'unknown'; readonly id: string; readonly key: string; readonly payload: string };

export interface Pacer {
  /** Other nodes go on with calls that this one leaves in line, if they have a payload. */
  readonly shared: boolean;
  /** Joins the line; the place keeps its order by time of this call. */
  enqueue(request: TicketRequest, events: TicketEvents): Ticket;
  /**
   * The provider refused an INVITE of this key for coming too fast (RFC 3261 §21.5.4 503, or its text): the key's pace
   * is lowered for a while and recovers.
   */
  slowDown(rule: PaceRule): void;
  line(key: string, limit: number): Promise<LineView>;
  /** The store of the lines can be reached; true for a pacer in memory. */
  health(): { readonly ok: boolean; readonly detail: string };
  /** Called for each call of a node that died; at most one node is asked about each. */
  onOrphan: ((orphan: Orphan) => void) | undefined;
  /** Lets go of everything; tickets get `onRefused('shutdown')`, those with a payload stay for other nodes. */
  stop(): Promise<void>;
}
