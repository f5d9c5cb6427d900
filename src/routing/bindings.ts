/**
 * What outbound calls ask about registrations: the port. A call on a trunk that registers leaves by the way that is
 * registered, by the same connection and from the same listener, since providers refuse the others; and a trunk whose
 * password is rejected is not chosen.
 */
import type { Target } from '#engine/engine.js';
import type { Octets } from '#sip/octets.js';

/** A binding that is in force now. */
export interface OutboundBinding {
  readonly registrationId: string;
  /** `sip:user@domain`. */
  readonly aor: Octets;
  /** User part of the Contact that is registered: an INVITE with it in its Contact is known to the registrar as ours. */
  readonly contactUser: Octets;
  /** The server that holds the binding, with its connection (`flow`) and the listener that it leaves from. */
  readonly target: Target;
  /** Service-Route (RFC 3608 §5: preloaded, in this order), else the way through the outbound proxy; may be empty. */
  readonly route: readonly Octets[];
}

export type TrunkStanding =
  /** No registration is wanted: the provider knows us by address or by digest alone. */
  | { readonly kind: 'unregistered' }
  | { readonly kind: 'bound'; readonly binding: OutboundBinding }
  /** Wanted, and not in force: it was never answered, or has expired. `reason` is printable. */
  | { readonly kind: 'unbound'; readonly registrationId: string; readonly reason: string }
  /** The provider rejects user and password: no call may be sent there until they change. */
  | { readonly kind: 'rejected'; readonly registrationId: string; readonly reason: string };

/**
 * Whose registration: a trunk's, with the calling number where each number registers an AOR of its own; or an agent's,
 * whose own account is also the trunk `agent:<id>`.
 */
export type BindingOwner =
  | { readonly trunkId: string; readonly numberId?: string | undefined }
  | { readonly agentId: string };

export interface RegistrationBindings {
  /** How the owner stands with its registrar now. Cheap: a look into a map. */
  bindingOf(owner: BindingOwner): TrunkStanding;
}
