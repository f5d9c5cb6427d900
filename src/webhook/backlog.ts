/** What the room asks of the store. Its queue and objects serve it; `app.ts` wires them. */
export interface BacklogItem {
  readonly id: string;
  /** Items of one lane are handed out one after the other, in the order in which they were added. */
  readonly lane: string;
  readonly payload: string;
}

export interface ClaimedBacklogItem extends BacklogItem {
  /** Milliseconds since 1970. */
  readonly addedAt: number;
}

/** Deliveries that wait; they outlive the process. Every promise rejects when the store cannot be reached. */
export interface Backlog {
  /** @returns false when too many wait already; then none was added */
  add(items: readonly BacklogItem[]): Promise<boolean>;
  /** Takes items that are due, the oldest first, at most the first of each lane; others get them after `leaseMs`. */
  claim(limit: number, leaseMs: number): Promise<readonly ClaimedBacklogItem[]>;
  finish(id: string): Promise<void>;
  postpone(id: string, delayMs: number): Promise<void>;
}

/** A delivery that was given up. */
export interface DeadLetter {
  readonly id: string;
  readonly webhookId: string;
  readonly organizationId: string;
  readonly type: string;
  /** ISO 8601: of the occurrence, and of the last attempt. */
  readonly at: string;
  readonly failedAt: string;
  readonly detail: string;
  /** The occurrence as it was to be told. */
  readonly data: object;
}
