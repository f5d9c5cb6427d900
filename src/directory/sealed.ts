/**
 * Secrets of objects of any kind in a store: beside the document's own members, in `secrets`, sealed each by its name.
 * What lies there is sealed anew when the key changes.
 */
import { isRecord } from './documents.js';
import type { Secret } from './secret.js';
import type { SecretBox } from './secret-box.js';
import type { Document, ObjectKey, StoredObject } from './store.js';

/** The document with these secrets, and without those that it had. */
export function withSecrets(
  { kind, id }: ObjectKey,
  document: Document,
  secrets: Readonly<Record<string, Secret>>,
  box: SecretBox,
): Document {
  const sealed = Object.entries(secrets).map(([field, secret]) => [
    field,
    box.seal(secret, { kind, id, field }),
  ]);
  return { ...document, secrets: Object.fromEntries(sealed) };
}

/** undefined: it has none of that name. @throws SealFault */
export function secretOf(
  { kind, id, document }: StoredObject,
  field: string,
  box: SecretBox,
): Secret | undefined {
  const { secrets } = document;
  const sealed = isRecord(secrets) && Object.hasOwn(secrets, field) ? secrets[field] : undefined;
  return typeof sealed === 'string' ? box.open(sealed, { kind, id, field }) : undefined;
}
