/**
 * A real Kamailio as the registrar of a provider: usrloc in memory, digest from a table of users, and what makes
 * providers refuse. A call to one of its users goes to the contact that is registered, back along the flow that the
 * REGISTER came by. One port serves UDP and TCP, another TLS.
 */
import { createSocket } from 'node:dgram';
import { type KamailioTls, killKamailio, runKamailio } from './kamailio.js';
import { freePorts } from './ports.js';
import { type Program, until } from './processes.js';

export interface RegistrarOptions {
  /** Password by user. */
  readonly users: Readonly<Record<string, string>>;
  /** Default `registrar.test`. */
  readonly realm?: string | undefined;
  /** The only algorithm that is offered and taken. Default MD5. */
  readonly algorithm?: 'MD5' | 'SHA-256' | undefined;
  /** After that many seconds a nonce is stale. Default 300. */
  readonly nonceSeconds?: number | undefined;
  /** What a user that it does not have gets: 404, or a challenge like everybody (default). */
  readonly unknownUser?: 404 | 'challenge' | undefined;
  /** Shorter registrations are refused with 423 and this as Min-Expires. */
  readonly minExpires?: number | undefined;
  /** Longer registrations are cut. Default 3600. */
  readonly maxExpires?: number | undefined;
  /** Others are refused with 403 before any challenge. */
  readonly allowedSources?: readonly string[] | undefined;
  /** Every REGISTER is refused with 503 and this as Retry-After, in seconds. */
  readonly unavailable?: number | undefined;
  /** Calls to others than its users go there by UDP, once the caller has shown user and password (407). */
  readonly outboundPort?: number | undefined;
  /** REGISTER is not what this server is for: 405. */
  readonly noRegistrar?: boolean | undefined;
  readonly tls?: KamailioTls | undefined;
  /** Default free ones. */
  readonly port?: number | undefined;
  readonly tlsPort?: number | undefined;
}

/** A contact as usrloc has it. */
export interface Binding {
  readonly user: string;
  readonly contact: string;
  /** Seconds left. */
  readonly expires: number;
  readonly callId: string;
  readonly cseq: number;
  /** `sip:127.0.0.1:40312;transport=tcp`: the flow that it came by. */
  readonly received: string;
}

/** A REGISTER as it came in, retransmissions included. */
export interface SeenRegister {
  /** Seconds since 1970. */
  readonly at: number;
  readonly protocol: string;
  readonly source: string;
  readonly requestUri: string;
  readonly user: string;
  readonly callId: string;
  readonly cseq: number;
  /** Of the header field; '' without. */
  readonly expires: string;
  readonly contact: string;
  /** With credentials. */
  readonly authorised: boolean;
}

/** An INVITE to another than its users, as it came in. */
export interface SeenInvite {
  readonly protocol: string;
  /** `127.0.0.1:40312` */
  readonly source: string;
  readonly contact: string;
  readonly authorised: boolean;
}

const SEEN = 'SEEN-REGISTER';
const SEEN_INVITE = 'SEEN-INVITE';

export class KamailioRegistrar {
  /** UDP and TCP. */
  readonly port: number;
  readonly tlsPort: number;
  readonly #rpcPort: number;
  readonly #options: RegistrarOptions;
  #program: Program;
  /** What earlier processes of this registrar have said. */
  #past = '';

