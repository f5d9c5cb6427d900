/**
 * Twilio Elastic SIP Trunking: a trunk with its domain (termination, calls from us), a credential list with one user (so
 * that only we may send there), and an origination URL (calls to us). Numbers of the account are put on the trunk.
 *
 * Everything made carries our provider id in its name. A step whose answer was lost is looked up by that name before it
 * is taken again, so no trunk is made twice.
 */
import type { Clock } from '#lib/clock.js';
import {
  type AvailableNumber,
  type ConnectedTrunk,
  type ConnectOptions,
  type Connector,
  type Ledger,
  type Leftover,
  type ProviderAccount,
  ProviderFault,
} from '../provider.js';
import { type JsonObject, TWILIO_SERVERS, TwilioRest, type TwilioServers } from './rest.js';

export interface TwilioOptions {
  readonly clock: Clock;
  /** Default 10 s. */
  readonly timeoutMs?: number | undefined;
  readonly servers?: TwilioServers | undefined;
}

const TRUNK = 'trunk';
const CREDENTIAL_LIST = 'credentialList';
const CREDENTIAL = 'credential';
/** The credential list's tie to the trunk. */
const TRUNK_CREDENTIAL_LIST = 'trunkCredentialList';
const ORIGINATION_URL = 'originationUrl';
const NUMBER = 'phoneNumber';

/** Signalling addresses of Elastic SIP Trunking, all regions, as Twilio publishes them for firewalls. */
const TWILIO_SIGNALLING: readonly string[] = [
  '54.172.60.0/30',
  '54.244.51.0/30',
  '54.171.127.192/30',
  '35.156.191.128/30',
  '54.65.63.192/30',
  '54.169.127.128/30',
  '54.252.254.64/30',
  '177.71.206.192/30',
];

/** Calls per second that Twilio lets a new trunk do, per region. */
const NEW_TRUNK_CPS = 1;
/** Largest page of either service. */
const PAGE = 'PageSize=1000';

export class TwilioConnector implements Connector {
  readonly type = 'twilio';
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  readonly #servers: TwilioServers;

