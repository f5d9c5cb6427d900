/** Asks a management API, and reads its answers as tests look into them. */
import * as z from 'zod';

export const ADMINISTRATOR = 'token-of-the-administrator';

export interface Asking {
  readonly method?: string;
  /** Sent as JSON, a string as text/csv. */
  readonly body?: unknown;
  /** Default: `ADMINISTRATOR`. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Without fields when the answer is no JSON. */
  readonly body: Body;
}

const errors = z.array(z.looseObject({ path: z.string(), message: z.string() })).optional();
const resources = z.array(z.looseObject({ kind: z.string(), id: z.string().nullable() })).optional();

/** The fields that tests go by, wherever they stand, are what they are taken for; all others are only compared. */
const bodySchema = z.looseObject({
  id: z.string().optional(),
  token: z.string().optional(),
  code: z.string().nullish(),
  detail: z.string().nullish(),
  errors,
  items: z.array(z.looseObject({})).optional(),
  nextCursor: z.string().nullish(),
  rows: z.array(z.looseObject({ id: z.string().nullish(), errors })).optional(),
  resources,
  left: resources,
  lastVerdict: z.looseObject({ code: z.string() }).nullish(),
});
const madeSchema = bodySchema.extend({ id: z.string() });
const itemsSchema = z.array(madeSchema);

export type Body = z.output<typeof bodySchema>;
export type Made = z.output<typeof madeSchema>;

/** @param url of the server: `/api/v1` and the path come behind it */
export async function askAt(url: string, path: string, how: Asking = {}): Promise<Answer> {
  const { method = 'GET', body, token = ADMINISTRATOR, headers = {} } = how;
  const type = typeof body === 'string' ? 'text/csv' : 'application/json';
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': type }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.includes('json') === true && text !== '';
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: json ? bodySchema.parse(JSON.parse(text)) : {},
  };
}

/** The object that a POST has made. Throws an Error with the answer when that says otherwise. */
export function madeBy({ status, text, body }: Answer): Made {
  if (status === 201) return madeSchema.parse(body);
  throw new Error(`nothing was made: ${status} ${text}`);
}

/** The items of a list. Throws an Error when there is none, or an item without an id. */
export function itemsOf({ body }: Pick<Answer, 'body'>): readonly Made[] {
  return itemsSchema.parse(body.items);
}

/** Paths of the fields that a refusal finds fault with. */
export function faultyFields(errors: Body['errors']): readonly string[] {
  return (errors ?? []).map(({ path }) => path);
}
