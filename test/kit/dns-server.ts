/**
 * A small DNS server on loopback UDP (RFC 1035, SRV RFC 2782, NAPTR RFC 3403) with a zone that a test writes and
 * changes. Real packets, so that the real resolver of `node:dns` is what is tested.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

export type ZoneRecord =
  | { readonly type: 'A'; readonly address: string; readonly ttl?: number }
  /** Eight hextets or with `::`. */
  | { readonly type: 'AAAA'; readonly address: string; readonly ttl?: number }
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | {
      readonly type: 'NAPTR';
      readonly order: number;
      readonly preference: number;
      readonly flags: string;
      readonly service: string;
      readonly replacement: string;
    };

type RecordType = ZoneRecord['type'];

/** How the server fails: it answers SERVFAIL, it refuses, or it says nothing. */
export type Failure = 'servfail' | 'refused' | 'silent';

const TYPE_NUMBER: Readonly<Record<RecordType, number>> = { A: 1, AAAA: 28, SRV: 33, NAPTR: 35 };
const RCODE = { none: 0, servfail: 2, notFound: 3, refused: 5 };

export class DnsServer {
  readonly #socket: Socket;
  readonly #zone = new Map<string, ZoneRecord[]>();
  readonly #failures = new Map<string, Failure>();
  /** Every question in the order of arrival, `SRV _sip._udp.example.test`. */
  readonly questions: string[] = [];
  #held: (() => void)[] | undefined;
  #asked: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (packet, from) => this.#receive(packet, from));
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(0, '127.0.0.1', resolve);
    });
    return new DnsServer(socket);
  }

  /** For `Resolver.setServers`. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  /** Replaces what a name holds; no record at all: the name does not exist. */
  set(name: string, ...records: ZoneRecord[]): void {
    this.#zone.set(name.toLowerCase(), records);
  }

  /** Fails questions of one type for a name (`SRV _sip._udp.example.test`) or all (`*`). */
  fail(question: string, failure: Failure): void {
    this.#failures.set(question, failure);
  }

  recover(): void {
    this.#failures.clear();
  }

  /** Answers nothing until `release`. */
  hold(): void {
    this.#held ??= [];
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const answer of held) answer();
  }

  /** Resolves when `count` questions have arrived in all. */
  async asked(count: number): Promise<void> {
    while (this.questions.length < count) await new Promise<void>((resolve) => this.#asked.push(resolve));
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  #receive(packet: Buffer, from: RemoteInfo): void {
    const question = readQuestion(packet);
    this.questions.push(`${question.type} ${question.name}`);
    const answer = (): void => {
      const reply = this.#answer(packet, question);
      if (reply !== undefined) this.#socket.send(reply, from.port, from.address);
    };
    if (this.#held === undefined) answer();
    else this.#held.push(answer);
    const asked = this.#asked;
    this.#asked = [];
    for (const wake of asked) wake();
  }

  #answer(packet: Buffer, question: Question): Buffer | undefined {
    const failure = this.#failures.get(`${question.type} ${question.name}`) ?? this.#failures.get('*');
    if (failure === 'silent') return undefined;
    if (failure !== undefined) return reply(packet, question, RCODE[failure], []);
    const records = this.#zone.get(question.name);
    if (records === undefined || records.length === 0) return reply(packet, question, RCODE.notFound, []);
    return reply(
      packet,
      question,
      RCODE.none,
      records.filter((record) => record.type === question.type),
    );
  }
}

interface Question {
  readonly name: string;
  readonly type: string;
  /** Where the question section ends in the packet. */
  readonly end: number;
}

function readQuestion(packet: Buffer): Question {
  const labels: string[] = [];
  let at = 12;
  for (let length = packet[at]!; length > 0; length = packet[at]!) {
    labels.push(packet.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const number = packet.readUInt16BE(at + 1);
  const type = Object.entries(TYPE_NUMBER).find(([, value]) => value === number)?.[0] ?? String(number);
  return { name: labels.join('.').toLowerCase(), type, end: at + 5 };
}

function reply(packet: Buffer, question: Question, rcode: number, records: readonly ZoneRecord[]): Buffer {
  const header = Buffer.alloc(12);
  packet.copy(header, 0, 0, 2);
  // QR, RD of the question, RA.
  header.writeUInt16BE(0x8080 | (packet.readUInt16BE(2) & 0x0100) | rcode, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  const answers = records.map((record) => {
    const data = recordData(record);
    const fixed = Buffer.alloc(10);
    fixed.writeUInt16BE(TYPE_NUMBER[record.type], 0);
    fixed.writeUInt16BE(1, 2);
    fixed.writeUInt32BE('ttl' in record ? (record.ttl ?? 300) : 300, 4);
    fixed.writeUInt16BE(data.length, 8);
    // The owner's name by a pointer to the question (RFC 1035 §4.1.4).
    return Buffer.concat([Buffer.from([0xc0, 12]), fixed, data]);
  });
  return Buffer.concat([header, packet.subarray(12, question.end), ...answers]);
}

function recordData(record: ZoneRecord): Buffer {
  switch (record.type) {
    case 'A':
      return Buffer.from(record.address.split('.').map(Number));
    case 'AAAA':
      return ipv6(record.address);
    case 'SRV':
      return Buffer.concat([uint16(record.priority, record.weight, record.port), domain(record.target)]);
    case 'NAPTR':
      return Buffer.concat([
        uint16(record.order, record.preference),
        text(record.flags),
        text(record.service),
        text(''),
        domain(record.replacement),
      ]);
  }
}

function uint16(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) buffer.writeUInt16BE(value, index * 2);
  return buffer;
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
}

function domain(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([...labels.map(text), Buffer.from([0])]);
}

function ipv6(address: string): Buffer {
  const [head = '', tail] = address.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  return uint16(...before, ...zeros, ...after);
}
