/** Comma-separated values (RFC 4180): quoted fields may hold commas, quotes (doubled) and line ends. */

/** A fault with the line that it stands on, from 1. */
export interface CsvFault {
  readonly line: number;
  readonly message: string;
}

/** Rows of fields; empty lines are left out. A byte order mark is taken for what it is. */
export function parseCsv(text: string): readonly (readonly string[])[] | CsvFault {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = '';
  let line = 1;
  let at = text.startsWith('\uFEFF') ? 1 : 0;
  const endField = (): void => {
    row.push(field);
    field = '';
  };
  const endRow = (): void => {
    endField();
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  };
  while (at < text.length) {
    const c = text[at]!;
    if (c === '"' && field === '') {
      const end = closingQuote(text, at);
      if (end < 0) return { line, message: 'has a quote that is not closed' };
      const inside = text.slice(at + 1, end);
      field = inside.replaceAll('""', '"');
      line += inside.split('\n').length - 1;
      at = end + 1;
      const next = text[at];
      if (next !== undefined && !',\r\n'.includes(next)) {
        return { line, message: 'has something behind a closing quote' };
      }
      continue;
    }
    if (c === '"') return { line, message: 'has a quote inside a field that does not begin with one' };
    if (c === ',') endField();
    else if (c === '\n') {
      endRow();
      line++;
    } else if (c !== '\r' || text[at + 1] !== '\n') field += c;
    at++;
  }
  if (field !== '' || row.length > 0) endRow();
  return rows;
}

/** Where the quote that opens at `open` is closed; -1: nowhere. */
function closingQuote(text: string, open: number): number {
  for (let at = open + 1; ; at++) {
    at = text.indexOf('"', at);
    if (at < 0 || text[at + 1] !== '"') return at;
    at++;
  }
}
