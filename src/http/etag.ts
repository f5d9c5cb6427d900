/**
 * Entity tags: two that read an object and both write it back learn of each other. If-Match is the client's choice;
 * when it is sent and the object has changed, nothing is written (412).
 */
import { createHash } from 'node:crypto';
import { Problem } from './problem.js';

/** A strong tag (RFC 9110 §8.8.3) of what was stored, which must be plain data with its keys in one order. */
export function etagOf(stored: unknown): string {
  return `"${createHash('sha256').update(JSON.stringify(stored)).digest('base64url').slice(0, 22)}"`;
}

/** The tags of If-Match or If-None-Match; `*` stands for itself, weak tags compare like strong ones. */
export function parseTags(header: string | undefined): readonly string[] | undefined {
  if (header === undefined) return undefined;
  return header
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''))
    .filter((tag) => tag !== '');
}

/** Throws a Problem (412) when `ifMatch` was sent and none of its tags is the object's. */
export function checkMatch(ifMatch: readonly string[] | undefined, current: string): void {
  if (ifMatch === undefined || ifMatch.includes('*') || ifMatch.includes(current)) return;
  throw changedMeanwhile();
}

/** What a change gets whose version is not the one in force. */
export function changedMeanwhile(): Problem {
  return new Problem(
    412,
    'changed_meanwhile',
    'Precondition failed',
    'the object has changed since it was read: read it again, and write with its new ETag',
  );
}