  constructor({ clock, timeoutMs = 10_000, servers = TWILIO_SERVERS }: TwilioOptions) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#servers = servers;
  }

  async connect(account: ProviderAccount, options: ConnectOptions, ledger: Ledger): Promise<ConnectedTrunk> {
    const rest = this.#rest(account);
    const urls = this.#urls(account);
    const name = nameOf(account);
    const domain = domainOf(account);
    const { username, password } = options.credentials;

    const trunk = await make(ledger, TRUNK, {
      lookUp: () => named(rest, `${urls.trunks}?${PAGE}`, 'trunks', (row) => row.domain_name === domain),
      post: () => rest.send('POST', urls.trunks, { FriendlyName: name, DomainName: domain }),
    });
    const list = await make(ledger, CREDENTIAL_LIST, {
      lookUp: () =>
        named(rest, `${urls.lists}.json?${PAGE}`, 'credential_lists', (row) => row.friendly_name === name),
      post: () => rest.send('POST', `${urls.lists}.json`, { FriendlyName: name }),
    });
    const credentials = `${urls.lists}/${list}/Credentials`;
    await make(ledger, CREDENTIAL, {
      // One whose answer was lost may have another password than ours: it goes, and is made anew.
      lookUp: async () => {
        const id = await named(
          rest,
          `${credentials}.json?${PAGE}`,
          'credentials',
          (row) => row.username === username,
        );
        if (id !== null) await rest.send('DELETE', `${credentials}/${id}.json`);
        return null;
      },
      post: () =>
        rest.send('POST', `${credentials}.json`, { Username: username, Password: password.reveal() }),
    });
    const ties = `${urls.trunks}/${trunk}/CredentialLists`;
    await make(ledger, TRUNK_CREDENTIAL_LIST, {
      lookUp: () => named(rest, `${ties}?${PAGE}`, 'credential_lists', (row) => row.sid === list),
      post: () => rest.send('POST', ties, { CredentialListSid: list }),
    });
    const originations = `${urls.trunks}/${trunk}/OriginationUrls`;
    await make(ledger, ORIGINATION_URL, {
      lookUp: () =>
        named(rest, `${originations}?${PAGE}`, 'origination_urls', (row) => row.friendly_name === name),
      post: () =>
        rest.send('POST', originations, {
          FriendlyName: name,
          SipUrl: options.originationUri,
          Weight: '10',
          Priority: '10',
          Enabled: 'true',
        }),
    });
    return {
      server: domain,
      transport: 'udp',
      allowedAddresses: TWILIO_SIGNALLING,
      numberFormat: 'e164',
      cpsLimit: NEW_TRUNK_CPS,
    };
  }

  async availableNumbers(account: ProviderAccount, ledger: Ledger): Promise<readonly AvailableNumber[]> {
    const rows = await this.#rest(account).list(
      `${this.#urls(account).numbers}.json?${PAGE}`,
      'incoming_phone_numbers',
    );
    const ours = idOf(ledger, TRUNK);
    const numbers: AvailableNumber[] = [];
    for (const { sid, phone_number, friendly_name, capabilities, trunk_sid } of rows) {
      if (typeof sid !== 'string' || typeof phone_number !== 'string') continue;
      const elsewhere = typeof trunk_sid === 'string' && trunk_sid !== '';
      numbers.push({
        id: sid,
        phoneNumber: phone_number,
        friendlyName: typeof friendly_name === 'string' ? friendly_name : null,
        voice: (capabilities as JsonObject | null | undefined)?.voice === true,
        assigned: !elsewhere ? 'none' : trunk_sid === ours ? 'here' : 'elsewhere',
      });
    }
    return numbers;
  }

  async assign(account: ProviderAccount, numberId: string, ledger: Ledger): Promise<void> {
    const trunk = idOf(ledger, TRUNK);
    if (trunk === undefined) throw new ProviderFault('not_found', 'the account has no trunk of ours');
    const url = `${this.#urls(account).trunks}/${trunk}/PhoneNumbers`;
    const rest = this.#rest(account);
    try {
      await rest.send('POST', url, { PhoneNumberSid: numberId });
    } catch (error) {
      // Lost answer, or on the trunk already: what is there counts.
      if (!(error instanceof ProviderFault) || error.kind === 'unauthorised') throw error;
      const there = await present(rest, `${url}/${encodeURIComponent(numberId)}`);
      if (!there) throw error;
    }
    await ledger.made(NUMBER, numberId);
  }

  async release(account: ProviderAccount, numberId: string, ledger: Ledger): Promise<void> {
    const trunk = idOf(ledger, TRUNK);
    if (trunk !== undefined) {
      await remove(
        this.#rest(account),
        `${this.#urls(account).trunks}/${trunk}/PhoneNumbers/${encodeURIComponent(numberId)}`,
      );
    }
    await ledger.gone(NUMBER, numberId);
  }

  async disconnect(account: ProviderAccount, ledger: Ledger): Promise<readonly Leftover[]> {
    const rest = this.#rest(account);
    const urls = this.#urls(account);
    await this.#findLost(rest, account, ledger);
    const trunk = idOf(ledger, TRUNK);
    const list = idOf(ledger, CREDENTIAL_LIST);
    const left: Leftover[] = [];
    const drop = async (kind: string, id: string | null, url: string | null): Promise<void> => {
      if (id === null && (kind === TRUNK || kind === CREDENTIAL_LIST)) {
        left.push({
          kind,
          id,
          reason: 'its making was asked for, and whether it was made could not be learnt',
        });
        return;
      }
      try {
        if (url !== null) await remove(rest, url);
        await ledger.gone(kind, id);
      } catch (error) {
        if (!(error instanceof ProviderFault)) throw error;
        left.push({ kind, id, reason: error.message });
      }
    };
    const all = (kind: string) => ledger.resources.filter((resource) => resource.kind === kind);
    // What hangs on the trunk first, then the trunk, then the list that it used. A part whose whole is gone is gone.
    const under = (base: string | undefined, path: string, id: string | null): string | null =>
      base === undefined || id === null ? null : `${path}/${id}`;
    const onTrunk = (part: string) => `${urls.trunks}/${trunk}/${part}`;
    for (const { id } of all(NUMBER)) await drop(NUMBER, id, under(trunk, onTrunk('PhoneNumbers'), id));
    for (const { id } of all(ORIGINATION_URL))
      await drop(ORIGINATION_URL, id, under(trunk, onTrunk('OriginationUrls'), id));
    for (const { id } of all(TRUNK_CREDENTIAL_LIST))
      await drop(TRUNK_CREDENTIAL_LIST, id, under(trunk, onTrunk('CredentialLists'), id));
    for (const { id } of all(TRUNK)) await drop(TRUNK, id, id === null ? null : `${urls.trunks}/${id}`);
    for (const { id } of all(CREDENTIAL)) {
      const url = under(list, `${urls.lists}/${list}/Credentials`, id);
      await drop(CREDENTIAL, id, url === null ? null : `${url}.json`);
    }
    for (const { id } of all(CREDENTIAL_LIST))
      await drop(CREDENTIAL_LIST, id, id === null ? null : `${urls.lists}/${id}.json`);
    return left;
  }

  /** Trunk and list whose making was asked for and never confirmed are found by their names. */
  async #findLost(rest: TwilioRest, account: ProviderAccount, ledger: Ledger): Promise<void> {
    const urls = this.#urls(account);
    for (const { kind, id } of [...ledger.resources]) {
      if (id !== null || (kind !== TRUNK && kind !== CREDENTIAL_LIST)) continue;
      try {
        const found =
          kind === TRUNK
            ? await named(
                rest,
                `${urls.trunks}?${PAGE}`,
                'trunks',
                (row) => row.domain_name === domainOf(account),
              )
            : await named(
                rest,
                `${urls.lists}.json?${PAGE}`,
                'credential_lists',
                (row) => row.friendly_name === nameOf(account),
              );
        if (found !== null) await ledger.made(kind, found);
        else await ledger.gone(kind, null);
      } catch (error) {
        // It stays in the ledger unconfirmed, and is reported as left.
        if (!(error instanceof ProviderFault)) throw error;
      }
    }
  }

  #rest({ accountSid, authToken }: ProviderAccount): TwilioRest {
    return new TwilioRest({ accountSid, authToken, clock: this.#clock, timeoutMs: this.#timeoutMs });
  }

  #urls({ accountSid }: ProviderAccount) {
    const account = `${this.#servers.api}/2010-04-01/Accounts/${encodeURIComponent(accountSid)}`;
    return {
      trunks: `${this.#servers.trunking}/v1/Trunks`,
      lists: `${account}/SIP/CredentialLists`,
      numbers: `${account}/IncomingPhoneNumbers`,
    };
  }
}

