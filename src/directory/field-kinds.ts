/**
 * What single fields may hold, of the objects and of the settings alike: texts that may reach a header field, names and
 * addresses, secrets, header fields. Each says what is wrong in words that fit behind the field's name.
 */
import * as z from 'zod';
import { isSafeValue, isToken } from '#sip/fields.js';
import { fromText } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';
import { addressKey, type Cidr, parseCidr } from './cidr.js';
import { destUserFault, headerFault } from './header-rules.js';
import { parseHostPort } from './host-port.js';
import { Secret } from './secret.js';
import { type HostPort, TRANSPORTS } from './trunk.js';

/** A field's meaning, and for a field without default an example; the sample file and the API's pages print both. */
export function field<T extends z.ZodType>(schema: T, description: string, example?: unknown): T {
  return schema.meta(example === undefined ? { description } : { description, example });
}

/** Text that may reach a header field or a log: no control characters, bounded. */
export const text = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((value) => isSafeValue(fromText(value)), { error: 'must not have control characters' });

/** Text that is never shown again. */
export const secret = () =>
  z
    .string()
    .min(1)
    .max(65_536)
    .transform((value) => new Secret(value));

/** Ids appear in URLs, metrics and logs. */
export const idSchema = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9+._~@:-]+$/, {
    error: 'must be 1 to 128 of the characters A-Z a-z 0-9 + . _ ~ @ : -',
  });

/** Runs a reader that answers a text when it does not like the value. */
function read<T>(reader: (value: string) => T | string) {
  return z
    .string()
    .max(1_024)
    .transform((value, context): T => {
      const result = reader(value);
      if (typeof result !== 'string') return result;
      context.issues.push({ code: 'custom', message: result, input: value });
      return z.NEVER;
    });
}

/** `host`, `host:port`, `[v6]:port`. */
export const hostPort = () => read<HostPort>(parseHostPort);

/** A name or an address, without a port. */
export const hostName = () =>
  z.string().transform((value, context): string => {
    const result = parseHostPort(value);
    if (typeof result !== 'string' && result.port === undefined) return result.host;
    context.issues.push({ code: 'custom', message: 'must be a host name or an address', input: value });
    return z.NEVER;
  });

/** An address, or a block of them. */
export const cidr = () => read<Cidr>(parseCidr);

/** An address without brackets. */
export const ipAddress = () =>
  z.string().refine((value) => addressKey(value) !== undefined, { error: 'must be an IP address' });

export const seconds = (max: number) => z.number().positive().max(max);

/** A busy or unwilling callee is an answer, not a failure: trying on would ring elsewhere what was declined. */
const FINAL = [401, 407, 486, 487, 600, 603];

/** A SIP status after which the next server is tried. */
export const failoverStatus = () =>
  z
    .int()
    .min(300)
    .max(699)
    .refine((status) => !FINAL.includes(status), { error: 'is an answer for the caller and never tried on' });

/** Header fields by their names; none that SIP itself needs. */
export const headerMap = () =>
  z
    .record(z.string(), z.string().max(4_096))
    .superRefine((headers, context) => {
      for (const [name, value] of Object.entries(headers)) {
        const message = headerFault(name, value);
        if (message !== undefined) context.addIssue({ code: 'custom', path: [name], message, input: value });
      }
    })
    .transform((headers): ReadonlyMap<string, string> => new Map(Object.entries(headers)));

/** A header field name, or a prefix and `*`. */
export const headerPattern = () =>
  z
    .string()
    .max(128)
    .refine((value) => isToken(value.endsWith('*') ? value.slice(0, -1) : value), {
      error: 'must be a header field name, or its beginning and *',
    });

/** A certificate, a key, or several. */
export const pem = () => z.string().min(1).max(262_144);

/** Where an agent takes calls. */
export const endpointUri = () =>
  z
    .string()
    .max(1_024)
    .superRefine((value, context) => {
      const complain = (message: string) => context.addIssue({ code: 'custom', message, input: value });
      const uri = isSafeValue(value) && !/\s/.test(value) ? parseUri(fromText(value)) : undefined;
      if (uri === undefined) complain('is not a SIP URI such as sip:sales@192.0.2.10:5060');
      else if (uri.scheme !== 'sip' && uri.scheme !== 'sips') complain('must begin with sip: or sips:');
      else if (uri.headers !== undefined) complain('must not have header fields behind "?"');
      else {
        const transport = uri.params.get('transport')?.toLowerCase();
        if (transport !== undefined && !TRANSPORTS.some((name) => name === transport)) {
          complain(`has a transport other than ${TRANSPORTS.join(', ')}`);
        } else if (transport === 'udp' && uri.scheme === 'sips') complain('is sips:, which UDP cannot carry');
      }
    });

/** How a number may begin. */
export const numberPrefix = () =>
  z.string().regex(/^\+?[A-Za-z0-9*#_.-]{1,32}$/, {
    error: 'must be the beginning of a number, such as +44 or 0900',
  });

/** What X-Dest-User may hold; an empty one is none. The message names the character that may not stand there. */
export const destUser = () =>
  z
    .string()
    .max(256)
    .superRefine((value, context) => {
      const message = destUserFault(value);
      if (message !== undefined) context.addIssue({ code: 'custom', message, input: value });
    })
    .transform((value) => (value === '' ? undefined : value))
    .optional();
