/** What NOTIFYs carry: dialog-info (RFC 4235), pidf (RFC 3863), and XML that means harm. */
import { describe, expect, it } from 'vitest';
import { DialogTable } from '#registration/presence/dialog-info.js';
import { parsePidf } from '#registration/presence/pidf.js';
import { parseXml } from '#registration/presence/xml.js';
import { fromText } from '#sip/octets.js';

const NAMESPACE = 'xmlns="urn:ietf:params:xml:ns:dialog-info"';

function report(version: number, state: string, dialogs: string): string {
  return `<?xml version="1.0"?><dialog-info ${NAMESPACE} version="${version}" state="${state}" entity="sip:200@pbx.example">${dialogs}</dialog-info>`;
}

function dialog(id: string, state: string, remote = 'sip:carol@example.com'): string {
  return `<dialog id="${id}" direction="recipient"><state>${state}</state><remote><identity>${remote}</identity></remote></dialog>`;
}

const ids = (table: DialogTable): string[] => table.list().map(({ id, state }) => `${id} ${state}`);

describe('dialog-info', () => {
  it('a full report replaces what was known, a partial one changes it', () => {
    const table = new DialogTable();
    expect(table.known).toBe(false);
    expect(table.apply(report(0, 'full', dialog('a', 'early') + dialog('b', 'confirmed')))).toBe('applied');
    expect(table.apply(report(1, 'partial', dialog('a', 'confirmed') + dialog('c', 'trying')))).toBe(
      'applied',
    );
    expect(ids(table)).toEqual(['a confirmed', 'b confirmed', 'c trying']);
    expect(table.apply(report(2, 'partial', dialog('b', 'terminated')))).toBe('applied');
    expect(ids(table)).toEqual(['a confirmed', 'c trying']);
    expect(table.apply(report(3, 'full', ''))).toBe('applied');
    expect([table.list(), table.known]).toEqual([[], true]);
  });

  it('an older or repeated version is ignored, a missed one asks for a full report', () => {
    const table = new DialogTable();
    table.apply(report(5, 'full', dialog('a', 'early')));
    expect(table.apply(report(5, 'partial', dialog('a', 'terminated')))).toBe('stale');
    expect(table.apply(report(4, 'full', ''))).toBe('stale');
    expect(ids(table)).toEqual(['a early']);
    expect(table.apply(report(8, 'partial', dialog('b', 'early')))).toBe('gap');
    expect(ids(table)).toEqual(['a early', 'b early']);
    expect(table.apply(report(9, 'full', dialog('b', 'confirmed')))).toBe('applied');
    expect(ids(table)).toEqual(['b confirmed']);
  });

  it('partial reports alone leave it unknown; a new subscription counts anew', () => {
    const table = new DialogTable();
    expect(table.apply(report(0, 'partial', dialog('a', 'early')))).toBe('gap');
    expect(table.known).toBe(false);
    table.apply(report(7, 'full', ''));
    table.restart();
    expect(table.apply(report(0, 'full', dialog('z', 'early')))).toBe('applied');
    expect(ids(table)).toEqual(['z early']);
  });

  it('reads prefixes, and text outside ASCII, and shows controls harmlessly', () => {
    const table = new DialogTable();
    table.apply(
      fromText(
        `<d:dialog-info xmlns:d="urn:ietf:params:xml:ns:dialog-info" version="0" state="full"><d:dialog id="a"><d:state>early</d:state><d:remote><d:identity>sip:zoë&amp;co@example.com&#x9b;</d:identity></d:remote></d:dialog></d:dialog-info>`,
      ),
    );
    expect(table.list()).toEqual([
      { id: 'a', state: 'early', direction: null, remote: 'sip:zoë&co@example.com\\x9b' },
    ]);
  });

  it('keeps no more dialogs than its bound', () => {
    const table = new DialogTable();
    table.apply(report(0, 'full', Array.from({ length: 300 }, (_, i) => dialog(`d${i}`, 'early')).join('')));
    expect(table.list()).toHaveLength(200);
  });

  it.each([
    ['another document', '<presence xmlns="urn:ietf:params:xml:ns:pidf"/>'],
    ['another namespace', '<dialog-info version="0" state="full"/>'],
    ['no version', `<dialog-info ${NAMESPACE} state="full"/>`],
    ['a version that is no number', `<dialog-info ${NAMESPACE} version="-1" state="full"/>`],
    ['neither full nor partial', `<dialog-info ${NAMESPACE} version="0" state="some"/>`],
  ])('refuses %s', (_name, body) => {
    const table = new DialogTable();
    expect(table.apply(body)).toEqual({ fault: expect.any(String) });
    expect(table.known).toBe(false);
  });
});

describe('pidf', () => {
  const document = (inside: string): string =>
    `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:200@pbx.example">${inside}</presence>`;

  it('gives the tuples', () => {
    const body = document(
      '<tuple id="t1"><status><basic>open</basic></status><contact priority="0.8">sip:200@192.0.2.4</contact><note>at the desk</note></tuple>' +
        '<tuple id="t2"><status><basic>closed</basic></status></tuple><tuple id="t3"><status/></tuple>' +
        '<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p1"/>',
    );
    expect(parsePidf(body)).toEqual([
      { id: 't1', basic: 'open', contact: 'sip:200@192.0.2.4', note: 'at the desk' },
      { id: 't2', basic: 'closed', contact: null, note: null },
      { id: 't3', basic: null, contact: null, note: null },
    ]);
  });

  it('takes no other document, and no more than fifty tuples', () => {
    expect(parsePidf('<presence/>')).toBe('is no presence document');
    const many = parsePidf(document('<tuple id="t"/>'.repeat(60)));
    expect(many).toHaveLength(50);
  });
});

describe('XML from the network', () => {
  const lol = `<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "${'&l;'.repeat(50)}">]><a>&m;</a>`;
  it.each([
    ['a document type', lol],
    ['a file of this machine', '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><a>&f;</a>'],
    ['an entity of nobody', '<a>&nobody;</a>'],
    ['an entity of HTML', '<a>&nbsp;</a>'],
    ['an open element', '<a><b></a>'],
    ['no root', '   '],
    ['nothing', ''],
    ['text', 'v=0'],
    ['two roots', '<a/><b/>'],
    ['a depth without end', '<a>'.repeat(5_000)],
    ['elements without end', `<a>${'<b/>'.repeat(5_000)}</a>`],
    ['an unbound prefix', '<x:a/>'],
  ])('is refused with %s', (_name, body) => {
    expect(parseXml(body)).toEqual(expect.any(String));
  });

  it('gives elements with names, attributes and text', () => {
    expect(parseXml('<a b="1"> one <c>two</c><![CDATA[&x;]]></a>')).toMatchObject({
      name: 'a',
      namespace: '',
      attributes: new Map([['b', '1']]),
      children: [{ name: 'c', text: 'two' }],
      text: expect.stringMatching(/^one\s+&x;$/),
    });
  });
});