  private constructor(options: RegistrarOptions, program: Program, ports: readonly [number, number, number]) {
    this.#options = options;
    this.#program = program;
    [this.port, this.tlsPort, this.#rpcPort] = ports;
  }

  static async start(options: RegistrarOptions): Promise<KamailioRegistrar> {
    const [port = 0, tlsPort = 0, rpcPort = 0] = await freePorts(3);
    const ports = [options.port ?? port, options.tlsPort ?? tlsPort, rpcPort] as const;
    return new KamailioRegistrar(options, await run(options, ports), ports);
  }

  /** Every REGISTER so far, across restarts. */
  get seen(): SeenRegister[] {
    return `${this.#past}${this.#program.stderr}`
      .split('\n')
      .filter((line) => line.includes(SEEN))
      .map((line) => {
        const [at, protocol, source, requestUri, user, callId, cseq, expires, authorised, contact] = line
          .slice(line.indexOf(SEEN) + SEEN.length + 1)
          .split('|');
        return {
          at: Number(at),
          protocol: protocol ?? '',
          source: source ?? '',
          requestUri: requestUri ?? '',
          user: user ?? '',
          callId: callId ?? '',
          cseq: Number(cseq),
          expires: expires ?? '',
          authorised: authorised === '1',
          contact: contact ?? '',
        };
      });
  }

  /** Every INVITE that left through it so far, challenged ones included. */
  get seenInvites(): SeenInvite[] {
    return `${this.#past}${this.#program.stderr}`
      .split('\n')
      .filter((line) => line.includes(SEEN_INVITE))
      .map((line) => {
        const fields = line.slice(line.indexOf(SEEN_INVITE) + SEEN_INVITE.length + 1).split('|');
        const [protocol = '', source = '', authorised, contact = ''] = fields;
        return { protocol, source, authorised: authorised === '1', contact };
      });
  }

  /** What usrloc holds now, of one user or all. */
  async bindings(user?: string): Promise<Binding[]> {
    const dump = (await this.#call('ul.dump')) as Dump;
    return dump.Domains.flatMap(({ Domain }) => Domain.AoRs ?? [])
      .flatMap(({ Info }) => Info.Contacts.map(({ Contact }) => ({ user: Info.AoR, ...Contact })))
      .map((contact) => ({
        user: contact.user,
        contact: contact.Address,
        expires: Number(contact.Expires),
        callId: contact['Call-ID'],
        cseq: Number(contact.CSeq),
        received: contact.Received,
      }))
      .filter((binding) => user === undefined || binding.user === user);
  }

  /** Waits until the user has a binding that fulfils the condition, and returns it. */
  async bound(
    user: string,
    condition: (binding: Binding) => boolean = () => true,
    timeoutMs = 15_000,
  ): Promise<Binding> {
    let all: Binding[] = [];
    let found: Binding | undefined;
    await until(
      () => `a binding of ${user}; there are ${JSON.stringify(all)}. ${this.#program.tail}`,
      async () => {
        all = await this.bindings();
        found = all.find((binding) => binding.user === user && condition(binding));
        return found !== undefined;
      },
      timeoutMs,
    );
    return found as Binding;
  }

  /** Waits until the user has no binding any more. */
  async unbound(user: string, timeoutMs = 15_000): Promise<void> {
    await until(`no binding of ${user}`, async () => (await this.bindings(user)).length === 0, timeoutMs);
  }

  /** Forgets every binding, as a provider that lost its memory and nobody noticed. */
  async forget(user: string): Promise<void> {
    await this.#call('ul.rm', ['location', user]);
  }

  /** Dies at once; what it knew is gone. */
  async kill(): Promise<void> {
    await killKamailio(this.#program);
    this.#past += this.#program.stderr;
    this.#program.stderr = '';
  }

  /** Comes back on the same ports after `kill`. */
  async restart(): Promise<void> {
    this.#program = await run(this.#options, [this.port, this.tlsPort, this.#rpcPort]);
  }

  async stop(): Promise<void> {
    await this.#program.stop();
  }

  /** A JSON-RPC call by datagram; Kamailio answers at once or is not there. */
  async #call(method: string, params: readonly unknown[] = []): Promise<unknown> {
    const socket = createSocket('udp4');
    try {
      const text = await new Promise<string>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`Kamailio does not answer ${method}.`)), 5_000);
        socket.once('message', (octets) => {
          clearTimeout(timer);
          resolve(octets.toString('utf8'));
        });
        socket.once('error', reject);
        socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }), this.#rpcPort, '127.0.0.1');
      });
      const { result, error } = JSON.parse(text) as { result?: unknown; error?: { message: string } };
      if (error !== undefined) throw new Error(`${method}: ${error.message}`);
      return result;
    } finally {
      socket.close();
    }
  }
}

interface Dump {
  readonly Domains: readonly {
    readonly Domain: {
      readonly AoRs?: readonly {
        readonly Info: {
          readonly AoR: string;
          readonly Contacts: readonly {
            readonly Contact: {
              readonly Address: string;
              readonly Expires: number | string;
              readonly 'Call-ID': string;
              readonly CSeq: number;
              readonly Received: string;
            };
          }[];
        };
      }[];
    };
  }[];
}

function run(
  options: RegistrarOptions,
  [port, tlsPort, rpcPort]: readonly [number, number, number],
): Promise<Program> {
  const { tls } = options;
  return runKamailio({
    script: script(options, [port, tlsPort, rpcPort]),
    tls,
    ports: [
      { transport: 'udp', port },
      { transport: 'tcp', port },
      { transport: 'udp', port: rpcPort },
      ...(tls === undefined ? [] : [{ transport: 'tcp', port: tlsPort } as const]),
    ],
  });
}

