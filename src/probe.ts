/** The program behind `npm run probe`: one probe with an engine of its own, a report, an exit code. */
import { networkInterfaces } from 'node:os';
import { PROBE_USAGE, parseProbeArguments } from '#config/probe-arguments.js';
import type { Trunk } from '#directory/trunk.js';
import { EmbeddedEngine } from '#engine/embedded/engine.js';
import { probeConnection } from '#engine/embedded/transport/connection-probe.js';
import type { EngineHandlers } from '#engine/engine.js';
import { RandomIds } from '#lib/ids.js';
import { systemClock } from '#lib/wheel.js';
import { Prober } from '#registration/probe/prober.js';
import type { ProbeReport } from '#registration/probe/report.js';
import { formatReport } from '#registration/probe/table.js';
import { systemDns } from '#targets/dns.js';

const EXIT = { ok: 0, notOk: 1, usage: 2 } as const;

/** Whatever asks something of the probe gets no answer; a server that pings us with OPTIONS does. */
const HANDLERS: EngineHandlers = {
  screen: () => 'known',
  onInvite: (invite) => {
    invite.events = { onCancel: () => undefined };
    invite.reject(480, '');
  },
  onRequest: (incoming) => incoming.respond(incoming.request.method === 'OPTIONS' ? 200 : 481, ''),
  onNotice: () => undefined,
};

async function probe(trunk: Trunk): Promise<ProbeReport | undefined> {
  const clock = systemClock();
  const ids = new RandomIds();
  const host = listenHost(trunk);
  const engine = new EmbeddedEngine({
    listen: [{ transport: 'udp', host, port: 0 }],
    clock,
    ids,
  });
  await engine.start(HANDLERS);
  const prober = new Prober({
    engine,
    dns: systemDns(),
    clock,
    ids,
    random: Math.random,
    families: host === '::' ? [4, 6] : [4],
    connect: (target, timeoutMs, done) => probeConnection(clock, target, timeoutMs, done),
  });
  try {
    return await prober.probe(trunk);
  } finally {
    await engine.stop(0);
  }
}

/** A socket that reaches the server: the loopback for one on this machine, else all addresses there are. */
function listenHost({ server, outboundProxy }: Trunk): string {
  const { host } = outboundProxy ?? server;
  if (host === 'localhost' || host.startsWith('127.')) return '127.0.0.1';
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return addresses.some(({ family }) => family === 'IPv6') ? '::' : '0.0.0.0';
}

const given = parseProbeArguments(process.argv.slice(2));
switch (given.kind) {
  case 'help':
    process.stdout.write(PROBE_USAGE);
    break;
  case 'fault':
    process.stderr.write(`${given.message}\n\n${PROBE_USAGE}`);
    process.exitCode = EXIT.usage;
    break;
  case 'probe': {
    const report = await probe(given.trunk);
    if (report !== undefined) {
      process.stdout.write(given.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report));
    }
    process.exit(report?.verdict.code === 'ok' ? EXIT.ok : EXIT.notOk);
  }
}
