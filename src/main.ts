/** The program: arguments, signals, exit codes. `app.ts` has the gateway itself. */
import { isatty } from 'node:tty';
import { formatFaults } from '#config/faults.js';
import { LiveConfig } from '#config/live.js';
import { loadConfig } from '#config/load.js';
import type { Config } from '#config/schema.js';
import { ConfigWatch } from '#config/watch.js';
import { storedToken } from '#http/token.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { createLog, type Log } from '#observe/log.js';
import { App } from './app.js';
import { parseArguments, USAGE } from './arguments.js';
import { configPart, Knowledge } from './knowledge.js';
import { version } from './version.js';

const TOKEN_FILE = 'data/api-token';
/** Ctrl-C reaches the process twice when npm runs it: from the terminal, and from npm. That is one wish. */
const SAME_WISH_MS = 400;

const EXIT = { fine: 0, failed: 1, usage: 2, interrupted: 130 } as const;

async function run(file: string): Promise<void> {
  const loaded = loadConfig(file);
  if (loaded.kind === 'faults') {
    process.stderr.write(formatFaults(loaded.faults));
    process.exit(EXIT.failed);
  }
  const { config } = loaded;
  const clock = systemClock();
  const ids = new RandomIds();
  const text = config.log.format === 'text' || (config.log.format === 'auto' && isatty(1));
  const log = createLog({ level: config.log.level, format: text ? 'text' : 'json', clock });
  let app: App | undefined;
  let knowledge: Knowledge | undefined;
  dieOfFailures(log, () => app);

  try {
    const token = apiToken(config, ids, log);
    knowledge = await Knowledge.open({
      config,
      part: configPart(config, loaded.snapshot),
      clock,
      ids,
      log: log.logger,
    });
    app = new App({ loaded, log, ids, clock, token, version: version(), knowledge });
    await app.start();
  } catch (error) {
    await knowledge?.close();
    // What cannot be bound or opened is told in its message; a stack would hide it.
    log.logger.error({}, error instanceof Error ? error.message : String(error));
    await log.close();
    process.stderr.write(`trunkline: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(EXIT.failed);
  }

  const live = new LiveConfig(file, loaded);
  const watch = new ConfigWatch({
    file,
    clock,
    onChange: () => app.reloaded(live.reload()),
    onFault: (detail) =>
      log.logger.warn({ detail }, 'changes of the configuration go unseen; SIGHUP reloads it'),
  });
  handleSignals(app, live, clock, async (code) => {
    watch.close();
    await log.close();
    process.exit(code);
  });
}

function handleSignals(
  app: App,
  live: LiveConfig,
  clock: { now(): number },
  exit: (code: number) => Promise<void>,
): void {
  const onTerminal = isatty(0);
  let code: number = EXIT.fine;
  let stopping = false;
  let interruptedAt = Number.NEGATIVE_INFINITY;
  const drain = (): void => {
    if (stopping) return;
    stopping = true;
    void app.drain(live.config.drain.timeoutSeconds * 1000).then(() => exit(code));
  };
  process.on('SIGTERM', drain);
  process.on('SIGINT', () => {
    const now = clock.now();
    const sameWish = now - interruptedAt < SAME_WISH_MS;
    interruptedAt = now;
    if (sameWish) return;
    if (stopping) {
      // The third one does not even wait for the last BYEs.
      if (code === EXIT.interrupted) process.exit(code);
      code = EXIT.interrupted;
      app.stopNow();
    }
    drain();
  });
  process.on('SIGHUP', () => {
    // A terminal that was closed sends the same signal: then nobody is left to serve.
    if (onTerminal && !isatty(0)) {
      drain();
      return;
    }
    app.reopen();
    app.reloaded(live.reload(true));
  });
}

/** The token of the configuration or the environment, else the one kept beside the data; shown when it is made. */
function apiToken(config: Config, ids: RandomIds, log: Log): string {
  if (config.http.token !== undefined) return config.http.token.reveal();
  const { token, created } = storedToken(TOKEN_FILE, ids);
  log.logger.info({}, `the API token is kept in ${TOKEN_FILE}${created ? ' (made now)' : ''}`);
  // Not through the log: logs travel further than the terminal of the first start.
  if (created) process.stderr.write(`API token: ${token}\n`);
  return token;
}

/** A failure that nobody caught leaves the process in an unknown state: say it, save the records, and go. */
function dieOfFailures(log: Log, app: () => App | undefined): void {
  const die = (error: unknown): void => {
    log.logger.error({ err: error }, 'the gateway failed and stops');
    app()?.flushSync();
    log.flushSync();
    process.exit(EXIT.failed);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
}

function check(file: string): void {
  const loaded = loadConfig(file);
  if (loaded.kind === 'faults') {
    process.stderr.write(formatFaults(loaded.faults));
    process.exitCode = EXIT.failed;
    return;
  }
  const { trunkCount, numberCount, agentCount } = loaded.snapshot;
  process.stdout.write(
    `${file} is sound: trunks ${trunkCount}, numbers ${numberCount}, agents ${agentCount}\n`,
  );
  for (const warning of loaded.warnings) process.stdout.write(`warning: ${warning}\n`);
}

const given = parseArguments(process.argv.slice(2));
switch (given.kind) {
  case 'run':
    await run(given.file);
    break;
  case 'check':
    check(given.file);
    break;
  case 'help':
    process.stdout.write(USAGE);
    break;
  case 'version':
    process.stdout.write(`${version()}\n`);
    break;
  case 'fault':
    process.stderr.write(`${given.message}\n\n${USAGE}`);
    process.exitCode = EXIT.usage;
}
