/** What may follow `npm start --`. */
import { parseArgs } from 'node:util';

export const DEFAULT_CONFIG = 'config/trunkline.yaml';

export const USAGE = `Usage: npm start -- [--config FILE] [--check]

  --config FILE   the configuration, default ${DEFAULT_CONFIG}
  --check         say everything that is wrong with it, and exit: 0 nothing, 1 something
  --version       print the version
  --help          print this

Signals: SIGTERM and SIGINT let live calls end, a second SIGINT ends them; SIGHUP reads the configuration and
the certificates again and reopens the call records.

Exit codes: 0 stopped, or the check found nothing; 1 could not start or go on, the log says why; 2 arguments not
understood; 130 stopped at once by a second SIGINT.
`;

export type Arguments =
  | { readonly kind: 'run' | 'check'; readonly file: string }
  | { readonly kind: 'help' | 'version' }
  | { readonly kind: 'fault'; readonly message: string };

/** Reads the command line; what it does not understand is a fault, in one line for people. */
export function parseArguments(given: readonly string[]): Arguments {
  try {
    const { values } = parseArgs({
      args: [...given],
      strict: true,
      allowPositionals: false,
      options: {
        config: { type: 'string' },
        check: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean' },
      },
    });
    if (values.help) return { kind: 'help' };
    if (values.version) return { kind: 'version' };
    if (values.config === '') return { kind: 'fault', message: '--config needs the name of a file' };
    return { kind: values.check ? 'check' : 'run', file: values.config ?? DEFAULT_CONFIG };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The first sentence says what is wrong; what follows is advice for programmers.
    return { kind: 'fault', message: message.split('. ')[0] ?? message };
  }
}
