/**
 * Tries one TCP or TLS connection and tells what was found: how long it took, and which certificate the peer showed,
 * also when it is not a good one. For diagnosis only: no SIP is spoken on it and it is closed at once. Over UDP all
 * that can be found is that the peer's host refuses the port.
 */
import { createSocket } from 'node:dgram';
import { connect as connectTcp, type Socket } from 'node:net';
import {
  connect as connectTls,
  type DetailedPeerCertificate,
  type PeerCertificate,
  type TLSSocket,
} from 'node:tls';
import { CallbackTimer, type Clock } from '#lib/clock.js';
import type { Target } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import { connectFault, tlsFault } from './stream-faults.js';
import { checkIdentity, TlsContexts } from './tls-options.js';

/** One certificate of the peer's chain. */
export interface CertificateFacts {
  readonly subject: string;
  readonly issuer: string;
  /** DNS, IP and URI names; empty for authorities. */
  readonly names: readonly string[];
  /** ISO 8601. */
  readonly validFrom: string;
  readonly validTo: string;
}

export interface TlsFacts {
  /** `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  /** The name that the certificate must carry. */
  readonly serverName: string;
  /** The peer's own first; at most eight. */
  readonly chain: readonly CertificateFacts[];
  readonly milliseconds: number;
}

export interface ConnectionFinding {
  /** Milliseconds until TCP was through; null when it never was, and for UDP. */
  readonly connectMs: number | null;
  /** The handshake, when it came to its end, however good the certificate is. */
  readonly tls: TlsFacts | null;
  /** Why the engine would not use such a connection. */
  readonly fault: EngineFault | null;
}

/** Long enough for a round trip to the other side of the world. */
const UDP_WAIT_MS = 400;
const CHAIN_MAX = 8;
const NAMES_MAX = 50;
const TEXT_MAX = 200;

/** `done` is called exactly once, at the latest after `timeoutMs`, and never from inside this call. */
export function probeConnection(
  clock: Clock,
  target: Target,
  timeoutMs: number,
  done: (finding: ConnectionFinding) => void,
): void {
  if (target.transport === 'udp') probeDatagram(clock, target, Math.min(timeoutMs, UDP_WAIT_MS), done);
  else new Attempt(clock, target, done).start(timeoutMs);
}

/**
 * A connected socket is told of ICMP "port unreachable", which the engine's own socket is not. What is sent is the
 * keep-alive of RFC 5626 §3.5.1, which nobody answers over UDP.
 */
function probeDatagram(
  clock: Clock,
  target: Target,
  waitMs: number,
  done: (finding: ConnectionFinding) => void,
): void {
  const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4');
  let finished = false;
  const finish = (fault: EngineFault | null): void => {
    if (finished) return;
    finished = true;
    clock.disarm(timer);
    socket.close();
    done({ connectMs: null, tls: null, fault });
  };
  const timer = new CallbackTimer(() => finish(null));
  clock.arm(timer, waitMs);
  socket.on('error', (error) => finish(connectFault(error, false)));
  socket.connect(target.port, target.address, () => {
    if (!finished) socket.send('\r\n\r\n');
  });
}

class Attempt {
  readonly #clock: Clock;
  readonly #target: Target;
  readonly #done: (finding: ConnectionFinding) => void;
  readonly #startedAt: number;
  readonly #timer = new CallbackTimer(() => this.#tooLate());
  #socket: Socket | undefined;
  #connectMs: number | null = null;
  #finished = false;

  constructor(clock: Clock, target: Target, done: (finding: ConnectionFinding) => void) {
    this.#clock = clock;
    this.#target = target;
    this.#done = done;
    this.#startedAt = clock.now();
  }

