/**
 * What `npm test` needs beyond npm packages: Debian's SIPp, Kamailio, Redis and OpenSSL. Installs the lacking ones
 * where it may (as root, or with sudo that asks for no password), else prints the command to run and fails.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

export const PACKAGES = [
  'sip-tester',
  'kamailio',
  'kamailio-tls-modules',
  'redis-server',
  'faketime',
  'openssl',
];

/** The programs that stand for the packages on a machine without dpkg. */
const PROGRAMS = ['sipp', 'kamailio', 'redis-server', 'faketime', 'openssl'];

/**
 * The packages that dpkg does not list as installed.
 * @param {readonly string[]} packages
 * @param {string} listing output of `dpkg-query -W -f '${Package} ${db:Status-Status}\n'`
 * @returns {string[]}
 */
export function missingPackages(packages, listing) {
  const installed = new Set(
    listing
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.slice(0, line.indexOf(' '))),
  );
  return packages.filter((name) => !installed.has(name));
}

/**
 * What to do about what is missing.
 * @param {{missing: readonly string[], apt: boolean, root: boolean, sudo: boolean}} machine
 * @returns {{kind: 'nothing'} | {kind: 'install', prefix: string[]} | {kind: 'tell', message: string}}
 */
export function plan({ missing, apt, root, sudo }) {
  if (missing.length === 0) return { kind: 'nothing' };
  if (!apt) {
    return {
      kind: 'tell',
      message: `the tests need these programs: ${missing.join(', ')}. Without apt-get, install them your system's way and run npm test again.`,
    };
  }
  if (root) return { kind: 'install', prefix: [] };
  if (sudo) return { kind: 'install', prefix: ['sudo', '-n'] };
  return {
    kind: 'tell',
    message: `the tests need Debian packages, and installing them needs root. Run:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing.join(' ')}\nthen npm test again.`,
  };
}

/**
 * Debian starts a service as soon as its package is there; the tests want the programs, not a Kamailio on port 5060.
 * policy-rc.d is how a machine says so, and it is taken away again unless it was there before.
 */
const INSTALL = `set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@" > /dev/null`;

/** @param {string} program */
function onPath(program) {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function main() {
  const apt = onPath('apt-get') && onPath('dpkg-query');
  const listing = apt
    ? spawnSync('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\\n', ...PACKAGES], {
        encoding: 'utf8',
      }).stdout
    : '';
  const missing = apt ? missingPackages(PACKAGES, listing) : PROGRAMS.filter((program) => !onPath(program));
  const root = process.getuid?.() === 0;
  const sudo =
    apt && missing.length > 0 && !root && onPath('sudo') && spawnSync('sudo', ['-n', 'true']).status === 0;
  const step = plan({ missing, apt, root, sudo });
  if (step.kind === 'nothing') return;
  if (step.kind === 'tell') {
    console.error(`setup: ${step.message}`);
    process.exit(1);
  }
  console.log(`setup: ${[...step.prefix, 'apt-get install'].join(' ')} ${missing.join(' ')}`);
  const [program = 'sh', ...args] = [...step.prefix, 'sh', '-c', INSTALL, 'sh', ...missing];
  if (spawnSync(program, args, { stdio: 'inherit' }).status === 0) return;
  console.error(
    `setup: apt-get failed (its words are above). It needs Debian's package servers; by hand:\n  apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`,
  );
  process.exit(1);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) main();
