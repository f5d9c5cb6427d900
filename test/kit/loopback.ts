/**
 * Loopback addresses that no other test of this machine uses: all of 127.0.0.0/8 is ours, and the process id tells
 * test workers apart. For peers that need a fixed port, or an address that is no trunk's and no agent's.
 */
let handedOut = 0;

/** `127.A.B.C` with B and C from the process id; A counts up from 16. */
export function ownLoopback(): string {
  if (handedOut >= 200) throw new Error('No loopback address is left for this process.');
  return `127.${16 + handedOut++}.${(process.pid >> 8) & 255}.${process.pid & 255}`;
}
