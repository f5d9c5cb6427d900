/** Starts SIPp with a scenario of `sipp-scenarios/` and tells how it went. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from './ports.js';
import { isBound, Program, ROOT, temporaryFolder } from './processes.js';

const HOST = '127.0.0.1';
const TIMEOUT_SECONDS = 40;

export interface SippOptions {
  /** `uac/answered`, a file of `sipp-scenarios/` without its ending. */
  readonly scenario: string;
  /** Where a caller sends to. Absent for agents. */
  readonly to?: number | undefined;
  /** Its own port; default a free one. */
  readonly port?: number | undefined;
  /** Its own address; default 127.0.0.1. */
  readonly address?: string | undefined;
  /** Calls to make, or to take before it ends by itself. Default 1. */
  readonly calls?: number | undefined;
  /** Calls per second. Default 10. */
  readonly rate?: number | undefined;
  /** Calls at the same time. */
  readonly limit?: number | undefined;
  /** User part of the Request-URI. */
  readonly service?: string | undefined;
  /** `u1` UDP (default), `t1` one TCP connection, `tn` one for each call. */
  readonly transport?: 'u1' | 't1' | 'tn' | undefined;
  /** User and password for `[authentication]`: MD5, with the first challenge that comes. */
  readonly login?: { readonly username: string; readonly password: string } | undefined;
  /** Length of pauses in the scenario. */
  readonly pauseMs?: number | undefined;
  /** Port of the lossy link that it is reached by, for scenarios which say `[link_port]`. */
  readonly linkPort?: number | undefined;
  /** Values that the scenario names: `[dest_user]`. */
  readonly keys?: Readonly<Record<string, string>> | undefined;
  /** Neither retransmits nor recognises retransmissions: each message counts (`-nr`). */
  readonly literal?: boolean | undefined;
  /** Keeps every message for `messages`. */
  readonly trace?: boolean | undefined;
  /** Keeps every response time for `responseTimes`. */
  readonly responseTimes?: boolean | undefined;
  /** After this it gives up, and calls in progress have failed. Default 40 s. */
  readonly timeoutSeconds?: number | undefined;
}

export interface SippMessage {
  readonly direction: 'sent' | 'received';
  /** Milliseconds since 1970. */
  readonly at: number;
  /** First line without CRLF. */
  readonly startLine: string;
  /** One char per octet. */
  readonly text: string;
  readonly body: string;
}

export interface SippResult {
  readonly exitCode: number | null;
  readonly created: number;
  readonly successful: number;
  readonly failed: number;
  /** SIPp's reasons of failure that occurred, `UnexpectedMessage: 3`. */
  readonly failures: Readonly<Record<string, number>>;
  /** Messages that it sent again. */
  readonly retransmissions: number;
  /** Messages for no call that it knows. */
  readonly outOfCall: number;
  /** What it wrote about failed calls. */
  readonly errors: string;
}

export class Sipp {
  readonly program: Program;
  readonly port: number;
  readonly #folder: string;
  readonly #scenario: string;
  readonly #deadlineMs: number;
  readonly #address: string;
  readonly #startedAt = Date.now();

  private constructor(program: Program, port: number, folder: string, options: SippOptions) {
    this.program = program;
    this.port = port;
    this.#folder = folder;
    this.#scenario = options.scenario;
    this.#address = options.address ?? HOST;
    this.#deadlineMs = ((options.timeoutSeconds ?? TIMEOUT_SECONDS) + 5) * 1_000;
  }

  /** Resolves when it listens; callers have begun to call by then. */
  static async start(options: SippOptions): Promise<Sipp> {
    const [freshPort = 0, controlPort = 0] = await freePorts(2);
    const port = options.port ?? freshPort;
    const folder = temporaryFolder('sipp');
    const address = options.address ?? HOST;
    const args = [
      ...['-sf', join(ROOT, 'sipp-scenarios', `${options.scenario}.xml`)],
      ...['-i', address, '-p', String(port), '-bind_local', '-ci', '127.0.0.1', '-cp', String(controlPort)],
      ...['-t', options.transport ?? 'u1', '-m', String(options.calls ?? 1), '-nostdin'],
      ...[
        // More sockets than a process may open is a fatal error to it.
        ...['-max_socket', '1000'],
        '-buff_size',
        '4000000',
        '-cid_str',
        `${options.to === undefined ? 'agent' : 'caller'}-id-%u-%p@%s`,
      ],
      ...['-trace_err', '-error_file', 'errors.log', '-trace_stat', '-stf', 'stat.csv', '-fd', '1'],
      ...['-timeout', `${options.timeoutSeconds ?? TIMEOUT_SECONDS}s`, '-timeout_error'],
    ];
    if (options.to !== undefined) args.push('-r', String(options.rate ?? 10), `127.0.0.1:${options.to}`);
    if (options.limit !== undefined) args.push('-l', String(options.limit));
    if (options.service !== undefined) args.push('-s', options.service);
    if (options.login !== undefined) {
      args.push('-au', options.login.username, '-ap', options.login.password);
      // Without the user part by itself, which is not the Request-URI (RFC 7616 §3.4.6).
      args.push('-auth_uri', `${options.service}@127.0.0.1:${options.to}`);
    }
    if (options.pauseMs !== undefined) args.push('-d', String(options.pauseMs));
    if (options.linkPort !== undefined) args.push('-key', 'link_port', String(options.linkPort));
    for (const [name, value] of Object.entries(options.keys ?? {})) args.push('-key', name, value);
    if (options.literal) args.push('-nr');
    if (options.trace) args.push('-trace_msg', '-message_file', 'messages.log');
    if (options.responseTimes) args.push('-trace_rtt', '-rtt_freq', '1');
    const program = new Program(`sipp ${options.scenario}`, 'sipp', args, { cwd: folder });
    const sipp = new Sipp(program, port, folder, options);
    if (options.to === undefined) {
      const transport = (options.transport ?? 'u1') === 'u1' ? 'udp' : 'tcp';
      await program.until('its port is bound', () => isBound(transport, port));
    }
    return sipp;
  }

