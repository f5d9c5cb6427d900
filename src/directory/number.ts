/** A phone number: a DID on one trunk, and the agent that answers it. Trunk + number is the key. */
import type { ObjectSource } from './trunk.js';

export interface PhoneNumber {
  readonly id: string;
  /** That of its trunk. */
  readonly organizationId: string;
  readonly source: ObjectSource;
  /** As it was given. */
  readonly phoneNumber: string;
  /** E.164 where it can be told (`number-format.ts`), otherwise as given. */
  readonly normalised: string;
  /** The trunk. */
  readonly credentialsId: string;
  readonly inboundAgentId: string | undefined;
  /** A trunk that calls to this number are transferred by. */
  readonly transferTrunkId: string | undefined;
  readonly displayName: string | undefined;
  readonly description: string | undefined;
  /** The number has its AOR registered at the provider. */
  readonly registration: boolean;
}
