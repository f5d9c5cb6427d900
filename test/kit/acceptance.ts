/** A gateway that is set up by its API alone, as the pages of the resources describe it. */
import { createSocket, type Socket } from 'node:dgram';
import { type Answer, type Asking, askAt, type Made, madeBy } from './ask.js';
import { API_TOKEN, Gateway } from './gateway.js';
import { until } from './processes.js';

export interface Acceptance {
  readonly gateway: Gateway;
  ask(path: string, how?: Asking): Promise<Answer>;
  /** Creates, and expects 201. */
  make(path: string, body: object): Promise<Made>;
  stop(): Promise<void>;
}

export async function startAcceptance(config: Readonly<Record<string, unknown>> = {}): Promise<Acceptance> {
  const gateway = await Gateway.start({ config });
  const url = `http://127.0.0.1:${gateway.httpPort}`;
  const ask: Acceptance['ask'] = (path, how) => askAt(url, path, { token: API_TOKEN, ...how });
  return {
    gateway,
    ask,
    make: async (path, body) => madeBy(await ask(path, { method: 'POST', body })),
    stop: async () => {
      await gateway.stop();
    },
  };
}

/** A registrar on UDP that takes every REGISTER without asking for a password. */
export class OpenRegistrar {
  readonly requests: string[] = [];
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (message, peer) => {
      const request = message.toString('latin1');
      if (!request.startsWith('REGISTER ')) return;
      this.requests.push(request);
      const field = (name: string) => new RegExp(`^${name}: .*$`, 'im').exec(request)?.[0] ?? '';
      const fields = ['Via', 'From', 'Call-ID', 'CSeq', 'Contact'].map(field);
      const to = `${field('To')};tag=registrar`;
      const head = ['SIP/2.0 200 OK', ...fields, to, 'Expires: 600', 'Content-Length: 0'];
      socket.send(`${head.join('\r\n')}\r\n\r\n`, peer.port, peer.address);
    });
  }

  static async start(): Promise<OpenRegistrar> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    return new OpenRegistrar(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  /** Waits for a REGISTER that fits. */
  async heard(what: string, test: (request: string) => boolean): Promise<string> {
    await until(what, () => this.requests.some(test));
    return this.requests.find(test)!;
  }

  stop(): void {
    this.#socket.close();
  }
}
