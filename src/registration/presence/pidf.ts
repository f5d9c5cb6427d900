/** Presence of an account, from application/pidf+xml (RFC 3863). Every document is the whole state. */
import { shown } from './dialog-info.js';
import type { PresenceTuple } from './presence-view.js';
import { childOf, parseXml } from './xml.js';

const NAMESPACE = 'urn:ietf:params:xml:ns:pidf';
const TUPLES_MAX = 50;

/** The tuples, or what is wrong as a text. */
export function parsePidf(body: string): readonly PresenceTuple[] | string {
  const root = parseXml(body);
  if (typeof root === 'string') return root;
  if (root.name !== 'presence' || root.namespace !== NAMESPACE) return 'is no presence document';
  const tuples: PresenceTuple[] = [];
  for (const element of root.children) {
    if (element.name !== 'tuple' || element.namespace !== NAMESPACE || tuples.length >= TUPLES_MAX) continue;
    const status = childOf(element, 'status');
    const basic = status === undefined ? undefined : childOf(status, 'basic')?.text.toLowerCase();
    const contact = childOf(element, 'contact')?.text;
    const note = childOf(element, 'note')?.text;
    tuples.push({
      id: shown(element.attributes.get('id') ?? ''),
      basic: basic === 'open' || basic === 'closed' ? basic : null,
      contact: contact === undefined ? null : shown(contact),
      note: note === undefined ? null : shown(note),
    });
  }
  return tuples;
}
