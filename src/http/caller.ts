/** Who asks, and what that one may do. */
import { Problem } from './problem.js';

/**
 * `read`: everything that changes nothing. `write`: changes of the directory, probes, tokens. `calls`: placing,
 * ending and transferring calls. None includes another.
 */
export const SCOPES = ['read', 'write', 'calls'] as const;
export type Scope = (typeof SCOPES)[number];

export type Caller =
  /** The bearer of the token that the gateway was started with: of every organisation, with every scope. */
  | { readonly kind: 'administrator' }
  | {
      readonly kind: 'token';
      readonly tokenId: string;
      readonly organizationId: string;
      readonly scopes: readonly Scope[];
    };

/** For logs and the audit log: `administrator`, or `token ID`. */
export function callerName(caller: Caller): string {
  return caller.kind === 'administrator' ? 'administrator' : `token ${caller.tokenId}`;
}

/** Throws a Problem (403) unless the caller may do what needs `access`. */
export function checkAccess(caller: Caller, access: Scope | 'administrator'): void {
  if (caller.kind === 'administrator') return;
  if (access !== 'administrator' && caller.scopes.includes(access)) return;
  throw new Problem(
    403,
    'insufficient_scope',
    'Forbidden',
    access === 'administrator'
      ? "only the administrator's token may do this"
      : `this token has no scope ${access}: it has ${caller.scopes.join(', ') || 'none'}`,
  );
}
