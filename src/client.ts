/**
 * `npm run client -- [FILE]`: writes a typed client of the API in TypeScript, with no dependencies, from the OpenAPI
 * document that the gateway serves.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { apiDocument } from '#http/api.js';
import { clientOf } from '#http/client.js';
import { version } from './version.js';

const DEFAULT_FILE = 'data/trunkline-client.ts';

const file = resolve(process.argv[2] ?? DEFAULT_FILE);
const document = apiDocument(version());
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, clientOf(document));
process.stdout.write(`${file}: ${Object.keys(document.paths).length} paths\n`);
