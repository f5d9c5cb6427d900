/** What may follow `npm run store --` and `npm run token --`. */
import { parseArgs } from 'node:util';
import { TOKEN_SCOPES, type TokenScope } from '#directory/tokens.js';
import { DEFAULT_ORGANIZATION } from '#directory/trunk.js';
import { DEFAULT_CONFIG } from './arguments.js';

export const MANAGE_USAGE = `Usage: npm run store -- COMMAND [--config FILE]
       npm run token -- COMMAND [--config FILE]

store backup FILE     write everything that the store has to FILE (secrets stay sealed; the key is not in it)
store restore FILE    put a back-up in the place of everything; running gateways take it over
store rotate-key      make a new key, first in its file, and seal every secret with it
store reseal          seal every secret with the first of the keys that are given
store status          what the store has, and what of it is not in force

token create --name NAME [--scopes read,write,calls] [--organization ID]
                      make a token and print it: it is shown this once
token list            tokens, with their last use
token revoke ID [--organization ID]
                      refuse it from now on

The store is the one that the configuration names, default ${DEFAULT_CONFIG}. The gateway may be running.

Exit codes: 0 done; 1 not done, the message says why; 2 arguments not understood.
`;

export type ManageArguments = { readonly config: string } & (
  | { readonly kind: 'backup' | 'restore'; readonly file: string }
  | { readonly kind: 'rotate-key' | 'reseal' | 'status' }
  | { readonly kind: 'token-list' }
  | {
      readonly kind: 'token-create';
      readonly name: string;
      readonly scopes: readonly TokenScope[];
      readonly organizationId: string;
    }
  | { readonly kind: 'token-revoke'; readonly id: string; readonly organizationId: string }
);

export type Given =
  | { readonly kind: 'do'; readonly what: ManageArguments }
  | { readonly kind: 'help' }
  | { readonly kind: 'fault'; readonly message: string };

/** Reads the command line; what it does not understand is a fault, in one line for people. */
export function parseManageArguments(given: readonly string[]): Given {
  try {
    const { values, positionals } = parseArgs({
      args: [...given],
      strict: true,
      allowPositionals: true,
      options: {
        config: { type: 'string' },
        name: { type: 'string' },
        scopes: { type: 'string' },
        organization: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) return { kind: 'help' };
    const [subject = '', command = '', operand, ...more] = positionals;
    const config = values.config ?? DEFAULT_CONFIG;
    const organizationId = values.organization ?? DEFAULT_ORGANIZATION;
    if (more.length > 0) return fault(`${more.join(' ')} is too much`);
    const name = `${subject} ${command}`.trim();
    switch (name) {
      case 'store backup':
      case 'store restore':
        if (operand === undefined) return fault(`${name} needs the name of a file`);
        return { kind: 'do', what: { kind: command as 'backup' | 'restore', file: operand, config } };
      case 'store rotate-key':
      case 'store reseal':
      case 'store status':
        return { kind: 'do', what: { kind: command as 'rotate-key' | 'reseal' | 'status', config } };
      case 'token list':
        return { kind: 'do', what: { kind: 'token-list', config } };
      case 'token revoke':
        if (operand === undefined) return fault('token revoke needs the id of a token');
        return { kind: 'do', what: { kind: 'token-revoke', id: operand, organizationId, config } };
      case 'token create': {
        const scopes = scopesOf(values.scopes);
        if (scopes === undefined) return fault(`--scopes takes some of ${TOKEN_SCOPES.join(',')}`);
        if (values.name === undefined || values.name === '') return fault('token create needs --name');
        const what = { kind: 'token-create', name: values.name, scopes, organizationId, config } as const;
        return { kind: 'do', what };
      }
      default:
        return fault(name === '' || command === '' ? 'a command is missing' : `there is no command ${name}`);
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return fault(message.split('. ')[0] ?? message);
  }
}

function scopesOf(text: string | undefined): readonly TokenScope[] | undefined {
  if (text === undefined) return TOKEN_SCOPES;
  const wanted = text.split(',').map((part) => part.trim());
  const scopes = TOKEN_SCOPES.filter((scope) => wanted.includes(scope));
  return scopes.length === wanted.length && scopes.length > 0 ? scopes : undefined;
}

function fault(message: string): Given {
  return { kind: 'fault', message };
}
