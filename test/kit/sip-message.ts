/**
 * SIP text for test peers, by string functions of its own: nothing here uses the gateway's parser, so that a fault of
 * the parser cannot hide behind itself. One char per octet.
 */

export interface Address {
  readonly host: string;
  readonly port: number;
}

export type HeaderLines = readonly (readonly [name: string, value: string])[];

/** `127.0.0.1:5060`, `[::1]:5060`. */
export function hostPort({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

const COMPACT = new Map([
  ['v', 'via'],
  ['f', 'from'],
  ['t', 'to'],
  ['i', 'call-id'],
  ['m', 'contact'],
  ['l', 'content-length'],
  ['c', 'content-type'],
  ['k', 'supported'],
]);

function canonical(name: string): string {
  const lower = name.trim().toLowerCase();
  return COMPACT.get(lower) ?? lower;
}

/** A message as it was received. Reading never throws on what is missing: it gives '' or 0. */
export class Message {
  readonly raw: string;
  readonly startLine: string;
  readonly fields: HeaderLines;
  readonly body: string;

  constructor(raw: string) {
    this.raw = raw;
    const end = raw.indexOf('\r\n\r\n');
    const [startLine = '', ...lines] = (end < 0 ? raw : raw.slice(0, end)).split('\r\n');
    this.startLine = startLine;
    this.body = end < 0 ? '' : raw.slice(end + 4);
    this.fields = lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
  }

  /** 0 for a request. */
  get status(): number {
    return this.startLine.startsWith('SIP/2.0 ') ? Number(this.startLine.slice(8, 11)) : 0;
  }

  get reason(): string {
    return this.startLine.slice(12);
  }

  /** '' for a response. */
  get method(): string {
    return this.status > 0 ? '' : this.startLine.slice(0, this.startLine.indexOf(' '));
  }

  /** Request-URI. */
  get uri(): string {
    return this.startLine.split(' ')[1] ?? '';
  }

  all(name: string): string[] {
    const wanted = canonical(name);
    return this.fields.filter(([field]) => canonical(field) === wanted).map(([, value]) => value);
  }

  has(name: string): boolean {
    return this.all(name).length > 0;
  }

  /** The first field's value, '' when there is none. */
  header(name: string): string {
    return this.all(name)[0] ?? '';
  }

  /** The tag of From or To, '' when there is none. */
  tag(name: 'From' | 'To'): string {
    return parameter(this.header(name).replace(/^.*>/, ''), 'tag');
  }

  get branch(): string {
    return parameter(this.header('Via'), 'branch');
  }

  get callId(): string {
    return this.header('Call-ID');
  }

  get cseq(): number {
    return Number(this.header('CSeq').split(' ')[0]);
  }

  get cseqMethod(): string {
    return this.header('CSeq').split(' ')[1] ?? '';
  }

  /** The URI of the first Contact. */
  get contactUri(): string {
    return addressOf(this.header('Contact'));
  }

  /** `INVITE sip:…` or `180 Ringing to INVITE`, for failure texts. */
  get summary(): string {
    return this.status > 0
      ? `${this.status} ${this.reason} to ${this.header('CSeq')}`
      : `${this.startLine} (CSeq ${this.header('CSeq')})`;
  }
}

/** The URI inside a name-addr or an addr-spec. */
function addressOf(value: string): string {
  const open = value.indexOf('<');
  return open < 0 ? (value.split(';')[0] ?? '').trim() : value.slice(open + 1, value.indexOf('>', open));
}

/** A parameter's value, '' when there is none or it has no value. */
export function parameter(value: string, name: string): string {
  return new RegExp(`;\\s*${name}\\s*=\\s*([^;,>\\s]+)`, 'i').exec(value)?.[1] ?? '';
}

let serial = 0;

/** A token that no other one of this process equals; `kind` shows in traces. */
export function unique(kind: string): string {
  return `${kind}${process.pid.toString(36)}x${(++serial).toString(36)}x${performance.now().toString(36).replace('.', '')}`;
}

export function newBranch(): string {
  return `z9hG4bK${unique('b')}`;
}

/** Start line, header lines in order, Content-Length and body. */
export function compose(startLine: string, headers: HeaderLines, body = ''): string {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `${startLine}\r\n${lines}Content-Length: ${body.length}\r\n\r\n${body}`;
}

export const SDP =
  'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n';
export const OTHER_SDP = SDP.replace('40000', '40002');

export interface ResponseOptions {
  /** To tag for a request that has none; default one made from the Call-ID. '' for none. */
  readonly toTag?: string | undefined;
  readonly contact?: string | undefined;
  readonly headers?: HeaderLines | undefined;
  readonly body?: string | undefined;
}

/** What a UAS sends to `request`: Via, From, To, Call-ID, CSeq and Record-Route copied (RFC 3261 §8.2.6). */
export function response(
  request: Message,
  status: number,
  reason: string,
  options: ResponseOptions = {},
): string {
  const toTag = options.toTag ?? 'uas';
  const to = request.header('To');
  const headers: (readonly [string, string])[] = [];
  for (const via of request.all('Via')) headers.push(['Via', via]);
  for (const route of request.all('Record-Route')) headers.push(['Record-Route', route]);
  headers.push(['From', request.header('From')]);
  headers.push([
    'To',
    request.tag('To') !== '' || toTag === '' || status === 100 ? to : `${to};tag=${toTag}`,
  ]);
  headers.push(['Call-ID', request.callId], ['CSeq', request.header('CSeq')]);
  if (options.contact !== undefined) headers.push(['Contact', `<${options.contact}>`]);
  headers.push(...(options.headers ?? []));
  if (options.body) headers.push(['Content-Type', 'application/sdp']);
  return compose(`SIP/2.0 ${status} ${reason}`, headers, options.body);
}
