/**
 * `npm run client -- [FILE]`: writes a typed client of the API in TypeScript, with no dependencies, from the OpenAPI
 * document that the gateway serves. Default FILE: client/trunkline.ts.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { apiDocument } from '../dist/http/api.js';
import { clientOf } from './typescript.mjs';

const file = resolve(process.argv[2] ?? 'client/trunkline.ts');
const document = apiDocument(process.env.npm_package_version ?? '0');
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, clientOf(document));
process.stdout.write(`${file}: ${Object.keys(document.paths).length} paths\n`);
