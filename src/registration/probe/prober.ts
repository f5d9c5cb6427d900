/**
 * The staged probe: why an account would or would not register, found step by step from the name to the password:
 * DNS, a connection to each target, TLS, OPTIONS, REGISTER without credentials, REGISTER with them, which is removed
 * again. A step takes at most 5 seconds and all of them 30. A password that was rejected is not sent a second time.
 */
import { serverOf } from '#directory/server.js';
import type { Trunk } from '#directory/trunk.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import { printable } from '#sip/octets.js';
import { hostPort } from '#sip/uri.js';
import { targetKey } from '#targets/resolver.js';
import { type Account, accountOf } from '../accounts.js';
import { isWarning, type Verdict } from '../verdict.js';
import { StepLog } from './log.js';
import { askOptions, connectAll, findTargets, type ReachPorts } from './reach.js';
import { RegisterStages } from './register-stages.js';
import type { ProbeReport, ProbeStep, StageName } from './report.js';

export interface ProberOptions extends ReachPorts {
  readonly clock: Clock;
  readonly ids: Ids;
}

/** Probes at the same time: each is a handful of sockets and somebody else's server. */
const RUNNING_MAX = 8;

export class Prober {
  readonly #options: ProberOptions;
  #running = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** Never rejects. Undefined: too many probes run already. */
  async probe(trunk: Trunk): Promise<ProbeReport | undefined> {
    if (this.#running >= RUNNING_MAX) return undefined;
    this.#running++;
    try {
      return await this.#probe(trunk);
    } finally {
      this.#running--;
    }
  }

  async #probe(trunk: Trunk): Promise<ProbeReport> {
    const log = new StepLog(this.#options.clock);
    const account = accountOf(trunk);
    const verdict = await this.#stages(log, trunk, account);
    return {
      verdict,
      server: hostPort(trunk.server.host, trunk.server.port),
      transport: trunk.transport,
      aor: account === undefined ? null : printable(account.aor),
      startedAt: log.startedAt,
      durationMs: log.now(),
      steps: log.steps,
    };
  }

  async #stages(log: StepLog, trunk: Trunk, account: Account | undefined): Promise<Verdict> {
    const options = this.#options;
    const targets = await findTargets(log, options, serverOf(trunk), trunk.transport);
    if (targets.length === 0) return blocked(log, ['connection', 'tls', 'options', 'challenge', 'register']);
    const open = await connectAll(log, options, targets);
    if (open.length === 0) return blocked(log, ['options', 'challenge', 'register']);
    const uri = `sip:${hostPort(trunk.server.host, trunk.server.port)}`;
    const from =
      account === undefined
        ? `<sip:trunkline@${hostPort(trunk.domain ?? trunk.server.host)}>`
        : `<${account.aor}>`;
    const answering = await askOptions(log, options, open, { uri, from });
    const target = answering ?? open[0]!;
    if (account === undefined) {
      for (const stage of ['challenge', 'register'] as const) {
        log.skip(stage, targetKey(target), 'no user was given');
      }
      return answering === undefined
        ? blocked(log, [])
        : withWarnings(log, { code: 'ok', detail: 'the server answers; no user was given to register' });
    }
    const verdict = await new RegisterStages(log, options, account, target).run();
    return verdict.code === 'ok' ? withWarnings(log, verdict) : verdict;
  }
}

/** What stood in the way: the first failure, or else the first warning. */
function blocked(log: StepLog, skipped: readonly StageName[]): Verdict {
  const cause =
    log.steps.find(({ outcome }) => outcome === 'fail') ?? log.steps.find(({ code }) => code !== null);
  for (const stage of skipped) log.skip(stage, cause?.subject ?? '', 'not tried');
  return verdictOfStep(cause);
}

function verdictOfStep(step: ProbeStep | undefined): Verdict {
  if (step?.code === undefined || step.code === null)
    return { code: 'no_response', detail: 'no server answered' };
  return { code: step.code, detail: step.detail, ...(step.status === null ? {} : { status: step.status }) };
}

/** A warning is the verdict where nothing worse is. */
function withWarnings(log: StepLog, verdict: Verdict): Verdict {
  const warning = log.steps.find(({ code }) => code !== null && isWarning(code));
  return warning === undefined ? verdict : verdictOfStep(warning);
}
