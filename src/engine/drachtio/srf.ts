/**
 * The only place that touches drachtio-srf: one connection to one drachtio-server, at the level of transactions.
 *
 * drachtio-srf throws where a network event should not, keeps headers in an object (which loses their order, case and
 * repetition) and reconnects by itself without TLS. Its reconnection is switched off, and every message crosses as
 * octets in both directions. The server's wire protocol is UTF-8 text: octets that are not UTF-8 arrive as U+FFFD, and
 * a body ends at a NUL.
 */
import { isSafeValue } from '#sip/fields.js';
import type { HeaderField } from '#sip/message.js';
import { fromText, type Octets, toText } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import {
  type SrfAck,
  SrfClass,
  type SrfHandler,
  type SrfMeta,
  type SrfParsed,
  type SrfRequest,
  type SrfRequestOptions,
  type SrfResponse,
  type SrfSendOptions,
  type SrfSocket,
} from './library.js';
import type {
  ConnectionEvents,
  OutgoingParts,
  SendDone,
  ServerAddress,
  WireRequest,
  WireRequestEvents,
  WireRequestOptions,
  WireResponse,
  WireSource,
} from './wire.js';

/** Requests outside a dialog that the server hands up when asked; it answers the others itself. */
const ROUTED = [
  'invite',
  'register',
  'message',
  'options',
  'info',
  'notify',
  'subscribe',
  'publish',
  'refer',
] as const;

/** TCP keep-alive: a server whose machine is gone is noticed within about 20 s, also without traffic. */
const KEEP_ALIVE_MS = 10_000;
const UNSOLICITED = 'unsolicited';

/** One connection, from connecting to closed; it never reconnects. */
export class Connection {
  readonly #srf = new SrfClass();
  readonly #events: ConnectionEvents;
  #socket: SrfSocket | undefined;
  #closed = false;
  #detail = 'the connection closed';

