/** A probe's report for people at a terminal: one line per step, what was learnt below it, the verdict last. */
import type { Fact, ProbeReport, ProbeStep } from './report.js';

const MARKS: Readonly<Record<ProbeStep['outcome'], string>> = {
  pass: 'ok',
  warn: 'WARN',
  fail: 'FAIL',
  skip: '-',
};

const HEAD = ['stage', 'result', 'time', 'on', 'what was found'] as const;

/** The report as a table for a terminal. */
export function formatReport(report: ProbeReport): string {
  const rows = report.steps.map((step) => ({ cells: cellsOf(step), below: belowOf(step) }));
  const widths = HEAD.map((title, column) =>
    Math.max(title.length, ...rows.map(({ cells }) => cells[column]!.length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 4 ? cell : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd();
  const indent = ' '.repeat(widths.slice(0, 4).reduce((sum, width) => sum + width + 2, 0));
  const who = report.aor === null ? '' : ` as ${report.aor}`;
  const { code, detail } = report.verdict;
  return [
    `${report.server} over ${report.transport}${who}`,
    '',
    line(HEAD),
    line(
      widths
        .slice(0, 4)
        .map((width) => '-'.repeat(width))
        .concat('-'.repeat(14)),
    ),
    ...rows.flatMap(({ cells, below }) => [line(cells), ...below.map((text) => `${indent}${text}`)]),
    '',
    `Verdict: ${code}: ${detail}`,
    `         after ${(report.durationMs / 1000).toFixed(1)} s`,
    '',
  ].join('\n');
}

function cellsOf(step: ProbeStep): string[] {
  const time = step.outcome === 'skip' ? '' : `${Math.round(step.durationMs)} ms`;
  const code = step.code === null ? '' : `${step.code}: `;
  return [step.stage, MARKS[step.outcome], time, step.subject, `${code}${step.detail}`];
}

/** Only what says more than the line above. */
function belowOf({ stage, facts }: ProbeStep): string[] {
  switch (stage) {
    case 'dns':
      return list(facts.records).map((record) => {
        const answer = fieldOf(record, 'answer');
        return `${text(fieldOf(record, 'type'))} ${text(fieldOf(record, 'name'))}: ${
          Array.isArray(answer) ? answer.map(text).join(', ') || 'none' : text(answer)
        }`;
      });
    case 'tls':
      return list(facts.chain).map(
        (one) =>
          `${text(fieldOf(one, 'subject'))}, by ${text(fieldOf(one, 'issuer'))}, ${text(
            fieldOf(one, 'validFrom'),
          ).slice(0, 10)} to ${text(fieldOf(one, 'validTo')).slice(0, 10)}${namesOf(one)}`,
      );
    default:
      return Object.entries(facts).map(([name, value]) => `${name}: ${text(value)}`);
  }
}

function namesOf(certificate: Fact): string {
  const names = list(fieldOf(certificate, 'names')).map(text);
  return names.length === 0 ? '' : `, for ${names.join(' ')}`;
}

function list(fact: Fact | undefined): readonly Fact[] {
  return Array.isArray(fact) ? fact : [];
}

function fieldOf(fact: Fact, name: string): Fact {
  if (fact === null || typeof fact !== 'object' || Array.isArray(fact)) return null;
  return (fact as { readonly [name: string]: Fact })[name] ?? null;
}

function text(fact: Fact): string {
  if (fact === null) return 'none';
  return typeof fact === 'object' ? JSON.stringify(fact) : String(fact);
}
