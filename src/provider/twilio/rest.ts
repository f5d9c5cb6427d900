/**
 * Twilio's REST API: requests, retries, errors, pages. `fetch` carries it: of the official package's hundreds of
 * resources twelve requests are needed, and what matters here (which failure leaves a request undone, what may be sent
 * again, no secret in an error) is decided in these lines and not inside a client.
 */
import type { Secret } from '#directory/secret.js';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import { ProviderFault, type ProviderFaultKind } from '../provider.js';

export interface TwilioServers {
  /** `https://api.twilio.com`. */
  readonly api: string;
  /** `https://trunking.twilio.com`. */
  readonly trunking: string;
}

export const TWILIO_SERVERS: TwilioServers = {
  api: 'https://api.twilio.com',
  trunking: 'https://trunking.twilio.com',
};

export interface RestOptions {
  readonly accountSid: string;
  readonly authToken: Secret;
  readonly clock: Clock;
  /** Longest wait for one answer. */
  readonly timeoutMs: number;
}

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json | undefined;
}

/** Waits between tries of one request; as many tries and one more. */
const BACK_OFF_MS = [500, 1_000, 2_000];
const MAX_WAIT_MS = 10_000;
const MAX_BODY_BYTES = 4_194_304;
const MAX_PAGES = 100;

type Method = 'GET' | 'POST' | 'DELETE';

export class TwilioRest {
  readonly #options: RestOptions;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  /**
   * Sends one request, again while that can do no harm: GET and DELETE after any failure that may pass, POST only
   * after 429 ("Too Many Requests"), which says that nothing was done.
   * @param url absolute
   * @param form fields of the body, for POST
   * @returns null for an answer without content
   * @throws ProviderFault
   */
  async send(
    method: Method,
    url: string,
    form?: Readonly<Record<string, string>>,
  ): Promise<JsonObject | null> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(method, url, form);
      } catch (error) {
        if (!(error instanceof Passing)) throw error;
        const wait = BACK_OFF_MS[attempt];
        const harmless = method !== 'POST' || error.fault.status === 429;
        if (wait === undefined || !harmless) throw error.fault;
        await this.#pause(Math.min(Math.max(wait, error.retryAfterMs), MAX_WAIT_MS));
      }
    }
  }

  /** All rows of a listing, page by page. Pages are asked of the server that was named, whatever a page says. */
  async list(url: string, rows: string): Promise<JsonObject[]> {
    const found: JsonObject[] = [];
    const { origin } = new URL(url);
    let next: string | null = url;
    for (let pages = 0; next !== null; pages++) {
      if (pages === MAX_PAGES) throw new ProviderFault('unavailable', 'Twilio lists without end');
      const page: JsonObject | null = await this.send('GET', next);
      const part = page?.[rows];
      if (!Array.isArray(part)) throw new ProviderFault('unavailable', `Twilio's list has no ${rows}`);
      for (const row of part) if (isObject(row)) found.push(row);
      next = nextPage(page!, origin);
    }
    return found;
  }

  async #once(
    method: Method,
    url: string,
    form?: Readonly<Record<string, string>>,
  ): Promise<JsonObject | null> {
    const { accountSid, authToken, timeoutMs, clock } = this.#options;
    const abort = new AbortController();
    const timer = new CallbackTimer(() => abort.abort());
    clock.arm(timer, timeoutMs);
    // Once a POST is on its way, a lost answer leaves open whether it was done.
    const ambiguous = method === 'POST';
    try {
      let response: Response;
      try {
        response = await fetch(url, {
          method,
          // Credentials go nowhere but where they were sent.
          redirect: 'error',
          signal: abort.signal,
          headers: {
            authorization: `Basic ${Buffer.from(`${accountSid}:${authToken.reveal()}`).toString('base64')}`,
            accept: 'application/json',
          },
          ...(form === undefined ? {} : { body: new URLSearchParams(form) }),
        });
      } catch (error) {
        throw new Passing(
          new ProviderFault(
            'unreachable',
            `Twilio could not be reached: ${causeOf(error, abort.signal.aborted)}`,
            {
              ambiguous: ambiguous && !neverSent(error),
            },
          ),
        );
      }
      return await answerOf(response, ambiguous);
    } finally {
      clock.disarm(timer);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.arm(new CallbackTimer(resolve), ms));
  }
}

/** A failure that may be over when the request is sent again. */
class Passing extends Error {
  readonly fault: ProviderFault;
  readonly retryAfterMs: number;

  constructor(fault: ProviderFault, retryAfterMs = 0) {
    super(fault.message);
    this.fault = fault;
    this.retryAfterMs = retryAfterMs;
  }
}

async function answerOf(response: Response, ambiguous: boolean): Promise<JsonObject | null> {
  const { status } = response;
  let body: string;
  try {
    body = await bounded(response);
  } catch {
    throw new Passing(
      new ProviderFault('unreachable', "Twilio's answer broke off", {
        status,
        ambiguous: ambiguous && status < 400,
      }),
    );
  }
  const json = jsonOf(body);
  if (response.ok) {
    if (status === 204) return null;
    if (json !== null) return json;
    throw new ProviderFault('unavailable', `Twilio answered ${status} without an object`, {
      status,
      ambiguous,
    });
  }
  const code = typeof json?.code === 'number' ? json.code : null;
  const words = typeof json?.message === 'string' ? printable(json.message) : '';
  const message = `Twilio answered ${status}${code === null ? '' : `, error ${code}`}${words === '' ? '' : `: ${words}`}`;
  const fault = new ProviderFault(kindOf(status), message, {
    status,
    code,
    ambiguous: ambiguous && status >= 500,
  });
  if (status === 429 || status >= 500) throw new Passing(fault, retryAfter(response));
  throw fault;
}

function kindOf(status: number): ProviderFaultKind {
  if (status === 401) return 'unauthorised';
  if (status === 404) return 'not_found';
  return status === 429 || status >= 500 ? 'unavailable' : 'refused';
}

async function bounded(response: Response): Promise<string> {
  if (response.body === null) return '';
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body) {
    length += part.length;
    if (length > MAX_BODY_BYTES) throw new Error('too long');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function jsonOf(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The two services say it differently: a path, or an address in `meta`. */
function nextPage(page: JsonObject, origin: string): string | null {
  const { meta } = page;
  const next = page.next_page_uri ?? (isObject(meta) ? meta.next_page_url : null);
  if (typeof next !== 'string' || next === '') return null;
  const { pathname, search } = new URL(next, origin);
  return origin + pathname + search;
}

function retryAfter(response: Response): number {
  const seconds = Number(response.headers.get('retry-after') ?? '');
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}

/** Texts of others reach logs and people: no control characters, bounded. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 300);
}

interface Caused {
  readonly cause?: { readonly code?: unknown; readonly message?: unknown };
}

function causeOf(error: unknown, timedOut: boolean): string {
  if (timedOut) return 'no answer in time';
  const cause = (error as Caused).cause;
  return printable(String(cause?.code ?? cause?.message ?? (error as Error).message));
}

/** The connection was not even made. */
function neverSent(error: unknown): boolean {
  const code = (error as Caused).cause?.code;
  return (
    code === 'ECONNREFUSED' ||
    code === 'ENOTFOUND' ||
    code === 'EAI_AGAIN' ||
    code === 'UND_ERR_CONNECT_TIMEOUT'
  );
}
