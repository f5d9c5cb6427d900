/**
 * Reads and checks a config file: every fault at once, or a typed configuration and the compiled directory. The
 * only reader of the environment.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as z from 'zod';
import { compileSnapshot, type DirectoryInput } from '#directory/compile.js';
import type { CompiledSnapshot } from '#directory/compiled-snapshot.js';
import { cpsWarnings } from '#directory/cps-line.js';
import { idSchema } from '#directory/field-kinds.js';
import { faultsOf, formatPath, valueAt } from '#directory/issues.js';
import { toAgent, toNumber, toOrganization, toTrunk } from '#directory/models.js';
import { agentSchema, numberSchema, organizationSchema, trunkSchema } from '#directory/schema.js';
import { Secret } from '#directory/secret.js';
import { schemaAt, unwrap } from '#directory/walk.js';
import type { ConfigFault } from './faults.js';
import { type Config, configSchema, DEFAULT_CDR_PATH } from './schema.js';
import { ConfigSource, type Environment, reasonOf } from './source.js';

export interface LoadOptions {
  /** Default `process.env`. */
  readonly environment?: Environment | undefined;
  /** Version of the snapshot. Default 1. */
  readonly version?: number | undefined;
}

export type Loaded =
  | {
      readonly kind: 'config';
      readonly config: Config;
      readonly snapshot: CompiledSnapshot;
      readonly text: string;
      /** What is sound, but most likely not meant. */
      readonly warnings: readonly string[];
    }
  | { readonly kind: 'faults'; readonly faults: readonly ConfigFault[] };

/** A million numbers are about 150 MB. */
const MAX_FILE_BYTES = 268_435_456;

/** Loads a file. Relative paths inside belong to the working directory, `${file:…}` to the file's own. */
export function loadConfig(file: string, options: LoadOptions = {}): Loaded {
  let text: string;
  try {
    const content = readFileSync(file);
    if (content.length > MAX_FILE_BYTES) throw new Error('it is larger than 256 MiB');
    text = content.toString('utf8');
  } catch (error) {
    const fault: ConfigFault = {
      file,
      path: '',
      line: undefined,
      message: `cannot be read: ${reasonOf(error)}`,
      hint: 'npm start -- --config FILE takes another file',
    };
    return { kind: 'faults', faults: [fault] };
  }
  return parseConfig(file, text, options);
}

/** Checks the text of a config file. */
export function parseConfig(file: string, text: string, options: LoadOptions = {}): Loaded {
  const environment = options.environment ?? process.env;
  const source = new ConfigSource(file, text, environment);
  if (source.value === undefined) return faulty(source);
  const config = validate(source);
  checkFiles(source);
  if (config === undefined) {
    tellReferences(source);
    return faulty(source);
  }
  const compiled = compileSnapshot(directoryInput(config), options.version ?? 1);
  if (compiled.kind === 'faults') {
    for (const { path, message, hint } of compiled.faults) source.fault(path, message, hint);
  }
  if (compiled.kind === 'faults' || source.faults.length > 0) return faulty(source);
  const { snapshot } = compiled;
  const warnings = cpsWarnings(snapshot.cpsLines());
  return { kind: 'config', config: withToken(config, environment), snapshot, text, warnings };
}

/**
 * Some entry is faulty, so nothing can be compiled as it stands; what the sound entries say about each other is
 * told all the same. Of a faulty trunk or agent its id and organisation still count, so that references to it are no faults.
 */
function tellReferences(source: ConfigSource): void {
  const organizations = soundEntries(organizationSchema, valueAt(source.value, ['organizations']));
  const trunks = soundEntries(trunkSchema, valueAt(source.value, ['sipCredentials']));
  const numbers = soundEntries(numberSchema, valueAt(source.value, ['phoneNumbers']));
  const agents = soundEntries(agentSchema, valueAt(source.value, ['agents']));
  const standIns = {
    trunks: trunks.named.map((names) => trunkSchema.parse({ ...names, server: 'invalid' })),
    agents: agents.named.map((names) => agentSchema.parse(names)),
  };
  const compiled = compileSnapshot(
    {
      organizations: organizations.sound.map((input) => toOrganization(input, 'config')),
      trunks: [...trunks.sound, ...standIns.trunks].map((input) => toTrunk(input, 'config')),
      numbers: numbers.sound.map((input) => toNumber(input, 'config')),
      agents: [...agents.sound, ...standIns.agents].map((input) => toAgent(input, 'config')),
    },
    0,
  );
  if (compiled.kind === 'snapshot') return;
  const places: Record<string, readonly number[]> = {
    organizations: organizations.places,
    sipCredentials: trunks.places,
    phoneNumbers: numbers.places,
    agents: agents.places,
  };
  for (const { path, message, hint } of compiled.faults) {
    const [collection, index, ...rest] = path;
    const place = places[String(collection)]?.[Number(index)];
    // An agent may call from a number that is among the faulty ones.
    const doubtful = (rest[0] === 'outboundNumberId' || rest[0] === 'fallbackNumberIds') && numbers.faulty;
    if (place !== undefined && !doubtful) source.fault([String(collection), place, ...rest], message, hint);
  }
}

