/** What the engine is told about one socket to listen on. */
import type { TransportName } from '../../engine.js';

export interface ListenOptions {
  readonly transport: TransportName;
  /** IP literal, or `localhost` for 127.0.0.1. `::` takes IPv4 too unless an IPv4 listener has the same port. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Host, or `host:port`, that Via and Contact name instead of where we are bound. */
  readonly externalAddress?: string | undefined;
  /** PEM files of our certificate with its chain, and of its private key; required for `tls`. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** PEM file of the authorities that sign client certificates. Default: the well-known ones. */
  readonly caFile?: string | undefined;
  /** Refuse clients without a valid certificate. Default false. */
  readonly requestClientCert?: boolean | undefined;
  /** Default TLSv1.2. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3' | undefined;
}
