/** What may follow `npm run probe --`, and where its password comes from: never from the command line itself. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { toTrunk } from '#directory/models.js';
import { trunkSchema } from '#directory/schema.js';
import type { Trunk } from '#directory/trunk.js';

export const PROBE_USAGE = `Usage: npm run probe -- SERVER [--user USER] [options]

  SERVER                 host or host:port, as in \`server\` of SIP credentials
  --user USER            account to register; without it the probe ends with OPTIONS
  --auth-user USER       digest user, when it differs
  --password-file FILE   its password; default: the environment variable TRUNKLINE_PROBE_PASSWORD
  --transport NAME       udp (default), tcp or tls
  --domain NAME          host part of the account, and the realm expected; default: the server
  --proxy SERVER         send requests there instead
  --ca-file FILE         certificate authorities to trust instead of the well-known ones
  --server-name NAME     name that the certificate must carry; default: the server
  --json                 print the report as JSON
  --help                 print this

Nothing is kept: a registration made by the probe lasts a minute and is removed at once.

Exit codes: 0 the verdict is ok; 1 it is another one; 2 arguments not understood.
`;

export type ProbeArguments =
  | { readonly kind: 'probe'; readonly trunk: Trunk; readonly json: boolean }
  | { readonly kind: 'help' }
  | { readonly kind: 'fault'; readonly message: string };

const PASSWORD_VARIABLE = 'TRUNKLINE_PROBE_PASSWORD';

/** The option that a field of the trunk came from, for what is wrong with it. */
const OPTION_OF: Readonly<Record<string, string>> = {
  server: 'SERVER',
  authUser: '--user',
  authUsername: '--auth-user',
  authPassword: `the password of --password-file or ${PASSWORD_VARIABLE}`,
  transport: '--transport',
  domain: '--domain',
  outboundProxy: '--proxy',
  'tls.ca': '--ca-file',
  'tls.serverName': '--server-name',
};

/** Reads the command line of the probe; what it does not understand is a fault, in words for people. */
export function parseProbeArguments(
  given: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
): ProbeArguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...given],
      strict: true,
      allowPositionals: true,
      options: {
        user: { type: 'string' },
        'auth-user': { type: 'string' },
        'password-file': { type: 'string' },
        transport: { type: 'string' },
        domain: { type: 'string' },
        proxy: { type: 'string' },
        'ca-file': { type: 'string' },
        'server-name': { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) return { kind: 'help' };
    if (positionals.length !== 1) return { kind: 'fault', message: 'name one SERVER' };
    const passwordFile = values['password-file'];
    const password =
      passwordFile === undefined ? environment[PASSWORD_VARIABLE] : read(passwordFile).replace(/\r?\n$/, '');
    const caFile = values['ca-file'];
    return trunkOf(
      {
        id: 'probe',
        server: positionals[0],
        authUser: values.user,
        authUsername: values['auth-user'],
        authPassword: values.user === undefined || password === '' ? undefined : password,
        transport: values.transport,
        domain: values.domain,
        outboundProxy: values.proxy,
        tls: { ca: caFile === undefined ? undefined : read(caFile), serverName: values['server-name'] },
      },
      values.json === true,
    );
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The first sentence says what is wrong; what follows is advice for programmers.
    return { kind: 'fault', message: message.split('. ')[0] ?? message };
  }
}

function trunkOf(fields: object, json: boolean): ProbeArguments {
  const result = trunkSchema.safeParse(fields);
  if (result.success) return { kind: 'probe', trunk: toTrunk(result.data, 'manual'), json };
  const faults = result.error.issues.map(({ path, message }) => {
    const field = path.join('.');
    return `${OPTION_OF[field] ?? field}: ${message}`;
  });
  return { kind: 'fault', message: faults.join('\n') };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new Error(`${path} cannot be read (${code})`, { cause: error });
  }
}
