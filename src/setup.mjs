/**
 * What `npm start` and `npm test` do before anything else: check Node's version, install the npm packages, build
 * `dist/`. Plain JavaScript without dependencies, because it runs before there are any. Says one line for each
 * thing it does and nothing when there is nothing to do.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/**
 * What is wrong with this Node, or null.
 * @param {string} version as `process.versions.node`
 * @param {string} wanted the `engines.node` of package.json, `>=MAJOR.MINOR`
 * @returns {string | null}
 */
export function nodeFault(version, wanted) {
  const [wantedMajor = 0, wantedMinor = 0] = wanted
    .replace(/^>=\s*/, '')
    .split('.')
    .map(Number);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return null;
  return `Node ${wanted} is needed and this is ${version}: install a newer Node.js and run the command again.`;
}

/**
 * Why npm must install, or null. Compares what is installed with the lockfile package by package, so neither a
 * fresh checkout's file times nor an interrupted install can mislead it.
 * @param {string} lockfile text of package-lock.json
 * @param {string | null} installed text of node_modules/.package-lock.json, which npm writes last; null without it
 * @returns {string | null}
 */
export function installReason(lockfile, installed) {
  if (installed === null) return 'node_modules is missing or incomplete';
  const wanted = JSON.parse(lockfile).packages;
  const present = JSON.parse(installed).packages;
  for (const [path, { version, optional }] of Object.entries(wanted)) {
    if (path === '') continue;
    // An optional package may be left out on this platform.
    if (present[path] === undefined && optional) continue;
    if (present[path]?.version !== version) return `${path} is not at ${version} as package-lock.json says`;
  }
  return null;
}

/**
 * A text that changes whenever a source file is added, removed or edited.
 * @param {string} root
 * @returns {string}
 */
export function sourceStamp(root) {
  const files = ['package.json', 'tsconfig.json', 'src/tsconfig.json'];
  for (const name of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (name.endsWith('.ts')) files.push(join('src', name));
  }
  return files
    .sort()
    .map((file) => {
      const { size, mtimeMs } = statSync(join(root, file));
      return `${file} ${size} ${mtimeMs}\n`;
    })
    .join('');
}

/**
 * Why the build must run, or null.
 * @param {string} stamp of the sources now
 * @param {string | null} built the stamp that the last build left behind
 * @returns {string | null}
 */
export function buildReason(stamp, built) {
  if (built === null) return 'dist is missing';
  return built === stamp ? null : 'the sources have changed';
}

/** @param {string} path */
function read(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : null;
}

/**
 * Ends the set-up with what is wrong and what to do about it.
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}

/**
 * Not `npm ci`: it refuses a lockfile that lacks packages of foreign platforms, and npm writes such a lockfile where
 * its registry does not carry them all. This takes the versions of the lockfile too, and leaves it as it is.
 */
const INSTALL = 'npm install --include=dev --no-save';

/** @param {string} root */
function install(root) {
  const reason = installReason(
    readFileSync(join(root, 'package-lock.json'), 'utf8'),
    read(join(root, 'node_modules/.package-lock.json')),
  );
  if (reason === null) return;
  console.log(`setup: ${INSTALL} (${reason})`);
  // The npm that runs us, when there is one: it need not be the first on the PATH.
  const npm = process.env.npm_execpath;
  const args = [...INSTALL.split(' ').slice(1), '--no-audit', '--no-fund', '--loglevel=error'];
  const { status, error } = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: 'inherit' })
    : spawnSync('npm', args, { cwd: root, stdio: 'inherit' });
  if (status === 0) return;
  fail(
    `npm failed${error ? ` (${error.message})` : ''}. It needs the npm registry and the right to write ${join(root, 'node_modules')}. ` +
      `To see why by hand: ${INSTALL}`,
  );
}

/** @param {string} root */
function build(root) {
  const dist = join(root, 'dist');
  const stamp = sourceStamp(root);
  const reason = buildReason(stamp, read(join(dist, '.stamp')));
  if (reason === null) return;
  console.log(`setup: tsc -p src (${reason})`);
  // Built aside and swapped in whole, so that a gateway which starts meanwhile never sees half a build.
  const fresh = join(root, `dist.new-${process.pid}`);
  const old = join(root, `dist.old-${process.pid}`);
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  let fault = null;
  try {
    const { status } = spawnSync(process.execPath, [tsc, '-p', 'src', '--outDir', fresh], {
      cwd: root,
      stdio: 'inherit',
    });
    if (status === 0) {
      writeFileSync(join(fresh, '.stamp'), stamp);
      if (existsSync(dist)) renameSync(dist, old);
      renameSync(fresh, dist);
    } else {
      fault = 'the build failed. To see it again: npm run build';
    }
  } catch (error) {
    fault = `cannot write ${dist} (${error instanceof Error ? error.message : error}). Who owns it: ls -ld ${root} ${dist}`;
  }
  rmSync(fresh, { recursive: true, force: true });
  rmSync(old, { recursive: true, force: true });
  if (fault !== null) fail(fault);
}

function main() {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const fault = nodeFault(process.versions.node, engines.node);
  if (fault !== null) fail(fault);
  install(root);
  build(root);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main();
