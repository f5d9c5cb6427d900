/** What the end-points that change the directory have in common: who writes, which version, and what a refusal says. */
import * as z from 'zod';
import type { DirectoryKind } from '#directory/documents.js';
import type { Author, RemoveResult, WriteRefusal, WriteResult } from '#directory/editor.js';
import { formatPath } from '#directory/issues.js';
import type { Document } from '#directory/store.js';
import { callerName } from './caller.js';
import { changedMeanwhile, checkMatch, etagOf } from './etag.js';
import { plain } from './mirror.js';
import type { HttpPorts } from './ports.js';
import { type FieldError, invalid, notFound, Problem } from './problem.js';
import type { ApiRequest } from './route.js';
import { time } from './schemas.js';

type AnyRequest = Pick<
  ApiRequest<unknown, unknown, unknown>,
  'caller' | 'organizationId' | 'ifMatch' | 'given'
>;

/** What every object of the directory has besides its own fields. */
export const metaShape = {
  createdAt: time.nullable().meta({ description: 'ISO 8601, UTC; null for objects of the config file.' }),
  updatedAt: time.nullable().meta({ description: 'ISO 8601, UTC; null for objects of the config file.' }),
};

/** When an object was made and last changed; null for one of the config file. */
export function metaOf(
  ports: HttpPorts,
  kind: DirectoryKind,
  id: string,
): { createdAt: string | null; updatedAt: string | null } {
  const meta = ports.meta(kind, id);
  return {
    createdAt: meta === undefined ? null : new Date(meta.createdAt).toISOString(),
    updatedAt: meta === undefined ? null : new Date(meta.updatedAt).toISOString(),
  };
}

/** @param model as the directory has it, for objects of the config file, which have no version */
export function etagHeader(
  ports: HttpPorts,
  kind: DirectoryKind,
  id: string,
  model: object,
): { etag: string } {
  const meta = ports.meta(kind, id);
  return { etag: meta === undefined ? etagOf(plain(model)) : versionTag(meta.version) };
}

const versionTag = (version: number): string => `"v${version}"`;

/** Who changes something, for the audit log. */
export function authorOf({ caller, organizationId }: AnyRequest): Author {
  return { organizationId, name: callerName(caller) };
}

/** The body as it was sent; the description's schema has found nothing wrong with it. */
export function fieldsOf({ given }: Pick<AnyRequest, 'given'>): Document {
  return (given ?? {}) as Document;
}

/** The version that If-Match asks for. Throws a Problem (412) when there is another one already. */
export function wantedVersion(
  request: AnyRequest,
  ports: HttpPorts,
  kind: DirectoryKind,
  id: string,
): number | undefined {
  const meta = ports.meta(kind, id);
  if (request.ifMatch === undefined || meta?.organizationId !== request.organizationId) return undefined;
  checkMatch(request.ifMatch, versionTag(meta.version));
  return request.ifMatch.includes('*') ? undefined : meta.version;
}

/** Throws the Problem that a refusal is. @param what `phone number` */
export function written(result: WriteResult, what: string): Extract<WriteResult, { kind: 'written' }> {
  if (result.kind === 'written') return result;
  throw refusal(result, what);
}

/** Throws the Problem that a refusal is. @param what `phone number` */
export function removed(result: RemoveResult, what: string): void {
  if (result.kind !== 'removed') throw refusal(result, what);
}

function refusal(refused: WriteRefusal, what: string): Problem {
  switch (refused.kind) {
    case 'invalid':
      return invalid(fieldErrors(refused.faults));
    case 'not_found':
      return notFound(`no such ${what}`);
    case 'conflict': {
      const errors = fieldErrors(refused.faults);
      const detail = errors.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
      return new Problem(409, 'conflict', 'Conflict', detail, errors);
    }
    case 'read_only':
      return readOnly(refused, what);
    case 'in_use':
      return new Problem(
        409,
        'in_use',
        'In use',
        `others depend on this ${what}; ?force=true removes it with them`,
        undefined,
        { ...refused.affected },
      );
    case 'changed':
      return changedMeanwhile();
  }
}

function readOnly(
  { source, providerId }: Extract<WriteRefusal, { kind: 'read_only' }>,
  what: string,
): Problem {
  const detail =
    source === 'config'
      ? `this ${what} stands in the configuration file: change it there; a reload brings it here`
      : `this ${what} belongs to provider ${providerId ?? ''}, which alone changes it and takes it along when it is deleted`;
  return new Problem(409, 'read_only', 'Read-only', detail, undefined, { source });
}

/** Faults as a Problem names them. */
export function fieldErrors(
  faults: readonly {
    readonly path: readonly PropertyKey[];
    readonly message: string;
    readonly hint: string | undefined;
  }[],
): FieldError[] {
  return faults.map(({ path, message, hint }) => ({
    path: formatPath(path),
    message,
    ...(hint === undefined ? {} : { hint }),
  }));
}

/** `?force=true`: with everything that depends on it. */
export const forceQuery = z.strictObject({
  force: z
    .enum(['true', 'false'])
    .default('false')
    .meta({ description: 'true: together with what depends on it.' }),
});

/** Statuses that a change may meet, for descriptions. */
export const CHANGE_PROBLEMS = {
  404: 'There is no such object.',
  409: 'It is read-only (`read_only`), or another object has what this one asks for (`conflict`).',
  412: 'If-Match was sent, and the object has changed since.',
} as const;

export const CREATE_PROBLEMS = { 409: 'Another object has what this one asks for (`conflict`).' } as const;

export const REMOVE_PROBLEMS = {
  ...CHANGE_PROBLEMS,
  409: 'It is read-only (`read_only`), or others depend on it (`in_use`), which the answer lists.',
} as const;
