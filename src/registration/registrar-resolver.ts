/** The port to name resolution and to the memory of which servers are well. */
import type { Target, TlsOptions, TransportName } from '#engine/engine.js';
import type { SipUri } from '#sip/uri.js';
import type { ResolutionFault } from '#targets/locate.js';

/** What this room asks of name resolution (RFC 3263). */
export interface RegistrarResolver {
  /** Calls `done` once, perhaps from inside this call; targets are in the order to try, those in quarantine last. */
  resolve(
    uri: SipUri,
    done: (result: readonly Target[] | ResolutionFault) => void,
    options: { readonly transport: TransportName; readonly tls: TlsOptions | undefined },
  ): void;
  quarantine(target: Target): void;
  isQuarantined(target: Target): boolean;
  release(target: Target): void;
}
