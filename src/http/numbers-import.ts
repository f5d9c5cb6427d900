/** Many phone numbers at once, as JSON or CSV, with a report on every row. */
import * as z from 'zod';
import type { CreatedRow } from '#directory/editor.js';
import type { Document } from '#directory/store.js';
import { parseCsv } from './csv.js';
import { authorOf, fieldErrors } from './edit.js';
import { newNumberSchema } from './numbers.js';
import { component } from './openapi.js';
import { type FieldError, invalid, read } from './problem.js';
import { ok, type Route, route } from './route.js';

const ROWS_MAX = 10_000;
const BODY_BYTES_MAX = 8_388_608;
const TIMEOUT_MS = 120_000;

const rowSchema = z.object({
  row: z.int().meta({ description: 'From 1; the line of column names is not counted.' }),
  phoneNumber: z.string().nullable(),
  outcome: z.enum(['created', 'failed']),
  id: z.string().nullable(),
  errors: z.array(z.object({ path: z.string(), message: z.string(), hint: z.string().optional() })),
});

const reportSchema = component(
  'ImportReport',
  z.object({ total: z.int(), created: z.int(), failed: z.int(), rows: z.array(rowSchema) }),
);

type Row = z.output<typeof rowSchema>;

const numbersBody = component(
  'PhoneNumbersToImport',
  // Each row is read for itself, so that a faulty one is reported and does not stop the others.
  z.strictObject({ numbers: z.array(z.record(z.string(), z.unknown())).min(1).max(ROWS_MAX) }),
);

export const importRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/phone-numbers/import',
    id: 'importPhoneNumbers',
    tag: 'Phone numbers',
    summary: 'Adds up to 10,000 numbers. Sound rows are taken, the others reported with what is wrong.',
    description:
      'As JSON `{"numbers": [{…}, …]}`, each with the fields of a new number; or as text/csv, whose first line names the columns after those fields.',
    access: 'write',
    body: z.union([numbersBody, z.string()]),
    textBody: ['text/csv'],
    bodyLimit: BODY_BYTES_MAX,
    timeoutMs: TIMEOUT_MS,
    answer: reportSchema,
    async handle(request, ports) {
      request.extendTimeout(TIMEOUT_MS);
      const { body } = request;
      const rows = typeof body === 'string' ? rowsOf(body) : (body.numbers as readonly Document[]);
      const checked = rows.map((fields) => ({ fields, result: read(newNumberSchema, fields) }));
      const sound = checked.filter(({ result }) => 'data' in result).map(({ fields }) => fields);
      const created = await ports.editor.createMany(authorOf(request), 'phoneNumber', sound);
      let next = 0;
      const report = checked.map(({ fields, result }, index): Row => {
        const outcome =
          'errors' in result ? { id: null, errors: result.errors } : outcomeOf(created[next++]!);
        return {
          row: index + 1,
          phoneNumber: typeof fields.phoneNumber === 'string' ? fields.phoneNumber : null,
          outcome: outcome.id === null ? 'failed' : 'created',
          id: outcome.id,
          errors: outcome.errors.map((error) => ({ ...error })),
        };
      });
      const failed = report.filter(({ outcome }) => outcome === 'failed').length;
      return ok({ total: report.length, created: report.length - failed, failed, rows: report });
    },
  }),
];

function outcomeOf(row: CreatedRow): { id: string | null; errors: readonly FieldError[] } {
  if (row.kind === 'written') return { id: row.id, errors: [] };
  const faults = 'faults' in row ? row.faults : [];
  return { id: null, errors: fieldErrors(faults) };
}

/** Rows of a CSV text as the fields of numbers. Throws a Problem when the text as a whole cannot be read. */
function rowsOf(text: string): readonly Document[] {
  const parsed = parseCsv(text);
  const fault = (message: string, hint?: string) =>
    invalid([{ path: '', message, ...(hint === undefined ? {} : { hint }) }]);
  if ('message' in parsed) throw fault(`line ${parsed.line} ${parsed.message}`);
  const [head, ...rows] = parsed;
  if (head === undefined || rows.length === 0) {
    throw fault('has no rows', 'the first line names the columns, the others are numbers');
  }
  if (rows.length > ROWS_MAX) throw fault(`has more than ${ROWS_MAX} rows`, 'send them in several parts');
  const known = Object.keys(newNumberSchema.shape);
  const columns = head.map((name) => name.trim());
  const unknown = columns.filter((name, index) => !known.includes(name) || columns.indexOf(name) !== index);
  if (unknown.length > 0) {
    const errors = unknown.map((name) => ({
      path: name,
      message: 'is no column that is known here, or stands there twice',
      hint: `known: ${known.join(', ')}`,
    }));
    throw invalid(errors);
  }
  return rows.map((cells) => fieldsOfRow(columns, cells));
}

/** An empty cell is a field that is not given. Cells beyond the columns become a field that nobody knows. */
function fieldsOfRow(columns: readonly string[], cells: readonly string[]): Document {
  const fields: Record<string, string | boolean> = {};
  for (const [index, cell] of cells.entries()) {
    const value = cell.trim();
    if (value === '') continue;
    const name = columns[index] ?? `column ${index + 1}`;
    const flag = name === 'registration' ? { true: true, false: false }[value.toLowerCase()] : undefined;
    fields[name] = flag ?? value;
  }
  return fields;
}
