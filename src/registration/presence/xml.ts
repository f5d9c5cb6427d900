/**
 * Bodies of NOTIFYs as a small tree. They come from the network, so: no document type, hence no entities beside XML's
 * five, and bounds on depth and number of elements. Octets are bounded by the size of a message.
 */
import sax from 'sax';
import { type Octets, toText } from '#sip/octets.js';

export interface XmlElement {
  /** Without prefix. */
  readonly name: string;
  /** Namespace; '' for none. */
  readonly namespace: string;
  /** By name without prefix. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** Character data directly inside, trimmed. */
  readonly text: string;
}

interface Draft extends XmlElement {
  readonly children: Draft[];
  text: string;
}

const DEPTH_MAX = 16;
const ELEMENTS_MAX = 2_000;

/** The root element, or what is wrong as a text. */
export function parseXml(body: Octets): XmlElement | string {
  const options = { xmlns: true, strictEntities: true };
  const parser = sax.parser(true, options);
  const open: Draft[] = [];
  let root: Draft | undefined;
  let elements = 0;
  let fault: string | undefined;
  const fail = (why: string): void => {
    fault ??= why;
  };
  parser.onerror = () => fail('is not well-formed XML');
  parser.ondoctype = () => fail('has a document type');
  parser.onopentag = (tag) => {
    // What comes after a fault is read to its end, and not kept.
    if (fault !== undefined) return;
    if (++elements > ELEMENTS_MAX) return fail(`has more than ${ELEMENTS_MAX} elements`);
    if (open.length >= DEPTH_MAX) return fail(`is more than ${DEPTH_MAX} elements deep`);
    if (open.length === 0 && root !== undefined) return fail('has more than one root');
    const element = elementOf(tag);
    open.at(-1)?.children.push(element);
    root ??= element;
    open.push(element);
  };
  parser.onclosetag = () => {
    const element = open.pop();
    if (element !== undefined) element.text = element.text.trim();
  };
  const onText = (text: string): void => {
    const element = open.at(-1);
    if (element !== undefined && fault === undefined) element.text += text;
  };
  parser.ontext = onText;
  parser.oncdata = onText;
  try {
    parser.write(toText(body)).close();
  } catch {
    fail('is not well-formed XML');
  }
  return fault ?? root ?? 'is empty';
}

function elementOf(tag: sax.Tag | sax.QualifiedTag): Draft {
  const attributes = new Map<string, string>();
  for (const attribute of Object.values(tag.attributes)) {
    // With `xmlns` every attribute is a qualified one.
    if (typeof attribute !== 'string') attributes.set(attribute.local, attribute.value);
  }
  return {
    name: 'local' in tag ? tag.local : tag.name,
    namespace: 'uri' in tag ? tag.uri : '',
    attributes,
    children: [],
    text: '',
  };
}

/** The first child of that name in the element's own namespace. */
export function childOf(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((child) => child.name === name && child.namespace === element.namespace);
}
