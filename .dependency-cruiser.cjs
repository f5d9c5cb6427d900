/**
 * The arrows of the house (src/README.md) and the tenants of its rooms, checked by `npm run lint`.
 *
 * Each room lists the rooms that it may enter; whatever is not listed is forbidden, so a new room or a new
 * import shows up here first. Each library has one tenant: only that room may import it. `test/unit/lint` plants a
 * breach of every rule that is here.
 */

/** What stands behind a name in the tables below, as regular expressions on paths. */
const ROOMS = {
  lib: '^src/lib/',
  sip: '^src/sip/',
  engine: '^src/engine/[^/]+\\.ts$',
  embedded: '^src/engine/embedded/',
  drachtio: '^src/engine/drachtio/',
  directory: '^src/directory/',
  targets: '^src/targets/',
  routing: '^src/routing/',
  auth: '^src/auth/',
  registration: '^src/registration/',
  pacing: '^src/pacing/',
  provider: '^src/provider/',
  webhook: '^src/webhook/',
  call: '^src/call/',
  origination: '^src/origination/',
  ingress: '^src/ingress/',
  sqlite: '^src/store/sqlite/',
  redis: '^src/store/redis/',
  trace: '^src/trace/',
  observe: '^src/observe/',
  http: '^src/http/',
  config: '^src/config/',
  // Composition roots: of the gateway, of what it remembers, and of the commands beside it.
  app: '^src/(app|client|first-call|knowledge|manage|manage-arguments|pacers|probe|registering|settings|telling)\\.ts$',
  main: '^src/(main|arguments|version)\\.ts$',
};

const ARROWS = {
  lib: [],
  sip: ['lib'],
  engine: ['sip', 'lib'],
  embedded: ['engine', 'sip', 'lib'],
  drachtio: ['engine', 'sip', 'lib'],
  directory: ['sip', 'lib'],
  targets: ['engine', 'sip', 'lib'],
  routing: ['directory', 'engine', 'sip', 'lib'],
  auth: ['directory', 'engine', 'sip', 'lib'],
  registration: ['auth', 'directory', 'targets', 'engine', 'sip', 'lib'],
  pacing: ['lib'],
  provider: ['directory', 'lib'],
  webhook: ['directory', 'lib'],
  trace: ['directory', 'engine', 'sip', 'lib'],
  call: ['auth', 'pacing', 'routing', 'directory', 'engine', 'sip', 'lib'],
  origination: ['call', 'pacing', 'routing', 'directory', 'engine', 'sip', 'lib'],
  ingress: ['auth', 'call', 'routing', 'directory', 'engine', 'sip', 'lib'],
  // Ports of other rooms are implemented here.
  sqlite: ['directory', 'sip', 'lib'],
  redis: ['directory', 'pacing', 'sip', 'lib'],
  observe: ['pacing', 'call', 'ingress', 'registration', 'engine', 'sip', 'lib'],
  http: [
    'trace',
    'provider',
    'webhook',
    'origination',
    'call',
    'pacing',
    'routing',
    'registration',
    'directory',
    'sip',
    'lib',
  ],
  config: ['directory', 'lib'],
  main: ['app', 'config', 'http', 'observe', 'lib'],
};

/** Inside the embedded engine: transport below transaction below dialog below the engine itself. */
const FLOORS = [
  { room: 'transport', not: ['transaction', 'dialog'] },
  { room: 'transaction', not: ['dialog'] },
  { room: 'dialog', not: [] },
];

const TENANTS = {
  'node:dgram|dgram|node:net|net|node:tls|tls': ['^src/engine/embedded/transport/'],
  'node:dns|dns|node:dns/promises|dns/promises': ['^src/targets/'],
  'node:http|http|node:https|https|node:http2|http2|fastify': ['^src/http/', '^src/webhook/'],
  'rate-limiter-flexible|@fastify/swagger-ui': ['^src/http/'],
  'pino|prom-client': ['^src/observe/'],
  'libphonenumber-js': ['^src/directory/'],
  zod: ['^src/config/', '^src/directory/', '^src/http/'],
  yaml: ['^src/config/'],
  'drachtio-srf': ['^src/engine/drachtio/'],
  sax: ['^src/registration/presence/'],
  'better-sqlite3': ['^src/store/sqlite/'],
  'node:worker_threads|worker_threads': ['^src/store/sqlite/'],
  ioredis: ['^src/store/redis/'],
};

/** Matches a library however it was found: a core module by its name, a package by its place. */
function libraryPath(names) {
  return names
    .split('|')
    .map((name) => `^${name}$|(^|/)node_modules/${name}/`)
    .join('|');
}

const arrows = Object.entries(ARROWS).map(([room, allowed]) => ({
  name: `arrow-${room}`,
  comment: `${room} may enter ${allowed.length > 0 ? allowed.join(', ') : 'no other room'}`,
  severity: 'error',
  from: { path: ROOMS[room] },
  to: { path: '^src/', pathNot: [room, ...allowed].map((name) => ROOMS[name]) },
}));

const floors = FLOORS.map(({ room, not }) => ({
  name: `floor-${room}`,
  comment: `engine/embedded/${room} lies below ${[...not, 'engine.ts'].join(' and ')}`,
  severity: 'error',
  from: { path: `^src/engine/embedded/${room}/` },
  to: { path: [...not.map((name) => `^src/engine/embedded/${name}/`), '^src/engine/embedded/engine\\.ts$'] },
}));

const tenants = Object.entries(TENANTS).map(([library, rooms]) => ({
  name: `tenant-${library.split('|')[0].replace(/^node:/, '')}`,
  comment: `only ${rooms.join(', ')} may import ${library.split('|').join(', ')}`,
  severity: 'error',
  from: { path: '^src/', pathNot: rooms },
  to: { path: libraryPath(library) },
}));

module.exports = {
  forbidden: [
    ...arrows,
    ...floors,
    ...tenants,
    {
      name: 'known-room',
      comment: 'a file of src/ stands in a room that is listed in .dependency-cruiser.cjs',
      severity: 'error',
      from: { path: '^src/.*\\.ts$', pathNot: Object.values(ROOMS) },
      to: {},
    },
    {
      name: 'crossing',
      comment:
        'across rooms an import reads #room/file.js, so that every crossing shows; engine/ is one room here',
      severity: 'error',
      from: { path: '^src/([^/]+)/' },
      to: { path: '^src/', pathNot: '^src/$1/', dependencyTypesNot: ['aliased-subpath-import'] },
    },
    {
      name: 'no-circular',
      comment: 'two modules that need each other are one module, or miss a third',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'resolvable',
      comment: 'an import leads somewhere',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'declared',
      comment: 'a package that is imported stands in "dependencies"',
      severity: 'error',
      from: { path: '^src/.*\\.ts$' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'npm-optional'] },
    },
  ],
  options: {
    // TypeScript 7 has no JavaScript API for the checker to use; swc reads the sources instead. It sees
    // `import type` like any import, so the arrows hold for types too.
    parser: 'swc',
    // Relative to the directory it runs in; `#room/file.js` leads to the source as it does for tsc and vitest.
    enhancedResolveOptions: {
      conditionNames: ['source', 'import', 'node', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.json'],
      exportsFields: ['exports'],
      mainFields: ['main'],
    },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.d\\.ts$' },
    cache: false,
  },
};
