/**
 * Who may be heard: addresses of trunks and agents are known, everybody else is a stranger who gets a bounded number
 * of messages per second read. Asked for every message before it is parsed, so it costs one map look-up for a known
 * address.
 *
 * The bound is a fixed one-second window, per strange address and for all of them together: two windows' worth in
 * the worst second is as harmless as one, and it needs no clock per address.
 */

import type { Snapshot } from '#directory/snapshot.js';
import type { Source } from '#engine/engine.js';
import { BoundedMap } from '#lib/bounded-map.js';
import type { Clock } from '#lib/clock.js';
import { fromText } from '#sip/octets.js';
import { parseUri } from '#sip/uri.js';
import type { IngressObserver } from './observer.js';

export interface ScreenSettings {
  /** `refuse`: strangers are answered, with 403. `drop`: they meet silence. Default `refuse`. */
  readonly unknownSources: 'refuse' | 'drop';
  /** Messages per second that one strange address gets read. Default 10. */
  readonly strangerRatePerAddress: number;
  /** Messages per second that all strangers together get read; also bounds what is kept about them. Default 200. */
  readonly strangerRate: number;
}

const DEFAULT_SCREEN_SETTINGS: ScreenSettings = {
  unknownSources: 'refuse',
  strangerRatePerAddress: 10,
  strangerRate: 200,
};

export interface ScreenOptions {
  readonly clock: Clock;
  /** Read for every message, so a swapped snapshot counts at once. */
  readonly directory: { readonly current: Pick<Snapshot, 'version' | 'isKnownSource' | 'agents'> };
  readonly observer: IngressObserver;
  readonly settings?: Partial<ScreenSettings> | undefined;
}

const WINDOW_MS = 1000;
/** Addresses that calls went to. One that falls out of the list comes back with the next call there. */
const PEERS_MAX = 50_000;
const REMEMBERED_MAX = 10_000;

export class Screen {
  readonly #clock: Clock;
  readonly #directory: ScreenOptions['directory'];
  readonly #observer: IngressObserver;
  #settings: ScreenSettings;
  readonly #peers = new BoundedMap<string, true>(PEERS_MAX);
  /** Addresses found known under the snapshot of this version. */
  readonly #known = new Set<string>();
  #version = -1;
  #agents: ReadonlySet<string> = new Set();
  readonly #counts = new Map<string, number>();
  #total = 0;
  #windowStart = 0;

  constructor(options: ScreenOptions) {
    this.#clock = options.clock;
    this.#directory = options.directory;
    this.#observer = options.observer;
    this.#settings = { ...DEFAULT_SCREEN_SETTINGS, ...options.settings };
  }

  configure(settings: Partial<ScreenSettings>): void {
    this.#settings = { ...DEFAULT_SCREEN_SETTINGS, ...settings };
  }

  /** A call goes to this address: what comes from it is no stranger's, whatever the directory says by then. */
  expect(address: string): void {
    if (!this.#peers.has(address)) this.#peers.set(address, true);
  }

  isKnown(address: string): boolean {
    const snapshot = this.#directory.current;
    if (snapshot.version !== this.#version) {
      this.#version = snapshot.version;
      this.#known.clear();
      this.#agents = agentAddresses(snapshot);
    }
    if (this.#known.has(address) || this.#peers.has(address)) return true;
    if (!this.#agents.has(address) && !snapshot.isKnownSource(address)) return false;
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear();
    this.#known.add(address);
    return true;
  }

  screen(source: Source): 'known' | 'stranger' | 'drop' {
    const { address } = source;
    if (this.isKnown(address)) return 'known';
    if (this.#settings.unknownSources === 'drop') {
      this.#observer.messageDropped?.('unknown_source', source);
      return 'drop';
    }
    const now = this.#clock.now();
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now;
      this.#total = 0;
      this.#counts.clear();
    }
    const count = this.#counts.get(address) ?? 0;
    // First the address: one that floods must not use up what is there for all.
    if (count >= this.#settings.strangerRatePerAddress) {
      this.#observer.messageDropped?.('address_rate', source);
      return 'drop';
    }
    if (this.#total >= this.#settings.strangerRate) {
      this.#observer.messageDropped?.('stranger_rate', source);
      return 'drop';
    }
    this.#total++;
    this.#counts.set(address, count + 1);
    this.#observer.strangerSeen?.(source);
    return 'stranger';
  }
}

/** Endpoints given by address. Those given by name are known once a call has gone to what the name means. */
function agentAddresses(snapshot: Pick<Snapshot, 'agents'>): ReadonlySet<string> {
  const addresses = new Set<string>();
  for (const agent of snapshot.agents()) {
    for (const endpoint of agent.endpoints) {
      const host = parseUri(fromText(endpoint.uri))?.host;
      if (host !== undefined && /^[0-9a-f.:]+$/.test(host)) addresses.add(host);
    }
  }
  return addresses;
}
