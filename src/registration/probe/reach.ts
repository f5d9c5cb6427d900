/** The first stages of the probe, which need no account: name, connection, TLS, OPTIONS. */

import type { Server } from '#directory/server.js';
import type { Engine, RequestOutcome, Target, TransportName } from '#engine/engine.js';
import type { EngineFault } from '#engine/faults.js';
import { printable } from '#sip/octets.js';
import type { Dns } from '#targets/dns.js';
import { type Resolved, Resolver, targetKey } from '#targets/resolver.js';

import { faultVerdict, resolutionVerdict, verdictOf } from '../verdict.js';
import { type StepLog, tenth, within } from './log.js';
import { RecordingDns } from './recording-dns.js';
import type { Fact } from './report.js';

/** What one connection attempt found; `engine/embedded` has it done. */
export interface ConnectionFinding {
  readonly connectMs: number | null;
  readonly tls: {
    readonly version: string;
    readonly cipher: string;
    readonly serverName: string;
    readonly milliseconds: number;
    readonly chain: readonly {
      readonly subject: string;
      readonly issuer: string;
      readonly names: readonly string[];
      readonly validFrom: string;
      readonly validTo: string;
    }[];
  } | null;
  readonly fault: EngineFault | null;
}

export interface ReachPorts {
  readonly engine: Pick<Engine, 'request' | 'leavesFrom'>;
  readonly dns: Dns;
  /** Opens one connection, looks, and closes it. Calls `done` once, at the latest after `timeoutMs`. */
  readonly connect: (target: Target, timeoutMs: number, done: (finding: ConnectionFinding) => void) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly families?: readonly (4 | 6)[] | undefined;
  /** A request goes to this address: what comes from it is no stranger's. */
  readonly dialling?: ((address: string) => void) | undefined;
}

/** Addresses beyond these are not tried: the probe has an end. */
const TARGETS_MAX = 8;
const OPTIONS_MAX = 4;
/** A certificate that ends sooner is worth a word. */
const EXPIRY_WARNING_MS = 14 * 86_400_000;

/** The targets of the trunk's server, or of its proxy; empty when the name leads nowhere. */
export async function findTargets(
  log: StepLog,
  ports: ReachPorts,
  server: Server,
  transport: TransportName,
): Promise<readonly Target[]> {
  const { lane: subject, destination, tls } = server;
  const at = log.now();
  const dns = new RecordingDns(ports.dns);
  // A resolver of its own: what the gateway remembers must not hide what the DNS says now.
  const budget = log.budgetMs;
  const resolver = new Resolver({
    dns,
    clock: log.clock,
    random: ports.random,
    families: ports.families,
    timeoutMs: budget,
  });
  const resolved = await new Promise<Resolved>((resolve) =>
    resolver.resolve(destination, resolve, { transport, tls }),
  );
  const records = dns.questions.map(({ type, name, answer }): Fact => ({ type, name, answer }));
  if ('kind' in resolved) {
    const { code, detail } = resolutionVerdict(resolved);
    log.note('dns', subject, at, { outcome: 'fail', code, detail, facts: { records } });
    return [];
  }
  const targets = resolved.map(targetKey);
  log.note('dns', subject, at, {
    outcome: 'pass',
    detail:
      records.length === 0 ? 'an address, no name' : `leads to ${targets.slice(0, TARGETS_MAX).join(', ')}`,
    facts: { records, targets },
  });
  return resolved.slice(0, TARGETS_MAX);
}

/** Those of the targets that a connection can be opened to; over UDP those whose host does not refuse the port. */
export async function connectAll(
  log: StepLog,
  ports: ReachPorts,
  targets: readonly Target[],
): Promise<readonly Target[]> {
  const budget = log.budgetMs;
  const at = log.now();
  const findings = await Promise.all(
    targets.map(
      (target) => new Promise<ConnectionFinding>((resolve) => ports.connect(target, budget, resolve)),
    ),
  );
  return targets.filter((target, index) => noteConnection(log, target, at, findings[index]!));
}

