/** Why a listener could not start, in words that say what to do about it. */
import { networkInterfaces } from 'node:os';

/** An Error whose message names the listener and the mend; `cause` is what the system said. */
export function listenError(id: string, address: string, port: number, cause: unknown): Error {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  return new Error(`${id} cannot be listened on: ${reason(code, address, port, cause)}`, { cause });
}

function reason(code: string, address: string, port: number, cause: unknown): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is taken by another program (${code}). Stop that program (ss -lnp shows it) or choose another port.`;
    case 'EACCES':
      return `no permission for port ${port} (${code}). Choose a port above 1023 or give the process CAP_NET_BIND_SERVICE.`;
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${address} (${code}). It has ${ownAddresses()}.`;
    default:
      return cause instanceof Error ? cause.message : String(cause);
  }
}

function ownAddresses(): string {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .map(({ address }) => address)
    .join(', ');
}
