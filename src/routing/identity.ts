/**
 * Who calls whom, as one trunk wants it said: Request-URI, From, To, the header field with the caller's number, and
 * privacy. Everything that people wrote is escaped here, so that nothing of it can end a URI or a line early.
 */
import { isNumberLike, type NumberPlan } from '#directory/number-format.js';
import { serverOf } from '#directory/server.js';
import type { Trunk } from '#directory/trunk.js';
import type { HeaderField } from '#sip/message.js';
import { formatNameAddr } from '#sip/name-addr.js';
import { fromText, type Octets } from '#sip/octets.js';
import { escapeUser, hostPort, parseUri } from '#sip/uri.js';

export interface IdentityInput {
  readonly trunk: Trunk;
  readonly plan: NumberPlan;
  /** As it was dialled; not empty. */
  readonly callee: string;
  /** The number to show, as the directory has it. */
  readonly caller: string;
  /** Empty: none. */
  readonly displayName: string;
  readonly privacy: boolean;
  /** The AOR that is registered, where the call leaves by a registration: `sip:user@domain`. */
  readonly aor: Octets | undefined;
}

export interface Identity {
  /** The callee as the trunk writes it, without escapes. */
  readonly dialled: string;
  readonly uri: Octets;
  readonly from: Octets;
  readonly to: Octets;
  /** The field of `callerIdMode`, and Privacy. */
  readonly headers: readonly HeaderField[];
}

/** Longer names are cut: they are for a telephone's display. */
const DISPLAY_NAME_MAX = 256;
const ANONYMOUS_NAME = fromText('Anonymous');
/** RFC 3323 §4.1.1.3: the host of a URI that names nobody. */
const ANONYMOUS_HOST = 'anonymous.invalid';

/** Request-URI, To, From and the fields of the caller's identity, as the trunk wants them. */
export function identityFor(input: IdentityInput): Identity {
  const { trunk, plan, aor } = input;
  const server = serverOf(trunk);
  const domain = (aor === undefined ? undefined : parseUri(aor)?.host) ?? server.domain;
  const dialled = dialledBy(trunk, plan, input.callee);
  const callee = escapeUser(dialled);
  const phone = trunk.userPhone && isNumberLike(input.callee) ? ';user=phone' : '';
  // What a registrar knows is its domain; who is known by address or digest alone is reached by the server's name.
  const destination =
    aor === undefined ? `sip:${hostPort(trunk.server.host, trunk.server.port)}` : server.registrar;
  return {
    dialled,
    uri: `${withUser(destination, callee)}${phone}`,
    // §19.1.1 table 1: no port in To and From.
    to: `<sip:${callee}@${hostPort(domain)}${phone}>`,
    ...callerOf(input, domain),
  };
}

/** `sip:host` with a user. */
function withUser(uri: Octets, user: Octets): Octets {
  return `sip:${user}@${uri.slice('sip:'.length)}`;
}

function dialledBy(trunk: Trunk, plan: NumberPlan, callee: string): string {
  const written = plan.write(callee, trunk.numberFormat);
  return trunk.techPrefix !== undefined && isNumberLike(callee) ? trunk.techPrefix + written : written;
}

function callerOf(input: IdentityInput, aorDomain: string): Pick<Identity, 'from' | 'headers'> {
  const { trunk, plan, privacy } = input;
  const domain = trunk.fromDomain ?? aorDomain;
  const caller = plan.write(input.caller, trunk.numberFormat);
  const number = userUri(trunk, caller, domain);
  const displayName = nameOf(input.displayName);
  if (privacy) {
    // A provider that insists on its own domain in From cannot be given the one of RFC 3323.
    const from = { displayName: ANONYMOUS_NAME, uri: `sip:anonymous@${trunk.fromDomain ?? ANONYMOUS_HOST}` };
    return {
      from: formatNameAddr(from),
      // The provider has to know who calls; RFC 3325 §7: `id` keeps it from everybody further on.
      headers: [identityField(trunk, number, displayName, true), { name: 'Privacy', value: 'id' }],
    };
  }
  const user = trunk.fromUser === undefined ? number : userUri(trunk, trunk.fromUser, domain);
  return {
    from: formatNameAddr({ displayName, uri: user }),
    headers: trunk.callerIdMode === 'from' ? [] : [identityField(trunk, number, displayName, false)],
  };
}

function userUri(trunk: Trunk, user: string, domain: string): Octets {
  const phone = trunk.userPhone && isNumberLike(user) ? ';user=phone' : '';
  return `sip:${escapeUser(user)}@${hostPort(domain)}${phone}`;
}

function nameOf(text: string): Octets | undefined {
  if (text === '') return undefined;
  return fromText([...text.slice(0, 2 * DISPLAY_NAME_MAX)].slice(0, DISPLAY_NAME_MAX).join(''));
}

/** Of a withheld number in mode `from`, where From says nothing: P-Asserted-Identity. */
function identityField(
  trunk: Trunk,
  uri: Octets,
  displayName: Octets | undefined,
  withheld: boolean,
): HeaderField {
  const address = formatNameAddr({ displayName, uri });
  switch (trunk.callerIdMode) {
    case 'ppi':
      return { name: 'P-Preferred-Identity', value: address };
    case 'rpid': {
      const privacy = withheld ? 'full' : 'off';
      return { name: 'Remote-Party-ID', value: `${address};party=calling;screen=yes;privacy=${privacy}` };
    }
    case 'diversion': {
      // RFC 5806 §4: the number that the call seems to come by.
      const privacy = withheld ? ';privacy=full' : '';
      return { name: 'Diversion', value: `<${uri}>;reason=unconditional${privacy}` };
    }
    case 'from':
    case 'pai':
      return { name: 'P-Asserted-Identity', value: address };
  }
}