/** The entries of a list that are valid by themselves, where they stand, and what the others are called. */
function soundEntries<T extends z.ZodType>(schema: T, list: unknown) {
  const sound: z.output<T>[] = [];
  const places: number[] = [];
  const named: { readonly id: string; readonly organizationId: string | undefined }[] = [];
  let faulty = false;
  for (const [index, entry] of (Array.isArray(list) ? list : []).entries()) {
    const result = schema.safeParse(entry);
    if (result.success) {
      sound.push(result.data);
      places.push(index);
      continue;
    }
    faulty = true;
    const id = idSchema.safeParse(valueAt(entry, ['id']));
    const organizationId = idSchema.safeParse(valueAt(entry, ['organizationId']));
    if (id.success) named.push({ id: id.data, organizationId: organizationId.data });
  }
  return { sound, places, named, faulty };
}

function faulty(source: ConfigSource): Loaded {
  return { kind: 'faults', faults: source.faults.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0)) };
}

function validate(source: ConfigSource): Config | undefined {
  dropEmpty(source.value, configSchema);
  let result = configSchema.safeParse(source.value);
  if (!result.success && convertSubstituted(source.value, result.error.issues, source)) {
    result = configSchema.safeParse(source.value);
  }
  if (result.success) return result.data;
  // A reference that could not be resolved has been told already; its text is not what was meant.
  const unresolved = new Set(source.faults.map((fault) => fault.path));
  for (const issue of result.error.issues) tell(issue, source.value, source, unresolved);
  return undefined;
}

/** `http:` with nothing below, or with everything below commented out, is a section left to its defaults. */
function dropEmpty(value: unknown, schema: z.core.$ZodType): void {
  const section = unwrap(schema);
  if (!(section instanceof z.ZodObject) || typeof value !== 'object' || value === null) return;
  const values = value as Record<string, unknown>;
  for (const [key, inner] of Object.entries(section.shape as Record<string, z.ZodType>)) {
    const kind = unwrap(inner);
    const collection =
      kind instanceof z.ZodObject || kind instanceof z.ZodArray || kind instanceof z.ZodRecord;
    if (values[key] === null && collection) delete values[key];
    else dropEmpty(values[key], inner);
  }
}

/** Environment variables are text: where a number or a boolean is expected, one that reads as such is taken. */
function convertSubstituted(
  value: unknown,
  issues: readonly z.core.$ZodIssue[],
  source: ConfigSource,
): boolean {
  let converted = false;
  for (const issue of issues) {
    if (issue.code !== 'invalid_type') continue;
    const path = issue.path;
    if (!source.isSubstituted(path)) continue;
    const key = path.at(-1);
    const parent = valueAt(value, path.slice(0, -1));
    if (key === undefined || typeof parent !== 'object' || parent === null) continue;
    const holder = parent as Record<PropertyKey, unknown>;
    const text = String(holder[key]);
    const meant = scalarOf(text, issue.expected);
    if (meant === undefined) continue;
    holder[key] = meant;
    converted = true;
  }
  return converted;
}

