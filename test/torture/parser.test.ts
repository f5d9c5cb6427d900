/**
 * Every message of RFC 4475 and RFC 5118 before the parser and `inspectRequest`. `expectations.tsv` says per message
 * which reaction is right; the first token of `expect` is the ideal, the others are what the RFCs leave room for.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { inspectRequest } from '#sip/inspect.js';
import { parseMessage } from '#sip/parse.js';
import { serialise } from '../kit/serialise.js';

const here = fileURLToPath(new URL('.', import.meta.url));

interface Expectation {
  readonly file: string;
  readonly class: string;
  readonly expect: readonly string[];
  readonly note: string;
}

function expectations(): Expectation[] {
  const [header, ...rows] = readFileSync(`${here}expectations.tsv`, 'latin1').trimEnd().split('\n');
  const names = header!.split('\t');
  return rows.map((row) => {
    const cells = row.split('\t');
    const cell = (name: string): string => cells[names.indexOf(name)] ?? '';
    return {
      file: cell('file'),
      class: cell('class'),
      expect: cell('expect').split(','),
      note: cell('note'),
    };
  });
}

function message(file: string): string {
  return readFileSync(`${here}messages/${file}`, 'latin1');
}

const understood = {
  methods: new Set(['INVITE', 'ACK', 'BYE', 'CANCEL', 'OPTIONS', 'REGISTER', 'MESSAGE', 'PRACK', 'UPDATE']),
  extensions: new Set(['100rel']),
};

/** What the gateway would do as far as the parser and the stateless checks decide it. */
function reaction(octets: string): string {
  const parsed = parseMessage(octets);
  if (parsed.kind === 'fault') return parsed.status === 0 ? 'drop' : String(parsed.status);
  if (parsed.kind === 'response') return 'response';
  const rejection = inspectRequest(parsed, understood);
  return rejection === null ? 'VALID' : String(rejection.status);
}

/** Statuses that only a later room can give; the parser has to accept the message. */
const DECIDED_LATER = new Set(['406', '415', '483', '200']);

function allowed(row: Expectation): string[] {
  const tokens = row.expect.filter((token) => !token.startsWith('!'));
  if (row.class === 'response') return ['response', 'drop'];
  return tokens.map((token) => (DECIDED_LATER.has(token) ? 'VALID' : token));
}

const rows = expectations();

test('the table names every message once', () => {
  const files = ['rfc4475', 'rfc5118'].flatMap((rfc) =>
    readdirSync(`${here}messages/${rfc}`).map((name) => `${rfc}/${name}`),
  );
  expect(rows.map((row) => row.file).sort()).toEqual(files.sort());
  expect(rows).toHaveLength(62);
});

describe.each(rows)('$file: $note', (row) => {
  test(`reaction is one of ${row.expect.join(', ')}`, () => {
    expect(allowed(row)).toContain(reaction(message(row.file)));
  });

  test('what is accepted serialises to the same message', () => {
    const parsed = parseMessage(message(row.file));
    if (parsed.kind === 'fault') return;
    const once = serialise(parsed);
    const again = parseMessage(once);
    if (again.kind === 'fault') throw new Error(again.detail);
    expect(serialise(again)).toBe(once);
  });
});

/** Where the table leaves room, these are the readings that we hold to: the ideal, unless a reason is given. */
const IDEAL_EXCEPTIONS = new Map([
  ['rfc4475/intmeth.sip', '501'],
  ['rfc4475/esc02.sip', '501'],
  // The parser does not know which methods are served, and 400 is as right (RFC 4475 §3.1.2.18).
  ['rfc4475/mismatch02.sip', '400'],
  // Schemes in To, From and Contact are not ours to judge.
  ['rfc4475/unksm2.sip', 'VALID'],
  // A lone dead response is the transaction layer's to drop.
  ['rfc4475/unreason.sip', 'response'],
  ['rfc4475/noreason.sip', 'response'],
  ['rfc4475/bcast.sip', 'response'],
]);

test('the readings chosen where the RFCs leave room', () => {
  const chosen = new Map(rows.map((row) => [row.file, reaction(message(row.file))]));
  const wanted = new Map(
    rows.map((row) => {
      const ideal = row.class === 'response' ? 'drop' : allowed(row)[0]!;
      return [row.file, IDEAL_EXCEPTIONS.get(row.file) ?? ideal];
    }),
  );
  expect(Object.fromEntries(chosen)).toEqual(Object.fromEntries(wanted));
});
