/**
 * A provider that writes down when each INVITE was sent, and an agent that answers: one process, see
 * `invite-recorder.pl` for why it is exact on a machine under load.
 */
import { join } from 'node:path';
import { freePorts } from './ports.js';
import { Program, ROOT } from './processes.js';

/** A new INVITE; a retransmission is none. */
export interface SentInvite {
  /** When it was handed to the kernel: milliseconds since 1970, with fractions. */
  readonly at: number;
  /** User part of the Request-URI. */
  readonly callee: string;
  readonly callId: string;
}

export class InviteRecorder {
  readonly program: Program;
  readonly providerPort: number;
  readonly agentPort: number;
  readonly #invites: SentInvite[] = [];
  readonly #branches = new Set<string>();
  #read = 0;

  private constructor(program: Program, providerPort: number, agentPort: number) {
    this.program = program;
    this.providerPort = providerPort;
    this.agentPort = agentPort;
  }

  /** Resolves when both listen. */
  static async start(): Promise<InviteRecorder> {
    const [provider = 0, agent = 0] = await freePorts(2);
    const script = join(ROOT, 'test/kit/invite-recorder.pl');
    const program = new Program('invite-recorder', 'perl', [script, String(provider), String(agent)]);
    await program.until('it listens', () => program.stdout.startsWith('ready\n'));
    return new InviteRecorder(program, provider, agent);
  }

  /** All so far, in the order in which they were sent. */
  get invites(): readonly SentInvite[] {
    const { stdout } = this.program;
    const end = stdout.lastIndexOf('\n') + 1;
    if (end > this.#read) {
      for (const line of stdout.slice(this.#read, end).split('\n')) {
        const [at = '', branch, callee, callId] = line.split(' ');
        if (branch === undefined || callee === undefined || callId === undefined) continue;
        if (this.#branches.has(branch)) continue;
        this.#branches.add(branch);
        this.#invites.push({ at: Number(at) * 1000, callee, callId });
      }
      this.#read = end;
      this.#invites.sort((a, b) => a.at - b.at);
    }
    return this.#invites;
  }

  async stop(): Promise<void> {
    await this.program.stop('SIGKILL');
  }
}
