/** The OpenAPI document and its page. */
import { afterEach, describe, expect, it } from 'vitest';
import { API_ROUTES, apiDocument } from '#http/api.js';
import { HttpServer } from '#http/server.js';
import { silentLogger } from '#lib/logger.js';
import { scriptedPorts } from './ports.js';

let server: HttpServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

async function start(): Promise<string> {
  server = new HttpServer({
    host: '127.0.0.1',
    port: 0,
    token: 'a-token-of-some-length',
    log: silentLogger,
    ports: scriptedPorts(),
    version: '1.2.3',
  });
  return server.start();
}

describe('the OpenAPI document', () => {
  const document = apiDocument('1.2.3');

  it('is served to everybody as it is made from the end-points', async () => {
    const response = await fetch(`${await start()}/api/v1/openapi.json`);
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(await response.json()).toEqual(JSON.parse(JSON.stringify(document)));
  });

  it('names every end-point once, and every operation differently', () => {
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId }]) => `${method} ${path} ${operationId}`),
    );
    expect(operations.sort()).toEqual(
      API_ROUTES.map(({ method, path, id }) => `${method.toLowerCase()} ${path} ${id}`).sort(),
    );
    expect(new Set(API_ROUTES.map(({ id }) => id)).size).toBe(API_ROUTES.length);
  });

  it('refers to nothing that it does not have', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(
      ([, path]) => path!,
    );
    expect(references.length).toBeGreaterThan(10);
    for (const reference of references) {
      let found: unknown = document;
      for (const part of reference.split('/')) found = (found as Record<string, unknown>)[part];
      expect(found, reference).toBeTypeOf('object');
    }
  });

  it('has every parameter of a path, and a body where one is read', () => {
    for (const route of API_ROUTES) {
      const operation = document.paths[route.path]![route.method.toLowerCase()]!;
      const named = operation.parameters.filter((each) => each.in === 'path').map(({ name }) => name);
      expect(named).toEqual([...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name));
      expect(operation.requestBody !== undefined).toBe(route.body !== undefined);
    }
  });
});

describe('the page', () => {
  it('loads nothing from elsewhere', async () => {
    const url = await start();
    const page = await fetch(`${url}/api/docs`);
    expect(page.status).toBe(200);
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("script-src 'self';");
    const html = await page.text();
    const parts = [...html.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)].map(([, path]) => path!);
    expect(parts).toHaveLength(3);
    for (const part of parts) {
      const response = await fetch(new URL(part, `${url}/api/docs`));
      expect(response.status, part).toBe(200);
      expect((await response.text()).length).toBeGreaterThan(50);
    }
    expect(html).not.toMatch(/<script>/);
  });
});
