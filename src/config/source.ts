/**
 * The text of a config file as plain values, with the line of each and with `${ENV_NAME}` and `${file:PATH}`
 * replaced. `$${` stands for `${` itself.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml';
import { formatPath } from '#directory/issues.js';
import type { ConfigFault } from './faults.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A file that holds one secret or certificate is small; anything larger is a mistake. */
const MAX_INCLUDED_BYTES = 1_048_576;

export class ConfigSource {
  readonly file: string;
  value: unknown;
  readonly faults: ConfigFault[] = [];
  /** Path → line, by `formatPath`. */
  readonly #lines = new Map<string, number>();
  /** Paths whose value came by substitution, and so is text whatever was meant. */
  readonly #substituted = new Set<string>();
  /** What substitution brought in → what the file says in its place. */
  readonly #secrets = new Map<string, string>();
  readonly #environment: Environment;
  readonly #counter = new LineCounter();

  constructor(file: string, text: string, environment: Environment) {
    this.file = file;
    this.#environment = environment;
    const document = parseDocument(text, {
      lineCounter: this.#counter,
      prettyErrors: false,
      stringKeys: true,
    });
    for (const error of document.errors) {
      // The parser quotes what it stumbles over, which may be a password: only what comes before is passed on.
      const message = error.message.split('\n')[0]!.replace(/: ".*$/, '');
      this.#add('', this.#counter.linePos(error.pos[0]).line, `is not YAML: ${message}`, undefined);
    }
    if (this.faults.length === 0) this.value = this.#read(document.contents, []) ?? {};
  }

  /** The line of a path, or of the nearest thing around it that is in the file. */
  line(path: readonly PropertyKey[]): number | undefined {
    if (path.length === 0) return this.#lines.get('');
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(formatPath(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  }

  isSubstituted(path: readonly PropertyKey[]): boolean {
    return this.#substituted.has(formatPath(path));
  }

  /** `hint` is masked like the message: it may quote a value. */
  fault(path: readonly PropertyKey[], message: string, hint: string | undefined): void {
    this.explain(path, message, hint === undefined ? undefined : this.#mask(hint));
  }

  /** A fault whose hint is text of ours and quotes nothing. */
  explain(path: readonly PropertyKey[], message: string, hint: string | undefined): void {
    this.#add(formatPath(path), this.line(path), message, hint);
  }

  #add(path: string, line: number | undefined, message: string, hint: string | undefined): void {
    this.faults.push({ file: this.file, path, line, message: this.#mask(message), hint });
  }

  /** Puts `${NAME}` back for what it stands for: it may be a secret in the wrong field. */
  #mask(text: string): string {
    let masked = text;
    for (const [value, reference] of this.#secrets) masked = masked.replaceAll(value, reference);
    return masked;
  }

  #read(node: Node | null, path: PropertyKey[]): unknown {
    if (node === null) return null;
    if (node.range) {
      const key = formatPath(path);
      if (!this.#lines.has(key)) this.#lines.set(key, this.#counter.linePos(node.range[0]).line);
    }
    if (isMap<Node, Node | null>(node)) return this.#readMap(node.items, path);
    if (isSeq<Node>(node)) return node.items.map((item, index) => this.#read(item, [...path, index]));
    if (isScalar(node))
      return typeof node.value === 'string' ? compact(this.#substitute(node.value, path)) : node.value;
    this.fault(path, 'is an alias', 'write the value out: anchors and aliases are not taken');
    return undefined;
  }

  #readMap(items: readonly Pair<Node, Node | null>[], path: PropertyKey[]): unknown {
    // No prototype: a key `__proto__` is then a key like others, and unknown.
    const values: Record<string, unknown> = Object.create(null);
    for (const { key, value } of items) {
      const name = isScalar(key) ? compact(String(key.value)) : '';
      const inner = [...path, name];
      if (key.range) this.#lines.set(formatPath(inner), this.#counter.linePos(key.range[0]).line);
      values[name] = this.#read(value, inner);
    }
    return values;
  }

  #substitute(text: string, path: PropertyKey[]): string {
    if (!text.includes('${')) return text;
    return text.replace(/\$?\$\{([^}]*)\}/g, (reference: string, inside: string) => {
      if (reference.startsWith('$$')) return reference.slice(1);
      const value = inside.startsWith('file:')
        ? this.#include(inside.slice('file:'.length), path)
        : this.#variable(inside, path);
      if (value === undefined) return reference;
      this.#substituted.add(formatPath(path));
      // A very short value would turn every other letter of a message into a reference.
      if (value.length >= 3) this.#secrets.set(value, reference);
      return value;
    });
  }

  #variable(name: string, path: PropertyKey[]): string | undefined {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      this.fault(
        path,
        'has a reference that is neither ${ENV_NAME} nor ${file:PATH}',
        'write $${ for a plain ${',
      );
      return undefined;
    }
    const value = this.#environment[name];
    if (value === undefined) {
      this.fault(path, `needs the environment variable ${name}`, `set ${name}, or write the value out`);
    }
    return value;
  }

  /** Relative to the config file. A line end at its end belongs to the file, not to the value. */
  #include(path: string, where: PropertyKey[]): string | undefined {
    const file = resolve(dirname(this.file), path);
    try {
      const content = readFileSync(file);
      if (content.length > MAX_INCLUDED_BYTES) throw new Error('it is larger than 1 MiB');
      return content.toString('utf8').replace(/\r?\n$/, '');
    } catch (error) {
      this.fault(
        where,
        `cannot read the file ${file}: ${reasonOf(error)}`,
        'PATH is relative to the config file',
      );
      return undefined;
    }
  }
}

/**
 * A copy with one byte per character where that suffices. A file with a single … in a comment is a string of two
 * bytes per character to V8, so is every slice of it, and so would be every SIP message that an id or a URI of the
 * configuration goes into.
 */
function compact(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

/** Why a file could not be read, in words. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'permission denied';
  if (code === 'EISDIR') return 'it is a directory';
  return error instanceof Error ? error.message : String(error);
}
