/** Dialogs of a watched account, from application/dialog-info+xml (RFC 4235). */
import { fromText, printable } from '#sip/octets.js';
import type { WatchedDialog } from './presence-view.js';
import { childOf, parseXml, type XmlElement } from './xml.js';

const NAMESPACE = 'urn:ietf:params:xml:ns:dialog-info';
/** An account with more calls at once is not watched call by call. */
const DIALOGS_MAX = 200;

/** `stale`: older than what is known, and ignored. `gap`: a report was missed, so a full one is needed. */
export type Applied = 'applied' | 'stale' | 'gap' | { readonly fault: string };

export class DialogTable {
  readonly #dialogs = new Map<string, WatchedDialog>();
  /** −1: nothing is known yet. */
  #version = -1;

  /** A new subscription counts its versions anew. */
  restart(): void {
    this.#version = -1;
  }

  get known(): boolean {
    return this.#version >= 0;
  }

  list(): readonly WatchedDialog[] {
    return [...this.#dialogs.values()];
  }

  /** §4.1.1, §4.3: a full report replaces the table, a partial one changes it; versions rise by one. */
  apply(body: string): Applied {
    const root = parseXml(body);
    if (typeof root === 'string') return { fault: root };
    if (root.name !== 'dialog-info' || root.namespace !== NAMESPACE) return { fault: 'is no dialog-info' };
    const versionText = root.attributes.get('version') ?? '';
    if (!/^\d{1,10}$/.test(versionText)) return { fault: 'has no version' };
    const version = Number(versionText);
    const state = root.attributes.get('state');
    if (state !== 'full' && state !== 'partial') return { fault: 'is neither full nor partial' };
    // §4.3: "If the version […] is less than or equal, the document is discarded without any further processing".
    if (this.known && version <= this.#version) return 'stale';
    const missed = state === 'partial' && (!this.known || version !== this.#version + 1);
    if (state === 'full') this.#dialogs.clear();
    for (const child of root.children) {
      if (child.name === 'dialog' && child.namespace === NAMESPACE) this.#take(child);
    }
    // Without the full report before it a partial one leaves the table unknown.
    if (this.known || state === 'full') this.#version = version;
    return missed ? 'gap' : 'applied';
  }

  #take(element: XmlElement): void {
    const id = shown(element.attributes.get('id') ?? '');
    const state = childOf(element, 'state')?.text;
    if (id === '' || state === undefined) return;
    // "terminated" is the last that is told of a dialog.
    if (state === 'terminated') {
      this.#dialogs.delete(id);
      return;
    }
    if (this.#dialogs.size >= DIALOGS_MAX && !this.#dialogs.has(id)) return;
    const direction = element.attributes.get('direction');
    const remote = childOf(element, 'remote');
    const identity = remote === undefined ? undefined : childOf(remote, 'identity');
    this.#dialogs.set(id, {
      id,
      state: shown(state),
      direction: direction === 'initiator' || direction === 'recipient' ? direction : null,
      remote: identity === undefined ? null : shown(identity.text),
    });
  }
}

/** Text of the peer as it may be shown. */
export function shown(text: string): string {
  return printable(fromText(text));
}
