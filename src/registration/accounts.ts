/**
 * Which AORs are to be registered, as the directory says: one account for everybody who asks for the same AOR at the
 * same server, however many numbers and agents those are.
 */
import { createHash } from 'node:crypto';
import type { Credentials } from '#auth/challenge-memory.js';
import type { PhoneNumber } from '#directory/number.js';
import { type Server, serverOf } from '#directory/server.js';
import type { Snapshot } from '#directory/snapshot.js';
import type { OptionsPing, Trunk } from '#directory/trunk.js';
import type { TlsOptions, TransportName } from '#engine/engine.js';
import type { Octets } from '#sip/octets.js';
import { escapeUser, hostPort, type SipUri } from '#sip/uri.js';

export interface Account {
  /** The same for the same AOR at the same server, also after a restart; fit for a URL. */
  readonly id: string;
  /** Organisations share nothing, not even the account that both have. */
  readonly organizationId: string;
  /** `sip:user@domain`; the user is escaped, so it can be printed. */
  readonly aor: Octets;
  /** Request-URI of REGISTER, without user (RFC 3261 §10.2). */
  readonly registrar: Octets;
  /** Where requests go (RFC 3263): the outbound proxy, or the server. */
  readonly destination: SipUri;
  /** `host:port` of it: those that share it share a rate. */
  readonly lane: string;
  readonly transport: TransportName;
  readonly tls: TlsOptions | undefined;
  /** Preloaded route towards an outbound proxy. */
  readonly route: readonly Octets[] | undefined;
  readonly credentials: Credentials | undefined;
  /** The configured domain; undefined: any realm will do. */
  readonly expectedRealm: string | undefined;
  readonly ping: OptionsPing | undefined;
  readonly trunkIds: readonly string[];
  /** Those of the trunks that have this one AOR for all their numbers. */
  readonly sharedBy: readonly string[];
  readonly numberIds: readonly string[];
  readonly phoneNumbers: readonly string[];
  readonly agentIds: readonly string[];
}

/** By id. */
export function accountsOf(snapshot: Snapshot): Map<string, Account> {
  const drafts = new Drafts();
  for (const number of snapshot.registeringNumbers()) {
    const trunk = snapshot.trunk(number.credentialsId);
    if (trunk === undefined) continue;
    const draft = drafts.draft(trunk, trunk.authUser ?? number.phoneNumber);
    addNumber(draft, trunk, number);
  }
  for (const agent of snapshot.agents()) {
    const account = agent.enabled ? snapshot.account(agent.id) : undefined;
    if (account === undefined) continue;
    const draft = drafts.draft(account.trunk, account.trunk.authUser ?? account.number.phoneNumber);
    draft.agentIds.push(agent.id);
    draft.sharedBy.push(account.trunk.id);
  }
  return drafts.accounts;
}

interface Draft extends Account {
  readonly trunkIds: string[];
  readonly sharedBy: string[];
  readonly numberIds: string[];
  readonly phoneNumbers: string[];
  readonly agentIds: string[];
}

function addNumber(draft: Draft, trunk: Trunk, number: PhoneNumber): void {
  if (!draft.trunkIds.includes(trunk.id)) {
    draft.trunkIds.push(trunk.id);
    if (trunk.authUser !== undefined) draft.sharedBy.push(trunk.id);
  }
  draft.numberIds.push(number.id);
  draft.phoneNumbers.push(number.phoneNumber);
}

class Drafts {
  readonly accounts = new Map<string, Draft>();
  readonly #servers = new Map<Trunk, Server>();
  /** A trunk with an account has one AOR for all its numbers: hashing it once is enough. */
  readonly #ids = new Map<string, string>();

  /** The account of this user; of those who ask for the same one, the first says how. */
  draft(trunk: Trunk, user: string): Draft {
    const server = this.#server(trunk);
    const aor = `sip:${escapeUser(user)}@${hostPort(server.domain)}`;
    const id = this.#id(
      `${trunk.organizationId} ${aor} ${server.registrar} ${server.lane} ${trunk.transport}`,
    );
    let draft = this.accounts.get(id);
    if (draft === undefined) {
      const { authPassword } = trunk;
      const username = trunk.authUsername ?? trunk.authUser;
      draft = {
        id,
        organizationId: trunk.organizationId,
        aor,
        registrar: server.registrar,
        destination: server.destination,
        lane: server.lane,
        transport: trunk.transport,
        tls: server.tls,
        route: server.route,
        credentials:
          username === undefined || authPassword === undefined
            ? undefined
            : { username, password: authPassword },
        expectedRealm: trunk.domain,
        ping: trunk.optionsPing,
        trunkIds: [],
        sharedBy: [],
        numberIds: [],
        phoneNumbers: [],
        agentIds: [],
      };
      this.accounts.set(id, draft);
    }
    return draft;
  }

  #id(identity: string): string {
    let id = this.#ids.get(identity);
    if (id === undefined) {
      id = `reg-${createHash('sha256').update(identity, 'latin1').digest('hex').slice(0, 20)}`;
      this.#ids.set(identity, id);
    }
    return id;
  }

  #server(trunk: Trunk): Server {
    let server = this.#servers.get(trunk);
    if (server === undefined) {
      server = serverOf(trunk);
      this.#servers.set(trunk, server);
    }
    return server;
  }
}

/** The account that a trunk names by itself; undefined where each of its numbers is one. */
export function accountOf(trunk: Trunk): Account | undefined {
  const user = trunk.authUser ?? trunk.authUsername;
  return user === undefined ? undefined : new Drafts().draft(trunk, user);
}

/** The same user with the same password. */
export function sameCredentials(a: Credentials | undefined, b: Credentials | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.username === b.username && a.password.reveal() === b.password.reveal();
}

/** A connection that was verified by the one stands for the other, too. */
export function sameTls(a: TlsOptions | undefined, b: TlsOptions | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.verify === b.verify &&
    a.ca === b.ca &&
    a.clientCert === b.clientCert &&
    a.clientKey === b.clientKey &&
    a.serverName === b.serverName &&
    a.minVersion === b.minVersion
  );
}
