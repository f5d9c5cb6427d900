/**
 * What goes between the gateway's thread and the one that has the database. Documents go as the JSON that is stored: a
 * string is copied faster than a tree, and objects are read once, where they are needed.
 */
import type { Expected, ObjectKey, ObjectKind } from '#directory/store.js';

/** An object that is to be written; document null: to be deleted. */
export type WrittenRow = readonly [
  kind: ObjectKind,
  id: string,
  expect: Expected,
  organizationId: string,
  document: string | null,
];

/** An object of a back-up. */
export type RestoredRow = readonly [
  kind: ObjectKind,
  id: string,
  organizationId: string,
  createdAt: number,
  updatedAt: number,
  document: string,
];

export type WrittenOutcome =
  /** `createdAt` of each row, in their order. */
  | { readonly kind: 'committed'; readonly sequence: number; readonly createdAt: readonly number[] }
  | { readonly kind: 'conflict'; readonly conflicts: readonly (ObjectKey & { readonly version: number })[] }
  | { readonly kind: 'stale'; readonly sequence: number };

/** A JSON array of objects, or a part of one. */
export interface Chunk {
  readonly text: string;
  /** To ask for `more` with; undefined: this is all. */
  readonly cursor: number | undefined;
}

/** The state as of one sequence, to be read chunk by chunk. */
export interface Reading extends Chunk {
  readonly sequence: number;
}

/** What the thread is started with. */
export interface ThreadData {
  readonly path: string;
  readonly deletionsKept: number;
  readonly memoryEntriesMax: number;
}

export interface Request {
  readonly id: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

export type Reply =
  | { readonly id: number; readonly value: unknown }
  /** `unavailable`: the disk's or a lock's fault, not ours. */
  | { readonly id: number; readonly fault: string; readonly unavailable: boolean };

/** The first word of the thread: it has the database, or why not. */
export type FirstWord = { readonly opened: true } | { readonly opened: false; readonly fault: string };