/** At most 64 characters, which is what Twilio takes. */
function nameOf({ providerId }: ProviderAccount): string {
  return `trunkline ${providerId}`.slice(0, 64);
}

/** "Domain names can contain letters, digits, and `-` and must end with `pstn.twilio.com`." */
function domainOf({ providerId }: ProviderAccount): string {
  return `trunkline-${providerId.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.pstn.twilio.com`;
}

function idOf(ledger: Ledger, kind: string): string | undefined {
  return ledger.resources.find((resource) => resource.kind === kind && resource.id !== null)?.id ?? undefined;
}

interface Step {
  /** The one that is there already; asked only after an answer was lost. */
  lookUp(): Promise<string | null>;
  post(): Promise<JsonObject | null>;
}

/** Makes one thing, or finds it made. Written down before and after. */
async function make(ledger: Ledger, kind: string, step: Step): Promise<string> {
  const known = ledger.resources.find((resource) => resource.kind === kind);
  if (known !== undefined && known.id !== null) return known.id;
  if (known !== undefined) {
    const found = await step.lookUp();
    if (found !== null) {
      await ledger.made(kind, found);
      return found;
    }
  } else {
    await ledger.intend(kind);
  }
  let id: string | null;
  try {
    const made = await step.post();
    id = typeof made?.sid === 'string' ? made.sid : null;
  } catch (error) {
    if (!(error instanceof ProviderFault)) throw error;
    id = error.ambiguous ? await step.lookUp() : null;
    if (id === null) {
      if (!error.ambiguous) await ledger.gone(kind, null);
      throw error;
    }
  }
  if (id === null) throw new ProviderFault('unavailable', `Twilio made a ${kind} and did not say its SID`);
  await ledger.made(kind, id);
  return id;
}

/** SID of the row that fits; null when none does. */
async function named(
  rest: TwilioRest,
  url: string,
  rows: string,
  fits: (row: JsonObject) => boolean,
): Promise<string | null> {
  const row = (await rest.list(url, rows)).find(fits);
  return typeof row?.sid === 'string' ? row.sid : null;
}

async function present(rest: TwilioRest, url: string): Promise<boolean> {
  try {
    await rest.send('GET', url);
    return true;
  } catch (error) {
    if (error instanceof ProviderFault && error.kind === 'not_found') return false;
    throw error;
  }
}

/** DELETE; what is gone already is gone. */
async function remove(rest: TwilioRest, url: string): Promise<void> {
  try {
    await rest.send('DELETE', url);
  } catch (error) {
    if (!(error instanceof ProviderFault) || error.kind !== 'not_found') throw error;
  }
}
