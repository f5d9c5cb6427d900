/** A caller over TLS that verifies whom it talks to; SIPp as Debian builds it has no TLS. */
import { connect, type TLSSocket } from 'node:tls';

export interface TlsCallerOptions {
  readonly port: number;
  readonly ca: string;
  /** The name that the certificate must carry. */
  readonly serverName: string;
}

const SDP =
  'v=0\r\no=caller 7 7 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n' +
  'm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=x-sdp-of:caller\r\n';

export class TlsCaller {
  readonly socket: TLSSocket;
  readonly received: string[] = [];
  #rest = '';
  #waiting: (() => void)[] = [];
  #fault: Error | undefined;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#take(text));
    const wake = (error: Error): void => {
      this.#fault ??= error;
      for (const waiting of this.#waiting.splice(0)) waiting();
    };
    socket.on('error', wake);
    socket.on('close', () => wake(new Error('The connection is closed.')));
  }

  /** Rejects with the TLS error when the peer is not who it should be. */
  static open({ port, ca, serverName }: TlsCallerOptions): Promise<TlsCaller> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, ca, servername: serverName, minVersion: 'TLSv1.2' });
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        socket.off('error', reject);
        resolve(new TlsCaller(socket));
      });
    });
  }

  #take(text: string): void {
    this.#rest += text;
    for (;;) {
      const head = this.#rest.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(/\r\nContent-Length: *(\d+)/i.exec(this.#rest.slice(0, head))?.[1] ?? 0);
      if (this.#rest.length < head + 4 + length) return;
      this.received.push(this.#rest.slice(0, head + 4 + length));
      this.#rest = this.#rest.slice(head + 4 + length);
      for (const waiting of this.#waiting.splice(0)) waiting();
    }
  }

  /** The final answer to the request `cseq` of a call, received so far or next. */
  async #final(callId: string, cseq: string): Promise<string> {
    for (;;) {
      const found = this.received.find(
        (text) =>
          /^SIP\/2\.0 [2-6]/.test(text) && field(text, 'Call-ID') === callId && field(text, 'CSeq') === cseq,
      );
      if (found !== undefined) return found;
      if (this.#fault !== undefined) throw this.#fault;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Calls `number`, waits for the final answer, hangs up; returns the answer. */
  async call(number: string): Promise<string> {
    const { localPort, remotePort } = this.socket;
    const own = `127.0.0.1:${localPort}`;
    const id = `caller-id-${localPort}-${this.received.length}`;
    const uri = `sip:${number}@127.0.0.1:${remotePort};transport=tls`;
    const request = (method: string, cseq: number, to: string, target: string, body = ''): string =>
      `${method} ${target} SIP/2.0\r\nVia: SIP/2.0/TLS ${own};branch=z9hG4bK-${id}-${method};caller-via\r\n` +
      `From: <sip:+15551230000@127.0.0.1>;tag=caller-tag-${id}\r\nTo: ${to}\r\nCall-ID: ${id}\r\n` +
      `CSeq: ${cseq} ${method}\r\nMax-Forwards: 70\r\nContact: <sip:caller-contact@${own};transport=tls>\r\n` +
      `${body === '' ? '' : 'Content-Type: application/sdp\r\n'}Content-Length: ${body.length}\r\n\r\n${body}`;
    this.socket.write(request('INVITE', 1, `<${uri}>`, uri, SDP));
    const answer = await this.#final(id, '1 INVITE');
    if (!answer.startsWith('SIP/2.0 200')) return answer;
    const target = /<([^>]*)>/.exec(field(answer, 'Contact'))?.[1] ?? '';
    this.socket.write(request('ACK', 1, field(answer, 'To'), target));
    this.socket.write(request('BYE', 2, field(answer, 'To'), target));
    const goodbye = await this.#final(id, '2 BYE');
    if (!goodbye.startsWith('SIP/2.0 200')) throw new Error(`BYE was answered ${goodbye.split('\r\n')[0]}`);
    return answer;
  }

  close(): void {
    this.socket.destroy();
  }
}

function field(message: string, name: string): string {
  return new RegExp(`\r\n${name}: *([^\r]*)`, 'i').exec(message)?.[1] ?? '';
}