  start(timeoutMs: number): void {
    const secure = this.#target.transport === 'tls';
    this.#clock.arm(this.#timer, timeoutMs);
    let socket: Socket;
    try {
      socket = secure ? this.#openTls() : connectTcp(this.#target.port, this.#target.address);
    } catch (error) {
      // Certificate or key of ours that cannot be read, or a port that is none.
      const fault = connectFault(error instanceof Error ? error : new Error(String(error)), secure);
      queueMicrotask(() => this.#finish(null, fault));
      return;
    }
    this.#socket = socket;
    socket.once('connect', () => {
      this.#connectMs = this.#clock.now() - this.#startedAt;
      if (!secure) this.#finish(null, null);
    });
    socket.on('error', (error) =>
      this.#finish(null, connectFault(error, secure && this.#connectMs !== null)),
    );
    socket.on('close', () => this.#finish(null, closedEarly(secure)));
  }

  #openTls(): TLSSocket {
    const target = this.#target;
    const contexts = new TlsContexts();
    const { serverName, sni, verify } = contexts.identity(target);
    let identityFault: Error | undefined;
    const socket = connectTls({
      host: target.address,
      port: target.port,
      secureContext: contexts.context(target.tls),
      ...(sni === undefined ? {} : { servername: sni }),
      checkServerIdentity: (_host, certificate) => {
        identityFault = checkIdentity(serverName, certificate);
        return identityFault;
      },
      // A bad certificate is to be shown, so the handshake goes on; nothing is sent after it.
      rejectUnauthorized: false,
    });
    socket.once('secureConnect', () => {
      const milliseconds = this.#clock.now() - this.#startedAt - (this.#connectMs ?? 0);
      const facts: TlsFacts = {
        version: socket.getProtocol() ?? '',
        cipher: socket.getCipher().name,
        serverName,
        chain: chainOf(socket),
        milliseconds,
      };
      const bad = verify && !socket.authorized;
      this.#finish(facts, bad ? tlsFault(identityFault ?? verifyError(socket)) : null);
    });
    return socket;
  }

  #tooLate(): void {
    const secure = this.#connectMs !== null;
    this.#finish(
      null,
      secure
        ? { kind: 'tls', reason: 'other', detail: 'the TLS handshake did not end in time' }
        : { kind: 'timeout', heard: false, connecting: true, detail: 'no connection in time' },
    );
  }

  #finish(tls: TlsFacts | null, fault: EngineFault | null): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#clock.disarm(this.#timer);
    this.#socket?.destroy();
    this.#done({ connectMs: this.#connectMs, tls, fault });
  }
}

function closedEarly(secure: boolean): EngineFault {
  return secure
    ? { kind: 'tls', reason: 'other', detail: 'the peer closed the connection during the TLS handshake' }
    : { kind: 'flow-lost', detail: 'the connection closed' };
}

/** What OpenSSL found, by its code; Node gives the code alone. */
function verifyError(socket: TLSSocket): Error {
  const code = String(socket.authorizationError);
  return Object.assign(new Error('the certificate is not to be trusted'), { code });
}

function chainOf(socket: TLSSocket): CertificateFacts[] {
  const chain: CertificateFacts[] = [];
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined && chain.length < CHAIN_MAX) {
    chain.push(factsOf(certificate));
    // A root names itself as its issuer.
    const issuer: DetailedPeerCertificate | undefined = certificate.issuerCertificate;
    certificate =
      issuer === certificate || issuer?.fingerprint256 === certificate.fingerprint256 ? undefined : issuer;
  }
  return chain;
}

function factsOf(certificate: PeerCertificate): CertificateFacts {
  const names = (certificate.subjectaltname ?? '').split(', ').filter((name) => name !== '');
  return {
    subject: distinguished(certificate.subject),
    issuer: distinguished(certificate.issuer),
    names: names.slice(0, NAMES_MAX).map(shown),
    validFrom: isoTime(certificate.valid_from),
    validTo: isoTime(certificate.valid_to),
  };
}

/** `CN=sip.example.com, O=Example`. */
function distinguished(name: object | undefined): string {
  return Object.entries(name ?? {})
    .map(([key, value]) => `${key}=${shown(Array.isArray(value) ? value.join('+') : String(value))}`)
    .join(', ');
}

/** A certificate may carry any text. */
function shown(text: string): string {
  return text.slice(0, TEXT_MAX).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?');
}

function isoTime(text: string): string {
  const time = Date.parse(text);
  return Number.isNaN(time) ? shown(text) : new Date(time).toISOString();
}