function scalarOf(text: string, expected: string): number | boolean | undefined {
  if ((expected === 'number' || expected === 'int') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (expected === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return undefined;
}

function tell(
  issue: z.core.$ZodIssue,
  value: unknown,
  source: ConfigSource,
  unresolved: ReadonlySet<string>,
): void {
  for (const { path, message, hint } of faultsOf(issue, configSchema, value, 'is not a setting')) {
    if (unresolved.has(formatPath(path))) continue;
    source.fault(path, message, yamlHint(path, valueAt(value, path)) ?? hint);
  }
}

/** What YAML makes of a value that meant something else. */
function yamlHint(path: readonly PropertyKey[], given: unknown): string | undefined {
  const schema = schemaAt(configSchema, path);
  if (typeof given === 'number' && schema !== undefined && unwrap(schema) instanceof z.ZodString) {
    return 'put it in quotes: without them YAML reads a number, and +1 becomes 1';
  }
  if (given !== null) return undefined;
  return `${schema?.meta()?.description ?? ''} Leave the line out for the default.`.trim();
}

/**
 * Files that will be needed must be readable now, not when the first call comes. Goes by the plain values, so that
 * these faults are told along with all others.
 */
function checkFiles(source: ConfigSource): void {
  const listen = valueAt(source.value, ['sip', 'listen']);
  for (const index of (Array.isArray(listen) ? listen : []).keys()) {
    for (const name of ['certFile', 'keyFile', 'caFile']) {
      const path = ['sip', 'listen', index, name];
      const file = valueAt(source.value, path);
      if (typeof file === 'string') checkPem(file, path, source);
    }
    checkPair(['sip', 'listen', index], source);
  }
  for (const name of ['certFile', 'keyFile']) {
    const file = valueAt(source.value, ['http', 'tls', name]);
    if (typeof file === 'string') checkPem(file, ['http', 'tls', name], source);
  }
  checkPair(['http', 'tls'], source);
  const records = valueAt(source.value, ['cdr', 'path']) ?? DEFAULT_CDR_PATH;
  const off = valueAt(source.value, ['cdr', 'path']) === null;
  if (typeof records === 'string' && !off) checkWritable(records, ['cdr', 'path'], source);
  const database = valueAt(source.value, ['store', 'path']);
  const inRedis = valueAt(source.value, ['store', 'kind']) === 'redis';
  if (typeof database === 'string' && !inRedis) checkWritable(database, ['store', 'path'], source);
}

function checkPem(file: string, path: PropertyKey[], source: ConfigSource): void {
  try {
    if (!readFileSync(file, 'latin1').includes('-----BEGIN ')) {
      source.fault(path, `is not a PEM file: ${file}`, 'it must hold a block that begins with -----BEGIN');
    }
  } catch (error) {
    source.fault(path, `cannot be read: ${file}: ${reasonOf(error)}`, 'check the path and who may read it');
  }
}

/** A certificate and the key of another one are each sound, and no client ever gets through a handshake. */
function checkPair(at: PropertyKey[], source: ConfigSource): void {
  const certificate = readable(valueAt(source.value, [...at, 'certFile']));
  const key = readable(valueAt(source.value, [...at, 'keyFile']));
  if (certificate === undefined || key === undefined) return;
  try {
    if (new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) return;
    source.fault(
      [...at, 'keyFile'],
      'is not the key of the certificate in certFile',
      'name the files of one pair',
    );
  } catch (error) {
    const hint = 'both must be PEM; a key must have no passphrase';
    source.fault([...at, 'certFile'], `cannot be used with keyFile: ${reasonOf(error)}`, hint);
  }
}

/** Text of a PEM file; undefined where that is told of already. */
function readable(file: unknown): string | undefined {
  if (typeof file !== 'string') return undefined;
  try {
    const text = readFileSync(file, 'latin1');
    return text.includes('-----BEGIN ') ? text : undefined;
  } catch {
    return undefined;
  }
}

/** The file, or the nearest directory above it that exists, must be writable. */
function checkWritable(file: string, path: PropertyKey[], source: ConfigSource): void {
  for (let place = resolve(file); ; place = dirname(place)) {
    try {
      accessSync(place, constants.W_OK);
      return;
    } catch (error) {
      const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      if (missing && dirname(place) !== place) continue;
      source.fault(
        path,
        `cannot be written: ${file}: ${reasonOf(error)}`,
        'check the path and who may write there',
      );
      return;
    }
  }
}

/** `calls.relayHeaders` is part of every trunk: one list to look at when a call comes. */
function directoryInput(config: Config): DirectoryInput {
  const { relayHeaders } = config.calls;
  return {
    organizations: config.organizations.map((input) => toOrganization(input, 'config')),
    trunks: config.sipCredentials.map((input) =>
      toTrunk({ ...input, relayHeaders: [...relayHeaders, ...input.relayHeaders] }, 'config'),
    ),
    numbers: config.phoneNumbers.map((input) => toNumber(input, 'config')),
    agents: config.agents.map((input) => toAgent(input, 'config')),
    relayHeaders,
  };
}

/** The token of the file goes before the environment's. */
function withToken(config: Config, environment: Environment): Config {
  const fromEnvironment = environment.TRUNKLINE_API_TOKEN;
  if (config.http.token !== undefined || fromEnvironment === undefined || fromEnvironment === '')
    return config;
  return { ...config, http: { ...config.http, token: new Secret(fromEnvironment) } };
}
