/**
 * Services of the gateway itself that listen beside it: its Redis, its API. Whoever may write a trunk's server, an
 * agent's endpoint or a Contact would else have the gateway speak to them, and a body is any text: line by line a
 * Redis takes it for commands.
 */
import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Target } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { Interfaces } from './addresses.js';

export interface OwnService {
  /** `Redis`, for the fault. */
  readonly name: string;
  /** IP literal. */
  readonly address: string;
  readonly port: number;
}

/** Why no connection is opened to this target; undefined: nothing speaks against it. They all listen on TCP. */
export function closedTo(
  { transport, address, port }: Pick<Target, 'transport' | 'address' | 'port'>,
  services: readonly OwnService[],
  interfaces: Interfaces = networkInterfaces,
): EngineFault | undefined {
  if (transport === 'udp') return undefined;
  const service = services.find((one) => one.port === port && areOne(one.address, address, interfaces));
  return service === undefined
    ? undefined
    : {
        kind: 'unreachable',
        detail: `${address}:${port} is the gateway's own ${service.name}: no SIP goes there`,
      };
}

/** The same address, however it is written, or both of this machine: a service may listen on all of them. */
function areOne(one: string, other: string, interfaces: Interfaces): boolean {
  const same = new BlockList();
  add(same, one);
  if (holds(same, other)) return true;
  const here = new BlockList();
  here.addSubnet('127.0.0.0', 8, 'ipv4');
  for (const address of ['::1', '0.0.0.0', '::']) add(here, address);
  for (const { address } of Object.values(interfaces()).flatMap((addresses) => addresses ?? []))
    add(here, address);
  return holds(here, one) && holds(here, other);
}

function add(list: BlockList, address: string): void {
  if (isIP(address) !== 0) list.addAddress(address, family(address));
}

/** IPv4 in an IPv6 address is compared as IPv4. */
function holds(list: BlockList, address: string): boolean {
  return isIP(address) !== 0 && list.check(address, family(address));
}

const family = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4');
