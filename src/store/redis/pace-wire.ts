/** What goes to the pacing script and what comes back, as JSON. Lua writes no empty lists, so each may be absent. */

export type PaceOp =
  /**
   * Joins, or is still here: id, priority, milliseconds since it joined, how long it needs to prepare (false: it is ready),
   * payload, its score once it has one.
   */
  | readonly ['e', string, number, number, number | false, string | false, string | false]
  /** Leaves. */
  | readonly ['c', string]
  /** Its INVITE left: slot, so many milliseconds late, milliseconds waited. */
  | readonly ['s', string, string, number, number]
  /** The slot went by. */
  | readonly ['l', string, string]
  /** The slot was not used; the ticket waits until it is ready. */
  | readonly ['b', string, string]
  | readonly ['r', string]
  /** The provider refused an INVITE for its speed. */
  | readonly ['p'];

export interface LineSection {
  /** Escaped key of the line. */
  readonly k: string;
  /** intervalMs, peakMs, burst, windowCount, windowMs, toleranceMs, maxQueued. */
  readonly r: readonly number[];
  readonly o?: readonly PaceOp[] | undefined;
  /** Tickets whose place is asked for. */
  readonly q?: readonly string[] | undefined;
  /** Give no slot for a window: the line was used without Redis. */
  readonly w?: 1 | undefined;
}

export interface PaceRequest {
  readonly n: string;
  readonly x?: number | undefined;
  readonly run?: string | undefined;
  readonly hb?: 1 | undefined;
  /** With a heartbeat: so many milliseconds of this node's knowledge of Redis's time are in doubt. */
  readonly far?: number | undefined;
  readonly bye?: 1 | undefined;
  readonly slow?: readonly number[] | undefined;
  readonly lines: readonly LineSection[];
}

/** Ticket, milliseconds until its slot, the slot as Redis names it, and how late it may be used. */
export type Grant = readonly [id: string, inMs: number, slot: string, toleranceMs: number];

/** What a line has to say, in an answer or unasked. */
export interface LineNews {
  readonly k: string;
  readonly g?: readonly Grant[];
  /** Those that are to prepare, in so many milliseconds, and when their slots are. */
  readonly a?: readonly (readonly [id: string, inMs: number, slotInMs: number])[];
  /** Milliseconds until the next slot: in answers. */
  readonly s?: number;
  /** Milliseconds until the next slot, when the next in line is this node's: it asks for it in time. */
  readonly h?: number;
  /** Tickets that are in, with their scores. */
  readonly d?: readonly (readonly [id: string, score: string])[];
  readonly p?: readonly (readonly [id: string, position: number, waitMs: number])[];
  readonly full?: readonly string[];
  readonly taken?: readonly string[];
  readonly gone?: readonly string[];
  /** Slots that passed without this node having heard of them. */
  readonly lost?: number;
  /** The part of the limit that there is now, where less than all. */
  readonly f?: number;
}

export interface PaceAnswer {
  /** Redis's steady time, milliseconds. */
  readonly v: string;
  readonly e: number;
  readonly lines?: readonly LineNews[];
  /** Lines, tickets, whether they wait (w) or may have been dialled (c), payloads, scores. */
  readonly orphans?: readonly (readonly [
    key: string,
    id: string,
    state: 'w' | 'c',
    payload: string,
    score: string,
  ])[];
  /** Redis did not know this node: it was thought dead, or Redis has forgotten. */
  readonly unknown?: 1;
  /** Nodes alive, and this one's place among them. */
  readonly nodes?: number;
  readonly rank?: number;
}