/** True when the engine would use such a connection. */
function noteConnection(log: StepLog, target: Target, at: number, finding: ConnectionFinding): boolean {
  const subject = targetKey(target);
  const { connectMs, fault, tls } = finding;
  if (target.transport === 'udp' && fault === null) {
    log.note('connection', subject, at, {
      outcome: 'pass',
      detail: 'UDP opens no connection; the port is not refused',
    });
    return true;
  }
  if (connectMs === null) {
    const { code, detail } = faultVerdict(fault ?? { kind: 'unreachable', detail: 'no connection' });
    log.note('connection', subject, at, { outcome: 'fail', code, detail });
    return false;
  }
  log.note('connection', subject, at, { outcome: 'pass', detail: 'open', durationMs: connectMs });
  const shaking = tenth(at + connectMs);
  if (target.transport !== 'tls') return true;
  if (tls === null) {
    const { code, detail } = faultVerdict(fault ?? { kind: 'tls', reason: 'other', detail: 'no handshake' });
    log.note('tls', subject, shaking, { outcome: 'fail', code, detail });
    return false;
  }
  const chain = tls.chain.map(({ names, ...rest }): Fact => ({ ...rest, names: [...names] }));
  const { version, cipher, serverName } = tls;
  const shown = { version, cipher, serverName, chain };
  if (fault !== null) {
    const { code, detail } = faultVerdict(fault);
    log.note('tls', subject, shaking, {
      durationMs: tls.milliseconds,
      outcome: 'fail',
      code,
      detail,
      facts: shown,
    });
    return false;
  }
  const own = tls.chain[0];
  const unchecked = target.tls?.verify === false ? ', not checked: verification is off' : '';
  const left = own === undefined ? Number.NaN : Date.parse(own.validTo) - log.clock.wallNow();
  const soon = left < EXPIRY_WARNING_MS;
  log.note('tls', subject, shaking, {
    durationMs: tls.milliseconds,
    outcome: soon || unchecked !== '' ? 'warn' : 'pass',
    detail: `${version}, ${own?.subject ?? 'no certificate'}, valid to ${own?.validTo ?? '?'}${unchecked}${
      soon ? ': it ends soon' : ''
    }`,
    facts: shown,
  });
  return true;
}

/** The first target that answers OPTIONS; undefined when none does, which some providers hold to be right. */
export async function askOptions(
  log: StepLog,
  ports: ReachPorts,
  targets: readonly Target[],
  request: { readonly uri: string; readonly from: string },
): Promise<Target | undefined> {
  const budget = log.budgetMs;
  for (const { address } of targets) ports.dialling?.(address);
  const answers = await Promise.all(
    targets.slice(0, OPTIONS_MAX).map(async (target): Promise<boolean> => {
      const at = log.now();
      const outcome = await within(log.clock, budget, LATE, (done) =>
        ports.engine.request(
          {
            method: 'OPTIONS',
            uri: request.uri,
            target,
            from: request.from,
            to: `<${request.uri}>`,
            headers: [{ name: 'Accept', value: 'application/sdp' }],
          },
          done,
        ),
      );
      const verdict = verdictOf(outcome, { stage: 'options' });
      const heard = outcome.kind === 'response';
      log.note('options', targetKey(target), at, {
        outcome: verdict.code === 'ok' ? 'pass' : 'warn',
        code: verdict.code === 'ok' ? null : verdict.code,
        detail: verdict.detail,
        status: verdict.status,
        facts: heard ? capabilities(outcome.response.headers) : {},
      });
      return heard;
    }),
  );
  return targets[answers.indexOf(true)];
}

/** What a request that was not answered in time has met. */
export const LATE: RequestOutcome = {
  kind: 'fault',
  fault: { kind: 'timeout', heard: false, detail: 'no answer in the time of this step' },
};

function capabilities(headers: { get(key: string): string | undefined }): { [name: string]: Fact } {
  const facts: { [name: string]: Fact } = {};
  for (const key of ['server', 'user-agent', 'allow', 'supported']) {
    const value = headers.get(key);
    if (value !== undefined) facts[key] = printable(value);
  }
  return facts;
}
