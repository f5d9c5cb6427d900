/** The Contact of a REGISTER: a user part that is this registration's alone, at the address that we announce. */
import { createHash } from 'node:crypto';
import type { Listener } from '#engine/engine.js';
import type { Octets } from '#sip/octets.js';
import { hostPort } from '#sip/uri.js';
import type { Registration } from './registration.js';

/** `host:port` that the Contact names. */
export function announcedBy(listener: Listener | undefined): Octets {
  if (listener === undefined) return 'invalid';
  return listener.sentBy ?? hostPort(listener.host, listener.port);
}

/** @param address `host:port`, as `announcedBy` gives it */
export function contactUriOf({ contactUser, account }: Registration, address: Octets): Octets {
  const transport = account.transport === 'udp' ? '' : `;transport=${account.transport}`;
  return `sip:${contactUser}@${address}${transport}`;
}

/** What is bound under another address of ours is taken off by the same request (RFC 3261 §10.2.2). */
export function contactOf(registration: Registration, announced: Octets, expirySeconds: number): Octets {
  const { announced: before, machine, id } = registration;
  if (expirySeconds === 0) {
    return `<${contactUriOf(registration, before === '' ? announced : before)}>;expires=0`;
  }
  const contact = `<${contactUriOf(registration, announced)}>;expires=${expirySeconds}`;
  // RFC 5626 §4.1: the instance names the UA over restarts; the AOR at its registrar is as steady as that.
  const flow = machine.outbound ? `;+sip.instance="<urn:uuid:${instanceOf(id)}>";reg-id=1` : '';
  const moved = before !== '' && before !== announced;
  return moved ? `${contact}${flow}, <${contactUriOf(registration, before)}>;expires=0` : contact + flow;
}

/** A UUID (RFC 9562 version 8) that is always the same for one registration. */
function instanceOf(id: string): string {
  const hex = createHash('sha256').update(`instance ${id}`).digest('hex');
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