  /** `scout`: takes no requests from the network. */
  constructor(address: ServerAddress, events: ConnectionEvents, scout = false) {
    this.#events = events;
    const srf = this.#srf;
    const handler: SrfHandler = shielded((request, response) => this.#onRequest(request, response));
    if (!scout) for (const method of ROUTED) srf.use(method, handler);
    srf.use(handler);
    srf.on('connect', (error, advertised, version, bound) => {
      if (error) this.#fail('the server refuses the secret', true);
      else this.#onReady(advertised ?? '', version ?? '', bound ?? advertised ?? '');
    });
    srf.on('error', (error) => {
      this.#detail = reasonOf(error);
      this.#fail(this.#detail, false);
    });
    srf.on('close', () => this.#fail(this.#detail, false));
    const { host, port, secret, tls } = address;
    srf.connect({
      host,
      port,
      secret,
      reconnect: { maxAttempts: 1 },
      ...(tls === undefined ? {} : { tls: tlsOptions(host, tls) }),
    });
  }

  /** Octets of the largest of the frames that these parts make, a little overestimated. */
  static frameBytes(parts: { readonly headers: readonly HeaderField[]; readonly body: Octets }): number {
    // Message id, transaction id, dialog id, next hop, start line, and what drachtio-srf adds.
    let bytes = 700 + parts.body.length;
    for (const { name, value } of parts.headers) bytes += name.length + value.length + 4;
    return bytes;
  }

  request(options: WireRequestOptions, events: WireRequestEvents): void {
    const { method, uri, proxy, dialogId } = options;
    const request: SrfRequestOptions = {
      method,
      ...sendOptions(options),
      ...(uri === undefined ? {} : { uri: text(uri) }),
      ...(proxy === undefined ? {} : { proxy }),
      ...(dialogId === undefined ? {} : { stackDialogId: dialogId }),
    };
    const sent = shielded((error: unknown, srfRequest?: SrfRequest): void => {
      if (srfRequest === undefined) {
        events.onRefused(reasonOf(error));
        return;
      }
      srfRequest.on(
        'response',
        shielded((response: SrfResponse, ack: SrfAck) =>
          events.onResponse(new ReceivedResponse(response, ack)),
        ),
      );
      // drachtio-srf hands UPDATEs to whichever request of the same Call-ID is pending; all belong to one handler.
      srfRequest.on(
        'update',
        shielded((update: SrfRequest, response: SrfResponse) => this.#onRequest(update, response)),
      );
      events.onSent({
        id: srfRequest.stackTxnId,
        cancel: (headers, done) => {
          const settle = shielded((failure: unknown) => done(failure ? reasonOf(failure) : null, ''));
          attempt(() => srfRequest.cancel(sendOptions({ headers, body: '' }), settle), settle);
        },
      });
    });
    // The last fence: a line end in a URI or an address of the user would begin a header field of its own.
    if (!isSafeValue(uri ?? '') || !options.headers.every(({ value }) => isSafeValue(value))) {
      queueMicrotask(() => sent(new RangeError('a value holds a control or is not octets')));
      return;
    }
    attempt(() => this.#srf.app.client.request(request, sent), sent);
  }

  /** CANCELs an INVITE that went out by an earlier connection to this server. */
  cancel(transactionId: string, headers: readonly HeaderField[], done: SendDone): void {
    const settle = shielded((failure: unknown) => done(failure ? reasonOf(failure) : null, ''));
    const options = { method: 'CANCEL', uri: 'sip:placeholder', stackTxnId: transactionId };
    attempt(
      () => this.#srf.app.client.request({ ...options, ...sendOptions({ headers, body: '' }) }, settle),
      settle,
    );
  }

  /** Answers a request that came by an earlier connection to this server; what becomes of it is not heard. */
  answer(transactionId: string, status: number, headers: readonly HeaderField[]): void {
    let message = `SIP/2.0 ${status} ${reasonPhrase(status)}\r\n`;
    for (const { name, value } of headers) message += `${name}: ${value}\r\n`;
    attempt(
      () => this.#srf.app.client.sendMessage(`${message}\r\n`, { stackTxnId: transactionId }),
      () => undefined,
    );
  }

  /** Closes at once. */
  close(detail: string): void {
    this.#fail(detail, false);
  }

  #onReady(advertised: string, version: string, bound: string): void {
    if (this.#closed) return;
    const socket = this.#srf.app.client.mapServer.keys().next().value;
    this.#socket = socket;
    if (socket !== undefined) {
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      // drachtio-srf throws from its data handler when the stream is out of step; that ends this connection only.
      for (const listener of socket.listeners('data')) {
        socket.off('data', listener);
        socket.on('data', (chunk) => {
          try {
            listener(chunk);
          } catch (error) {
            this.#fail(`the stream from the server is out of step: ${reasonOf(error).slice(0, 100)}`, false);
          }
        });
      }
    }
    this.#events.onReady(list(advertised), list(bound), version);
  }

  #fail(detail: string, fatal: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    const socket = this.#socket ?? this.#srf.app.client.mapServer.keys().next().value;
    if (socket !== undefined) {
      try {
        // Marks the connection as closed on purpose, so that drachtio-srf does not reconnect.
        this.#srf.disconnect(socket);
      } catch {
        // It was gone already.
      }
      socket.destroy();
    }
    this.#events.onClosed(detail, fatal);
  }

  #onRequest(request: SrfRequest, response: SrfResponse): void {
    if (this.#closed) return;
    // drachtio-srf answers an UPDATE before the answer to the INVITE by itself unless the INVITE listens to it.
    if (request.method === 'INVITE')
      request.on(
        'update',
        shielded((update, answer) => this.#onRequest(update, answer)),
      );
    this.#events.onRequest(new ReceivedRequest(request, response));
  }
}

class ReceivedRequest implements WireRequest {
  readonly method: string;
  readonly octets: Octets;
  readonly source: WireSource;
  readonly dialogId: string;
  readonly unsolicited: boolean;
  readonly transactionId: string;
  onCancel: ((octets: Octets) => void) | undefined = undefined;
  readonly #response: SrfResponse;

  constructor(request: SrfRequest, response: SrfResponse) {
    this.method = request.method;
    this.octets = octets(request.msg.raw);
    this.source = sourceOf(request);
    this.dialogId = request.stackDialogId ?? '';
    this.unsolicited = request.stackTxnId === UNSOLICITED;
    this.transactionId = request.stackTxnId;
    this.#response = response;
    if (this.method === 'INVITE') {
      request.on(
        'cancel',
        shielded((cancel: SrfParsed) => this.onCancel?.(octets(cancel.raw))),
      );
    }
  }

  respond(status: number, reason: Octets, message: OutgoingParts, done: SendDone): void {
    const response = this.#response;
    const settle = shielded((error: unknown) =>
      done(error ? reasonOf(error) : null, response.stackDialogId ?? ''),
    );
    const safe = isSafeValue(reason) ? text(reason) : '';
    attempt(() => response.send(status, safe, sendOptions(message), settle), settle);
  }
}

class ReceivedResponse implements WireResponse {
  readonly octets: Octets;
  readonly status: number;
  readonly source: WireSource;
  readonly dialogId: string;
  readonly #ack: SrfAck;

  constructor(response: SrfResponse, ack: SrfAck) {
    this.octets = octets(response.msg.raw);
    this.status = response.status;
    this.source = sourceOf(response);
    this.dialogId = response.stackDialogId ?? '';
    this.#ack = ack;
  }

  acknowledge(message: OutgoingParts, done: SendDone): void {
    const settle = shielded((error: unknown) => done(error ? reasonOf(error) : null, this.dialogId));
    attempt(() => this.#ack(sendOptions(message), settle), settle);
  }
}

/**
 * drachtio-srf writes a header's value as it is, so the whole block of lines travels as the value of its first
 * line: order, case and repetition stay. Whoever builds `headers` has checked them with `isSafeValue`.
 */
function sendOptions({ headers, body, toTag }: OutgoingParts): SrfSendOptions {
  const options: { headers?: Record<string, string>; body?: string } = {};
  const [first, ...rest] = headers;
  if (first !== undefined || toTag !== undefined) options.headers = {};
  if (toTag !== undefined) options.headers!.to = `;tag=${toTag}`;
  if (first !== undefined) {
    let block = first.value;
    for (const { name, value } of rest) block += `\r\n${name}: ${value}`;
    options.headers![first.name] = text(block);
  }
  if (body !== '') options.body = text(body);
  return options;
}

function sourceOf(message: SrfMeta): WireSource {
  return {
    transport: message.protocol,
    address: message.source_address,
    port: message.source_port,
    receivedOn: message.receivedOn,
  };
}

function octets(raw: string | undefined): Octets {
  if (raw === undefined) return '';
  return isAscii(raw) ? raw : fromText(raw);
}

function text(value: Octets): string {
  return isAscii(value) ? value : toText(value);
}

function isAscii(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** SNI takes no address (RFC 6066 §3); the certificate is then compared with the address. */
function tlsOptions(host: string, { ca, serverName }: NonNullable<ServerAddress['tls']>): object {
  const name = serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
  return { ...(ca === undefined ? {} : { ca }), ...(name === undefined ? {} : { servername: name }) };
}

function list(hostports: string): string[] {
  return hostports.split(',').filter((entry) => entry !== '');
}

function reasonOf(error: unknown): string {
  if (error instanceof Error) {
    const { code } = error as NodeJS.ErrnoException;
    return error.message === '' && code !== undefined ? code : error.message;
  }
  return String(error ?? 'refused');
}

/** Runs a call into drachtio-srf; it throws instead of calling back when its connection is gone. */
function attempt(call: () => void, settle: (error: unknown) => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => settle(error));
  }
}

/**
 * A callback whose own failure passes drachtio-srf by: that library answers 500 to a request whose handler throws,
 * and a defect of ours would look like the peer's.
 */
function shielded<A extends unknown[]>(callback: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    try {
      callback(...args);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  };
}
