/** What the call room asks of name resolution (RFC 3263). `targets` implements it. */
import type { Target, TlsOptions, TransportName } from '#engine/engine.js';
import type { SipUri } from '#sip/uri.js';

export interface TargetResolver {
  /**
   * Calls `done` exactly once: with targets in the order to try, those in quarantine last, or with why there are
   * none. An IP literal is answered from inside this call.
   */
  resolve(
    uri: SipUri,
    done: (result: readonly Target[] | { readonly kind: string; readonly detail: string }) => void,
    options?: { readonly transport: TransportName; readonly tls: TlsOptions | undefined },
  ): void;
  /** The target is dead: prefer others for `ms`, or for as long as the resolver sees fit. */
  quarantine(target: Target, ms?: number): void;
  isQuarantined(target: Target): boolean;
  /** The target has answered. */
  release(target: Target): void;
}
