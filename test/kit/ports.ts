/**
 * Ports on 127.0.0.1 for programs that cannot bind port 0 and tell. Every process that asks owns blocks of ports
 * for as long as it lives: it listens on each block's first port, and the kernel lets go when it dies. So workers of
 * one run and several runs on one machine never hand out the same port between the check and the use.
 */
import { createSocket } from 'node:dgram';
import { createServer, type Server } from 'node:net';

/** Below 32768, where Linux takes ports for outgoing connections from. */
const FIRST = 20_000;
const LAST = 32_000;
const BLOCK = 100;
const HOST = '127.0.0.1';

/** The ports that are left of the block being handed out; its lock lives as long as the process. */
let left: number[] = [];
/** Calls wait for each other, or two would claim a block where one is enough. */
let last: Promise<unknown> = Promise.resolve();

function listen(port: number): Promise<Server | null> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen({ port, host: HOST, exclusive: true }, () => resolve(server));
  });
}

async function claim(): Promise<number[]> {
  for (let first = FIRST; first < LAST; first += BLOCK) {
    const lock = await listen(first);
    if (lock === null) continue;
    lock.unref();
    return Array.from({ length: BLOCK - 1 }, (_, index) => first + 1 + index);
  }
  throw new Error(`No free block of ports between ${FIRST} and ${LAST}.`);
}

/** Whether nothing holds the port, neither UDP nor TCP. */
async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  if (server === null) return false;
  await new Promise((done) => server.close(done));
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind({ port, address: HOST, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}

/** A port that is free for UDP and TCP, and that no other caller of this function gets before this process ends. */
export function freePort(): Promise<number> {
  const port = last.then(next);
  last = port.catch(() => undefined);
  return port;
}

async function next(): Promise<number> {
  for (;;) {
    // A port is never handed out twice, also not when nothing came to listen on it: it may be meant to be dead.
    const port = left.shift();
    if (port === undefined) left = await claim();
    else if (await isFree(port)) return port;
  }
}

/** `count` ports at once. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}
