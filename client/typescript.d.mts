import type { OpenApiDocument } from '../src/http/openapi.js';

/** The text of a client in TypeScript. */
export function clientOf(document: OpenApiDocument): string;
