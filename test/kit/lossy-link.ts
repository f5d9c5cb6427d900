/**
 * A UDP link that loses packets, the same ones for the same seed: between a peer and the gateway, in both directions.
 * The gateway knows the peer by the link's address. SIPp's own `-lost` is no substitute: it forgets what it has
 * already answered.
 */
import { createSocket } from 'node:dgram';

const HOST = '127.0.0.1';

export interface LossyLinkOptions {
  /** The gateway's port. */
  readonly gatewayPort: number;
  /** The peer's own port. */
  readonly peerPort: number;
  /** The link's port; both sides send here. */
  readonly port: number;
  /** Share of packets that get lost, 0 to 1. */
  readonly loss: number;
  readonly seed: number;
}

export interface LossyLink {
  readonly lost: number;
  readonly passed: number;
  close(): void;
}

/** Numbers from 0 to 1 that a seed determines (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export async function openLossyLink(options: LossyLinkOptions): Promise<LossyLink> {
  const random = randomFrom(options.seed);
  const socket = createSocket('udp4');
  const count = { lost: 0, passed: 0 };
  socket.on('message', (octets, { port }) => {
    if (random() < options.loss) {
      count.lost++;
      return;
    }
    count.passed++;
    socket.send(octets, port === options.gatewayPort ? options.peerPort : options.gatewayPort, HOST);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(options.port, HOST, resolve);
  });
  return {
    get lost() {
      return count.lost;
    },
    get passed() {
      return count.passed;
    },
    close: () => socket.close(),
  };
}
