/**
 * A real Kamailio on loopback. `startKamailio` is a TLS peer: it relays what comes by UDP to the gateway by TLS, and
 * what comes by TLS to an agent by UDP; it stays in the path (Record-Route) and verifies the gateway's certificate
 * against the given authority. `runKamailio` runs any configuration; `kamailio-registrar.ts` uses it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificateFiles } from './certificates.js';
import { freePorts } from './ports.js';
import { isBound, Program, temporaryFolder } from './processes.js';

export interface KamailioOptions {
  /** The gateway's TLS port. */
  readonly gatewayPort: number;
  /** Where calls from the gateway go, by UDP. */
  readonly agentPort: number;
  readonly certificate: CertificateFiles;
  /** Signs the certificates of everybody. */
  readonly caFile: string;
  readonly tlsPort?: number | undefined;
}

export interface Kamailio {
  readonly program: Program;
  /** Where a caller sends to, by UDP. */
  readonly udpPort: number;
  /** Where the gateway sends to. */
  readonly tlsPort: number;
  stop(): Promise<void>;
}

export interface KamailioTls {
  readonly certificate: CertificateFiles;
  /** With it, peers that Kamailio connects to are verified, and so are those that show a certificate. */
  readonly caFile?: string | undefined;
}

export interface KamailioConfig {
  /** What follows the head: listen, loadmodule, modparam and the routes. */
  readonly script: string;
  readonly tls?: KamailioTls | undefined;
  /** It is up when all of these are bound. */
  readonly ports: readonly { readonly transport: 'udp' | 'tcp'; readonly port: number }[];
}

const HEAD = `#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
auto_aliases=no
dns=no
rev_dns=no
`;

function tlsConfig({ certificate, caFile }: KamailioTls): string {
  const verify = caFile === undefined ? 'no' : 'yes';
  const section = (name: string, require: string): string => `[${name}:default]
method = TLSv1.2+
certificate = ${certificate.certFile}
private_key = ${certificate.keyFile}
${caFile === undefined ? '' : `ca_list = ${caFile}\n`}verify_certificate = ${verify}
require_certificate = ${require}
`;
  return `${section('server', 'no')}\n${section('client', verify)}`;
}

/** Resolves when every port is bound. */
export async function runKamailio({ script, tls, ports }: KamailioConfig): Promise<Program> {
  const folder = temporaryFolder('kamailio');
  let head = HEAD;
  if (tls !== undefined) {
    writeFileSync(join(folder, 'tls.cfg'), tlsConfig(tls));
    head += `enable_tls=yes\nloadmodule "tls.so"\nmodparam("tls", "config", "${join(folder, 'tls.cfg')}")\n`;
  }
  writeFileSync(join(folder, 'kamailio.cfg'), `${head}${script}`);
  const program = new Program(
    'kamailio',
    'kamailio',
    [
      ...['-f', join(folder, 'kamailio.cfg'), '-DD', '-E', '-m', '16', '-M', '4'],
      ...['-Y', folder, '-P', join(folder, 'kamailio.pid'), '-w', folder],
    ],
    { cwd: folder },
  );
  await program.until('its ports are bound', () =>
    ports.every(({ transport, port }) => isBound(transport, port)),
  );
  return program;
}

/**
 * Kills a Kamailio with all its processes, as power failure would: nothing is said to anybody, but the kernel closes
 * the connections.
 */
export async function killKamailio(program: Program): Promise<void> {
  // The children outlive a parent that dies this way.
  const children = readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, 'latin1')
    .split(' ')
    .filter((word) => word.trim() !== '')
    .map(Number);
  program.child.kill('SIGKILL');
  for (const pid of children) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  await program.exited;
}

export async function startKamailio(options: KamailioOptions): Promise<Kamailio> {
  const [udpPort = 0, freshTlsPort = 0] = await freePorts(2);
  const tlsPort = options.tlsPort ?? freshTlsPort;
  const { certificate, caFile } = options;
  const program = await runKamailio({
    tls: { certificate, caFile },
    ports: [
      { transport: 'udp', port: udpPort },
      { transport: 'tcp', port: tlsPort },
    ],
    script: `
listen=udp:127.0.0.1:${udpPort}
listen=tls:127.0.0.1:${tlsPort} name "tls"

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("rr", "enable_double_rr", 1)

request_route {
  if (has_totag()) {
    if (!loose_route() && !is_method("ACK")) {
      sl_send_reply("481", "No Route");
      exit;
    }
    t_relay();
    exit;
  }
  if (is_method("CANCEL")) {
    if (t_check_trans()) t_relay();
    exit;
  }
  # The ACK of a refusal ends at the transaction that it belongs to.
  if (is_method("ACK")) {
    t_check_trans();
    exit;
  }
  record_route();
  if (proto == TLS) {
    append_hf("X-Kamailio-Tls: yes\\r\\n");
    $du = "sip:127.0.0.1:${options.agentPort}";
  } else {
    $du = "sip:127.0.0.1:${options.gatewayPort};transport=tls";
  }
  t_relay();
}
`,
  });
  return {
    program,
    udpPort,
    tlsPort,
    stop: async () => {
      await program.stop();
    },
  };
}
