/** Twilio's published OpenAPI documents, where they lie beside the project, and an account on a server that speaks them. */
import { existsSync, readFileSync } from 'node:fs';
import { type OpenApiDocument, OpenApiServer } from './openapi-server.js';

const FOLDER = new URL('../../../shared/twilio-oai/', import.meta.url);
const NAMES = ['twilio_trunking_v1.json', 'twilio_api_v2010.subset.json'];

/** '' when they are there; else why what needs them is not run. */
export const TWILIO_MISSING = NAMES.every((name) => existsSync(new URL(name, FOLDER)))
  ? ''
  : `NOT RUN: Twilio's OpenAPI documents (${NAMES.join(', ')}) are not beside the project`;

export const TWILIO_ACCOUNT = `AC${'a1'.repeat(16)}`;
export const TWILIO_TOKEN = 'twilio-token-not-to-be-seen';
/** Path of the account at `api.twilio.com`. */
export const TWILIO_BASE = `/2010-04-01/Accounts/${TWILIO_ACCOUNT}`;

export function twilioServer(): OpenApiServer {
  const documents = NAMES.map(
    (name) => JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as OpenApiDocument,
  );
  return new OpenApiServer(documents, `${TWILIO_ACCOUNT}:${TWILIO_TOKEN}`);
}
