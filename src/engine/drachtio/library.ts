/** What is used of drachtio-srf, whose own types are poor. Only `srf.ts` touches it. */
import { createRequire } from 'node:module';
import DrachtioSrf from 'drachtio-srf';
import { reasonPhrase } from '#sip/status.js';

/** What the server says about a message besides its octets. */
export interface SrfMeta {
  readonly source: string;
  readonly source_address: string;
  readonly source_port: number;
  readonly protocol: string;
  readonly stackTxnId: string;
  readonly stackDialogId?: string;
  /** `address:port` of the listener; only with requests outside a dialog. */
  readonly receivedOn?: string;
}

export interface SrfParsed {
  readonly raw?: string;
}

export type SrfAck = (options: SrfSendOptions, callback: (error: unknown) => void) => void;
export type SrfDone = (error: unknown) => void;

export interface SrfSendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface SrfRequest extends SrfMeta {
  readonly method: string;
  readonly msg: SrfParsed;
  on(event: 'response', listener: (response: SrfResponse, ack: SrfAck) => void): void;
  on(event: 'cancel', listener: (cancel: SrfParsed) => void): void;
  on(event: 'update', listener: (request: SrfRequest, response: SrfResponse) => void): void;
  cancel(options: SrfSendOptions, callback: SrfDone): void;
}

export interface SrfResponse extends SrfMeta {
  readonly status: number;
  readonly msg: SrfParsed;
  send(status: number, reason: string, options: SrfSendOptions, callback: SrfDone): void;
}

export interface SrfRequestOptions extends SrfSendOptions {
  readonly method: string;
  readonly uri?: string;
  readonly proxy?: string;
  readonly stackDialogId?: string;
  readonly stackTxnId?: string;
}

export type DataListener = (chunk: Buffer) => void;

/** What is used of the connection's socket. */
export interface SrfSocket {
  setKeepAlive(enable: boolean, initialDelayMs: number): void;
  listeners(event: 'data'): DataListener[];
  off(event: 'data', listener: DataListener): void;
  on(event: 'data', listener: DataListener): void;
  destroy(): void;
}

export interface SrfAgent {
  /** Connections; one at most, since each has an Srf of its own. */
  readonly mapServer: ReadonlyMap<SrfSocket, unknown>;
  request(options: SrfRequestOptions, callback: (error: unknown, request?: SrfRequest) => void): void;
  /** Sends a message as it is; nobody hears what becomes of it. */
  sendMessage(message: string, options: { readonly stackTxnId: string }): void;
}

export interface Srf {
  readonly app: { readonly client: SrfAgent };
  use(method: string, handler: SrfHandler): void;
  use(handler: SrfHandler): void;
  on(
    event: 'connect',
    listener: (error: unknown, hostports?: string, version?: string, local?: string) => void,
  ): void;
  on(event: 'close' | 'error', listener: (error?: unknown) => void): void;
  connect(options: object): void;
  disconnect(socket?: SrfSocket): void;
}

export type SrfHandler = (request: SrfRequest, response: SrfResponse) => void;

export const SrfClass = DrachtioSrf as unknown as new () => Srf;

/**
 * The table that drachtio-srf asks whether a status is one; for any other its `send` throws and nothing goes out. It
 * lacks many that carriers use (499, 608…), so all of 101 to 699 are entered.
 */
const STATUSES = createRequire(createRequire(import.meta.url).resolve('drachtio-srf'))(
  'sip-status',
) as Record<number, string>;
for (let status = 101; status <= 699; status++) STATUSES[status] ??= reasonPhrase(status);
