/**
 * One delivery: an HTTP POST to an address that may be reached. No redirects: where they lead was not written by the
 * webhook's owner. The answer's body is not read.
 */
import { type ClientRequest, request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { AddressGuard } from './address-guard.js';
import { SIGNATURE_HEADER, signatureOf } from './signature.js';
import type { Occurrence, Webhook } from './webhook.js';

export interface SenderOptions {
  readonly clock: Clock;
  readonly guard: AddressGuard;
  /** Addresses of a host name, as the system sees it; rejects when there are none. */
  readonly lookup: (
    name: string,
  ) => Promise<readonly { readonly address: string; readonly family: number }[]>;
  /** From the connection to the answer's head. */
  readonly timeoutMs: number;
}

export interface Delivery {
  readonly ok: boolean;
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** One clause for people. */
  readonly detail: string;
}

/** What a URL names: an IP literal without brackets, or a name. */
const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, '');

/** The host is an IP literal, which no DNS will change. `URL` writes every form of IPv4 with four numbers. */
function literal(host: string): { readonly address: string; readonly family: number } | undefined {
  if (/^[\d.]+$/.test(host)) return { address: host, family: 4 };
  return host.includes(':') ? { address: host, family: 6 } : undefined;
}

const mayNot = (host: string, address: string): string =>
  `${host} is at ${address}, which webhooks may not reach (webhooks.allowedAddresses)`;

/** Why nothing could ever be sent to a URL whose host is an address; null: it may be, or DNS decides. */
export function closedFor(url: string, guard: AddressGuard): string | null {
  const host = hostOf(url);
  const address = literal(host)?.address;
  return address === undefined || guard.allows(address) ? null : mayNot(host, address);
}

export class Sender {
  readonly #options: SenderOptions;

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async send(webhook: Webhook, occurrence: Occurrence): Promise<Delivery> {
    const { clock, guard, timeoutMs } = this.#options;
    const { id, type, at, organizationId, data } = occurrence;
    const body = JSON.stringify({ id, type, at, organizationId, data });
    const seconds = Math.floor(clock.wallNow() / 1000);
    const url = new URL(webhook.url);
    const host = hostOf(webhook.url);
    let address: { readonly address: string; readonly family: number };
    try {
      const all = await this.#addresses(host);
      const open = all.find((one) => guard.allows(one.address));
      if (open === undefined) {
        return failed(mayNot(host, all[0]?.address ?? 'no address'));
      }
      address = open;
    } catch (error) {
      return failed(`${host} could not be found: ${wordsOf(error)}`);
    }
    const options: RequestOptions = {
      method: 'POST',
      // The address that was checked, whatever the name says by now; the name stays for Host, SNI and certificate.
      lookup: (_name, { all }, done) => {
        if (all === true) done(null, [address]);
        else done(null, address.address, address.family);
      },
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'trunkline',
        'x-trunkline-event': type,
        'x-trunkline-delivery': id,
        [SIGNATURE_HEADER]: signatureOf(webhook.secrets, seconds, body),
      },
      agent: false,
    };
    return new Promise((resolve) => {
      const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
      let request: ClientRequest;
      const timer = new CallbackTimer(() => {
        end(failed(`no answer within ${timeoutMs} ms`));
      });
      const end = (delivery: Delivery): void => {
        clock.disarm(timer);
        resolve(delivery);
        request.destroy();
      };
      request = send(url, options, ({ statusCode = 0 }) => {
        const ok = statusCode >= 200 && statusCode < 300;
        end({ ok, status: statusCode, detail: `answered ${statusCode}` });
      });
      request.on('error', (error) => {
        end(failed(wordsOf(error)));
      });
      clock.arm(timer, timeoutMs);
      request.end(body);
    });
  }

  async #addresses(host: string): Promise<readonly { readonly address: string; readonly family: number }[]> {
    const address = literal(host);
    return address === undefined ? this.#options.lookup(host) : [address];
  }
}

const failed = (detail: string): Delivery => ({ ok: false, status: 0, detail });

function wordsOf(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return String(code ?? message)
    .replace(/[^\x20-\x7e]+/g, ' ')
    .slice(0, 200);
}