  /** How the Call-IDs of its calls end, no other program's do. */
  get callIdEnd(): string {
    return `-${this.program.pid}@${this.#address}`;
  }

  /** Waits until its calls are done; the result says how they went. */
  async result(): Promise<SippResult> {
    // Its own time-out lets calls in progress go on, which may take for ever.
    const deadline = setTimeout(() => this.program.child.kill('SIGKILL'), this.#deadlineMs);
    const { code } = await this.program.exited;
    clearTimeout(deadline);
    const [names = [], ...rows] = this.#read('stat.csv')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(';'));
    const last = rows.at(-1) ?? [];
    const value = (name: string): number => Number(last[names.indexOf(name)] ?? 0);
    const failures: Record<string, number> = {};
    for (const name of names) {
      const reason = /^Failed(?!Call\(C\))(.+)\(C\)$/.exec(name)?.[1];
      if (reason !== undefined && value(name) > 0) failures[reason] = value(name);
    }
    return {
      exitCode: code,
      created: value('TotalCallCreated'),
      successful: value('SuccessfulCall(C)'),
      failed: value('FailedCall(C)'),
      failures,
      retransmissions: value('Retransmissions(C)'),
      outOfCall: value('OutOfCallMsgs(C)'),
      errors: `${this.#read('errors.log')}${this.program.stderr}`.slice(0, 4_000),
    };
  }

  /**
   * As `result`, but throws an Error with SIPp's own account unless every call succeeded. With `calls` given, that
   * many must have.
   */
  async succeed(calls?: number): Promise<SippResult> {
    const result = await this.result();
    if (
      result.exitCode !== 0 ||
      result.failed > 0 ||
      (calls === undefined ? result.successful === 0 : result.successful !== calls)
    ) {
      throw new Error(`${this.#scenario} failed: ${JSON.stringify(result, null, 2).replaceAll('\\n', '\n')}`);
    }
    return result;
  }

  /** Ends it before its calls are done. */
  async stop(): Promise<void> {
    await this.program.stop('SIGKILL');
  }

  /** Calls that it has in progress or has had, as of its last report (once a second). */
  get created(): number {
    const [names = [], ...rows] = this.#read('stat.csv')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(';'));
    return Number(rows.at(-1)?.[names.indexOf('TotalCallCreated')] ?? 0);
  }

  /** What it sent and received, in order; needs `trace`. */
  messages(): SippMessage[] {
    const log = readFileSync(join(this.#folder, 'messages.log'), 'latin1');
    const messages: SippMessage[] = [];
    const head = /^-{20,} ([^\n]*)\n(?:UDP|TCP|TLS) message (sent|received) [([](\d+)[)\] a-z]*:\n\n/gm;
    for (let found = head.exec(log); found !== null; found = head.exec(log)) {
      const text = log.slice(head.lastIndex, head.lastIndex + Number(found[3]));
      head.lastIndex += text.length;
      messages.push({
        direction: found[2] === 'sent' ? 'sent' : 'received',
        at: Date.parse(String(found[1]).replace(' ', 'T')),
        startLine: text.slice(0, text.indexOf('\r\n')),
        text,
        body: text.slice(text.indexOf('\r\n\r\n') + 4),
      });
    }
    return messages;
  }

  /**
   * Response times of the scenario's first timer, in milliseconds, and when each was over, some milliseconds off, since
   * 1970. Needs the option of that name.
   */
  responseTimes(): { readonly at: number; readonly ms: number }[] {
    const file = readdirSync(this.#folder).find((name) => name.endsWith('_rtt.csv'));
    if (file === undefined) return [];
    return this.#read(file)
      .split('\n')
      .slice(1)
      .map((line) => line.split(';'))
      .filter(([, , timer]) => timer?.trim() === '1')
      .map(([at, ms]) => ({ at: this.#startedAt + Number(at), ms: Number(ms) }));
  }

  #read(name: string): string {
    const path = join(this.#folder, name);
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }
}