/** A text for Kamailio's language, in quotes. */
function quoted(text: string): string {
  if (!/^[\w .@+~-]*$/.test(text)) throw new Error(`Not for a Kamailio script: ${text}`);
  return `"${text}"`;
}

function outbound(realm: string, port: number): string {
  return `    $var(credentials) = 0;
    if (is_present_hf("Proxy-Authorization")) $var(credentials) = 1;
    xlog("L_NOTICE", "${SEEN_INVITE} $proto|$si:$sp|$var(credentials)|$ct\\n");
    if ($var(credentials) == 0 || !pv_proxy_authenticate(${realm}, "$sht(users=>$au)", "0")) {
      proxy_challenge(${realm}, "1");
      exit;
    }
    consume_credentials();
    $du = "sip:127.0.0.1:${port}";
    t_relay();
    exit;
`;
}

function script(
  options: RegistrarOptions,
  [port, tlsPort, rpcPort]: readonly [number, number, number],
): string {
  const realm = quoted(options.realm ?? 'registrar.test');
  const { minExpires, allowedSources, unavailable } = options;
  return `
listen=udp:127.0.0.1:${port}
listen=tcp:127.0.0.1:${port}
${options.tls === undefined ? '' : `listen=tls:127.0.0.1:${tlsPort}\n`}# Flows live as long as their registrations.
tcp_connection_lifetime=7200

loadmodule "jsonrpcs.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "htable.so"
loadmodule "auth.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
modparam("jsonrpcs", "transport", 4)
modparam("jsonrpcs", "dgram_socket", "udp:127.0.0.1:${rpcPort}")
modparam("rr", "enable_double_rr", 1)
modparam("auth", "algorithm", "${options.algorithm === 'SHA-256' ? 'SHA-256' : ''}")
modparam("auth", "nonce_expire", ${options.nonceSeconds ?? 300})
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "timer_interval", 1)
modparam("registrar", "case_sensitive", 1)
modparam("registrar", "max_expires", ${options.maxExpires ?? 3600})
modparam("registrar", "received_avp", "$avp(RECEIVED)")
modparam("nathelper", "received_avp", "$avp(RECEIVED)")
modparam("htable", "htable", "users=>size=4;")

event_route[htable:mod-init] {
${Object.entries(options.users)
  .map(([user, password]) => `  $sht(users=>${user}) = ${quoted(password)};`)
  .join('\n')}
}

request_route {
  if (is_method("REGISTER")) {
    route(REGISTER);
    exit;
  }
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
  if (is_method("OPTIONS") && $rU == $null) {
    sl_send_reply("200", "OK");
    exit;
  }
  record_route();
  if (!lookup("location")) {
${options.outboundPort === undefined ? '' : outbound(realm, options.outboundPort)}    sl_send_reply("404", "Not Registered");
    exit;
  }
  t_relay();
}

route[REGISTER] {
  $var(credentials) = 0;
  if (is_present_hf("Authorization")) $var(credentials) = 1;
  xlog("L_NOTICE", "${SEEN} $TV(Sn)|$proto|$si:$sp|$ru|$tU|$ci|$cs|$hdr(Expires)|$var(credentials)|$ct\\n");
${options.noRegistrar ? '  sl_send_reply("405", "Method Not Allowed");\n  exit;\n' : ''}${
  allowedSources === undefined
    ? ''
    : `  if (!(${allowedSources.map((address) => `$si == ${quoted(address)}`).join(' || ')})) {
    sl_send_reply("403", "Forbidden");
    exit;
  }
`
}${
  unavailable === undefined
    ? ''
    : `  append_to_reply("Retry-After: ${unavailable}\\r\\n");
  sl_send_reply("503", "Service Unavailable");
  exit;
`
}${
  options.unknownUser === 404
    ? `  if ($sht(users=>$tU) == $null) {
    sl_send_reply("404", "Not Found");
    exit;
  }
`
    : ''
}  force_rport();
  if ($var(credentials) == 0 || !pv_www_authenticate(${realm}, "$sht(users=>$au)", "0")) {
    www_challenge(${realm}, "1");
    exit;
  }
${
  minExpires === undefined
    ? ''
    : `  $var(asked) = $(hdr(Expires){s.int});
  if ($(ct{tobody.params}{param.value,expires}) != "") {
    $var(asked) = $(ct{tobody.params}{param.value,expires}{s.int});
  }
  if ($var(asked) > 0 && $var(asked) < ${minExpires}) {
    append_to_reply("Min-Expires: ${minExpires}\\r\\n");
    sl_send_reply("423", "Interval Too Brief");
    exit;
  }
`
}  fix_nated_register();
  save("location");
}
`;
}
