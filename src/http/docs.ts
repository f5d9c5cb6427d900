/**
 * The description of the API: the OpenAPI document, and Swagger UI to read and try it. Both are open to everybody,
 * since they tell what any copy of this program does; trying something out still needs a token.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { FastifyInstance } from 'fastify';
import type { OpenApiDocument } from './openapi.js';

const DOCUMENT_PATH = '/api/v1/openapi.json';
const UI_PATH = '/api/docs';

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Trunkline API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
`;

const START = `window.ui = SwaggerUIBundle({ url: '${DOCUMENT_PATH}', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null });
`;

/** Nothing from elsewhere, and no script or frame that is not ours. The bundle writes style attributes. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The document as JSON, and a page that shows it; nothing is loaded from elsewhere. */
export function serveDocs(app: FastifyInstance, document: OpenApiDocument): void {
  const text = JSON.stringify(document);
  app.get(DOCUMENT_PATH, (_request, reply) => reply.type('application/json; charset=utf-8').send(text));
  const files: readonly (readonly [path: string, type: string, content: () => string])[] = [
    ['', 'text/html', () => PAGE],
    ['/start.js', 'text/javascript', () => START],
    ['/swagger-ui.css', 'text/css', bundled('swagger-ui.css')],
    ['/swagger-ui-bundle.js', 'text/javascript', bundled('swagger-ui-bundle.js')],
  ];
  for (const [path, type, content] of files) {
    app.get(`${UI_PATH}${path}`, (_request, reply) =>
      reply
        .type(`${type}; charset=utf-8`)
        .headers({
          'content-security-policy': POLICY,
          'x-content-type-options': 'nosniff',
          'referrer-policy': 'no-referrer',
          'cache-control': path === '' ? 'no-cache' : 'max-age=3600',
        })
        .send(content()),
    );
  }
}

/** A file of Swagger UI, read when it is first asked for. */
function bundled(name: string): () => string {
  let text: string | undefined;
  return () => {
    text ??= readFileSync(
      createRequire(import.meta.url).resolve(`@fastify/swagger-ui/static/${name}`),
      'utf8',
    );
    return text;
  };
}
