/**
 * A real Kamailio on loopback as TLS peer. It relays what comes by UDP to the gateway by TLS, and what comes by TLS
 * to an agent by UDP; it stays in the path (Record-Route) and verifies the gateway's certificate against the given
 * authority.
 */
import { writeFileSync } from 'node:fs';
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

export async function startKamailio(options: KamailioOptions): Promise<Kamailio> {
  const [udpPort = 0, freshTlsPort = 0] = await freePorts(2);
  const tlsPort = options.tlsPort ?? freshTlsPort;
  const folder = temporaryFolder('kamailio');
  const { certificate, caFile } = options;
  writeFileSync(
    join(folder, 'tls.cfg'),
    `[server:default]
method = TLSv1.2+
certificate = ${certificate.certFile}
private_key = ${certificate.keyFile}
ca_list = ${caFile}
verify_certificate = yes
require_certificate = no

[client:default]
method = TLSv1.2+
certificate = ${certificate.certFile}
private_key = ${certificate.keyFile}
ca_list = ${caFile}
verify_certificate = yes
require_certificate = yes
`,
  );
  writeFileSync(
    join(folder, 'kamailio.cfg'),
    `#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
enable_tls=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:127.0.0.1:${udpPort}
listen=tls:127.0.0.1:${tlsPort} name "tls"

loadmodule "tls.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("tls", "config", "${join(folder, 'tls.cfg')}")
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
  );
  const program = new Program(
    'kamailio',
    'kamailio',
    [
      ...['-f', join(folder, 'kamailio.cfg'), '-DD', '-E', '-m', '16', '-M', '4'],
      ...['-Y', folder, '-P', join(folder, 'kamailio.pid'), '-w', folder],
    ],
    { cwd: folder },
  );
  await program.until('its ports are bound', () => isBound('udp', udpPort) && isBound('tcp', tlsPort));
  return {
    program,
    udpPort,
    tlsPort,
    stop: async () => {
      await program.stop();
    },
  };
}
