/** What is wrong with a configuration, for people: where, what, and what to do. Never a secret. */

export interface ConfigFault {
  readonly file: string;
  /** `sipCredentials[0].server`; '' for the file as a whole. */
  readonly path: string;
  /** From 1; undefined when it belongs to no line. */
  readonly line: number | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

/** One fault per line, `file:line: path message` as compilers write them, its hint below, and the count. */
export function formatFaults(faults: readonly ConfigFault[]): string {
  const lines = faults.map(({ file, path, line, message, hint }) => {
    const where = line === undefined ? file : `${file}:${line}`;
    const subject = path === '' ? '' : `${path} `;
    return `${where}: ${subject}${message}${hint === undefined ? '' : `\n    ${hint}`}`;
  });
  const count = faults.length === 1 ? '1 fault' : `${faults.length} faults`;
  return `${[...lines, `${count}; nothing was changed.`].join('\n')}\n`;
}
