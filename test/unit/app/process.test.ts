/** The gateway as a process: how it starts, reloads, drains and ends, run as `npm start` runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse, stringify } from 'yaml';
import type { CallRecord } from '#call/observer.js';
import { createAuthority } from '../../kit/certificates.js';
import { API_TOKEN } from '../../kit/gateway.js';
import { freePorts } from '../../kit/ports.js';
import { ROOT, temporaryFolder, until } from '../../kit/processes.js';
import { Sipp } from '../../kit/sipp.js';

interface Setup {
  readonly folder: string;
  readonly configPath: string;
  readonly cdrPath: string;
  readonly sip: number;
  readonly http: number;
  readonly agent: number;
}

const NUMBER = '+14155550100';

/** A folder with a configuration of one number, on free ports. */
async function prepare(changes: Record<string, unknown> = {}): Promise<Setup> {
  const [sip = 0, http = 0, agent = 0] = await freePorts(3);
  const folder = temporaryFolder('process');
  const configPath = join(folder, 'trunkline.yaml');
  const cdrPath = join(folder, 'cdr.jsonl');
  const config = {
    sip: { listen: [{ transport: 'udp', host: '127.0.0.1', port: sip }] },
    http: { host: '127.0.0.1', port: http },
    cdr: { path: cdrPath },
    sipCredentials: [{ id: 'carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.1'] }],
    phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'sales' }],
    agents: [{ id: 'sales', name: 'Sales', endpoints: [{ uri: `sip:agent@127.0.0.1:${agent}` }] }],
    ...changes,
  };
  writeFileSync(configPath, stringify(config));
  return { folder, configPath, cdrPath, sip, http, agent };
}

/** The certificate that HTTPS on this port shows, checked against the authority. */
function certificateOf(port: number, ca: string): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/healthz', ca, agent: false }, (response) => {
      const certificate = (response.socket as TLSSocket).getPeerCertificate();
      response.resume().once('end', () => resolve(certificate));
    }).once('error', reject);
  });
}

class Run {
  readonly child: ChildProcess;
  readonly setup: Setup;
  output = '';
  errors = '';
  code: number | null | undefined;
  readonly ended: Promise<number | null>;

  constructor(setup: Setup, command: string, args: readonly string[], env: Record<string, string>) {
    this.setup = setup;
    // A process group of its own, as a shell gives to what it runs on a terminal.
    this.child = spawn(command, args, {
      cwd: command === 'npm' ? ROOT : setup.folder,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    this.ended = once(this.child, 'close').then(([code]) => {
      this.code = code as number | null;
      return this.code;
    });
  }

  get log(): Record<string, unknown>[] {
    return this.output
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  said(message: string): Record<string, unknown>[] {
    return this.log.filter(({ msg }) => String(msg).startsWith(message));
  }

  /** Process id of the gateway, below npm or not. */
  get pid(): number {
    return Number(this.said('ready for calls')[0]?.pid);
  }

  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    await until(
      () => `${what}: ${this.output}${this.errors}`,
      () => {
        if (this.code !== undefined)
          throw new Error(`ended with ${this.code} before: ${what}: ${this.output}${this.errors}`);
        return condition();
      },
      20_000,
    );
  }

  async ready(): Promise<this> {
    await this.until('ready', () => this.said('ready for calls').length > 0);
    return this;
  }

  signalGroup(signal: NodeJS.Signals): void {
    process.kill(-(this.child.pid ?? 0), signal);
  }

  ask(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.setup.http}${path}`, {
      headers: { authorization: `Bearer ${API_TOKEN}` },
    });
  }

  records(): CallRecord[] {
    if (!existsSync(this.setup.cdrPath)) return [];
    const lines = readFileSync(this.setup.cdrPath, 'utf8').split('\n');
    return lines.slice(0, -1).map((line) => JSON.parse(line) as CallRecord);
  }
}

const runs: Run[] = [];
const phones: Sipp[] = [];
afterEach(async () => {
  for (const phone of phones.splice(0)) await phone.stop();
  for (const run of runs.splice(0)) {
    if (run.code === undefined) run.signalGroup('SIGKILL');
    await run.ended;
  }
});

interface StartOptions {
  readonly npm?: boolean;
  readonly args?: readonly string[];
  readonly env?: Record<string, string>;
  readonly nodeArguments?: readonly string[];
}

function start(setup: Setup, options: StartOptions = {}): Run {
  const args = options.args ?? ['--config', setup.configPath];
  const env = options.env ?? { TRUNKLINE_API_TOKEN: API_TOKEN };
  const run = options.npm
    ? new Run(setup, 'npm', ['start', '--', ...args], env)
    : new Run(
        setup,
        process.execPath,
        [...(options.nodeArguments ?? []), join(ROOT, 'dist/main.js'), ...args],
        env,
      );
  runs.push(run);
  return run;
}

/** A call that is answered and stays up until the caller hangs up after `pauseMs`. */
async function call(run: Run, pauseMs = 60_000): Promise<{ caller: Sipp; agent: Sipp }> {
  const { sip, agent: port } = run.setup;
  const agent = await Sipp.start({ scenario: 'uas/answered', port, pauseMs: 0 });
  const caller = await Sipp.start({ scenario: 'uac/answered', to: sip, service: NUMBER, pauseMs });
  phones.push(agent, caller);
  await run.until('the call is answered', async () => {
    const { items } = (await (await run.ask('/api/v1/calls?state=live')).json()) as { items: CallRecord[] };
    return items[0]?.state === 'answered';
  });
  return { caller, agent };
}

const alive = (pid: number): boolean => existsSync(`/proc/${pid}`);

describe('the process', () => {
  beforeAll(() => {
    const fault = inject('buildFault');
    if (fault !== '') throw new Error(fault);
  });

  it('says what it announces where that is not where it listens', async () => {
    const listen = [{ transport: 'udp', host: '127.0.0.1', port: 0, externalAddress: '203.0.113.7' }];
    const run = await start(await prepare({ sip: { listen } })).ready();
    expect(run.said('SIP listens on udp')[0]?.msg).toMatch(
      /^SIP listens on udp 127\.0\.0\.1:(\d+), announced as 203\.0\.113\.7:\1$/,
    );
  });

  it('says where it listens and which call to try, and is ready', async () => {
    const run = await start(await prepare()).ready();
    expect(run.said(`SIP listens on udp 127.0.0.1:${run.setup.sip}`)).toHaveLength(1);
    expect(run.said(`HTTP listens on http://127.0.0.1:${run.setup.http}`)).toHaveLength(1);
    await run.until('the call to try', () => run.said('and in another terminal').length === 1);
    expect(run.said('a first call')[0]?.msg).toContain(`-p ${run.setup.agent}`);
    expect((await run.ask('/readyz')).status).toBe(200);
    expect((await run.ask('/api/v1/calls')).status).toBe(200);
  });

  it('makes an API token at first start, shows it once and keeps it', async () => {
    const setup = await prepare();
    const environment = { TRUNKLINE_API_TOKEN: '' };
    const first = await start(setup, { env: environment }).ready();
    const path = join(setup.folder, 'data/api-token');
    const token = readFileSync(path, 'utf8').trim();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(first.errors).toContain(`API token: ${token}`);
    expect(first.output).not.toContain(token);
    const url = `http://127.0.0.1:${setup.http}/api/v1/calls`;
    expect((await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    const second = await start(setup, { env: environment }).ready();
    expect(second.output + second.errors).not.toContain(token);
    expect((await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status).toBe(200);
  });

  it('drains on SIGTERM to npm: the call goes on, new ones are refused, the record is kept', async () => {
    const run = await start(await prepare(), { npm: true }).ready();
    const { caller, agent } = await call(run, 7_000);
    const { pid } = run;
    run.child.kill('SIGTERM');
    await run.until('it drains', async () => (await run.ask('/readyz')).status === 503);
    const refused = await Sipp.start({ scenario: 'uac/answered', to: run.setup.sip, service: NUMBER });
    expect((await refused.result()).failed).toBe(1);
    expect(alive(pid)).toBe(true);
    await caller.succeed(1);
    await agent.succeed(1);
    expect(await run.ended).toBe(0);
    expect(alive(pid)).toBe(false);
    // Progress every five seconds, with the call's id.
    const [answered] = run.records().filter(({ answeredAt }) => answeredAt !== null);
    expect(answered?.code).toBe('normal_clearing');
    expect(run.records()).toContainEqual(expect.objectContaining({ code: 'draining', sipStatus: 503 }));
    expect(run.said('draining')).toContainEqual(
      expect.objectContaining({ msg: 'draining', calls: 1, ids: [answered?.id] }),
    );
  });

  it('takes the two SIGINTs that one Ctrl-C makes under npm as one, and a second Ctrl-C as an order', async () => {
    const run = await start(await prepare(), { npm: true }).ready();
    await call(run);
    const { pid } = run;
    run.signalGroup('SIGINT');
    await run.until('it drains', () => run.said('draining: new calls are refused').length === 1);
    await run.until(
      'progress is told, so that both signals have long arrived',
      () => run.said('draining').length >= 2,
    );
    expect(run.said('stopping at once')).toHaveLength(0);
    run.signalGroup('SIGINT');
    expect(await run.ended).toBe(130);
    expect(alive(pid)).toBe(false);
    expect(run.said('stopping at once')).toHaveLength(1);
    expect(run.records()).toMatchObject([{ code: 'shutdown', endedBy: 'gateway' }]);
  });

  it('ends live calls with BYE when the time to drain is over', async () => {
    const run = await start(await prepare({ drain: { timeoutSeconds: 1 } })).ready();
    const { agent } = await call(run);
    run.child.kill('SIGTERM');
    expect(await run.ended).toBe(0);
    expect((await agent.result()).successful).toBe(1);
    expect(run.records()).toMatchObject([{ code: 'shutdown', answeredAt: expect.any(String) }]);
  });

  it('reloads on SIGHUP and on a change of the file; a faulty one changes nothing; live calls stay', async () => {
    const run = await start(await prepare()).ready();
    await call(run);
    const { configPath } = run.setup;
    const config = parse(readFileSync(configPath, 'utf8'));
    const routes = async (number: string) => {
      const path = `/api/v1/routes/explain?to=${encodeURIComponent(number)}`;
      return ((await (await run.ask(path)).json()) as { decision: string }).decision;
    };
    expect(await routes('+14155550199')).toBe('refuse');

    config.phoneNumbers.push({
      phoneNumber: '+14155550199',
      credentialsId: 'carrier',
      inboundAgentId: 'sales',
    });
    writeFileSync(`${configPath}.new`, stringify(config));
    renameSync(`${configPath}.new`, configPath);
    await run.until('the change is seen', async () => (await routes('+14155550199')) === 'route');

    appendFileSync(configPath, 'nonsense: true\n');
    await run.until('the fault is told', () => run.said('the configuration was not reloaded').length === 1);
    expect(run.said('the configuration is faulty')[0]).toMatchObject({
      path: 'nonsense',
      line: expect.any(Number),
    });
    expect(await routes('+14155550199')).toBe('route');

    config.phoneNumbers.pop();
    config.http.port = 1;
    writeFileSync(configPath, stringify(config));
    run.child.kill('SIGHUP');
    await run.until('SIGHUP is obeyed', async () => (await routes('+14155550199')) === 'refuse');
    await run.until('what waits is told', () => run.said('these changes wait for a restart').length === 1);
    expect(run.said('these changes wait for a restart')[0]).toMatchObject({ settings: ['http.port'] });

    const { items } = (await (await run.ask('/api/v1/calls?state=live')).json()) as { items: CallRecord[] };
    expect(items).toMatchObject([{ state: 'answered' }]);
  });

  it('reopens the call records on SIGHUP', async () => {
    const run = await start(await prepare()).ready();
    const { cdrPath, sip } = run.setup;
    renameSync(cdrPath, `${cdrPath}.1`);
    run.child.kill('SIGHUP');
    await run.until('the new file is there', () => existsSync(cdrPath));
    const caller = await Sipp.start({ scenario: 'uac/unknown-number', to: sip, service: '+14155550111' });
    await caller.succeed(1);
    await run.until('the record is in the new file', () => run.records().length === 1);
    expect(readFileSync(`${cdrPath}.1`, 'utf8')).toBe('');
  });

  it('says what is wrong with the file and exits with 1, checked or run', async () => {
    const setup = await prepare({ sipCredentials: [{ id: 'carrier' }], nonsense: 1 });
    for (const args of [['--check'], []]) {
      const run = start(setup, { npm: true, args: ['--config', setup.configPath, ...args] });
      expect(await run.ended).toBe(1);
      expect(run.errors).toContain('sipCredentials[0].server');
      expect(run.errors).toContain('nonsense');
    }
    const sound = await prepare();
    const run = start(sound, { npm: true, args: ['--config', sound.configPath, '--check'] });
    expect(await run.ended).toBe(0);
    expect(run.output).toContain('is sound: trunks 1, numbers 1, agents 1');
    expect(run.output).not.toContain('warning');
  });

  it('does not listen for HTTP beyond loopback unless told that this is meant', async () => {
    const [http = 0] = await freePorts(1);
    const run = start(await prepare({ http: { host: '0.0.0.0', port: http } }));
    expect(await run.ended).toBe(1);
    expect(run.errors).toContain('http.host is not a loopback address');
    const meant = start(await prepare({ http: { host: '0.0.0.0', port: http, insecure: true } }));
    await meant.ready();
  });

  it('speaks HTTPS beyond loopback, and takes a new certificate on SIGHUP', async () => {
    const [http = 0] = await freePorts(1);
    const authority = createAuthority();
    const tls = authority.issue('gateway', ['IP:127.0.0.1']);
    const run = start(await prepare({ http: { host: '0.0.0.0', port: http, tls } }));
    await until('HTTPS is spoken', () => run.output.includes(`HTTP listens on https://`));
    const first = await certificateOf(http, authority.ca);
    expect(first.subject.CN).toBe('gateway');
    const next = authority.issue('renewed', ['IP:127.0.0.1']);
    copyFileSync(next.certFile, tls.certFile);
    copyFileSync(next.keyFile, tls.keyFile);
    run.child.kill('SIGHUP');
    await until(
      'the new certificate is shown',
      async () => (await certificateOf(http, authority.ca)).subject.CN === 'renewed',
    );
    await expect(fetch(`http://127.0.0.1:${http}/healthz`)).rejects.toThrow();
  });

  it('exits with 2 and the usage on arguments it does not know', async () => {
    const run = start(await prepare(), { npm: true, args: ['--cofnig'] });
    expect(await run.ended).toBe(2);
    expect(run.errors).toContain('--cofnig');
    expect(run.errors).toContain('Usage:');
  });

  it('names the listener that it cannot bind, and leaves nothing bound', async () => {
    const setup = await prepare();
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(setup.http, '127.0.0.1', resolve));
    const run = start(setup);
    expect(await run.ended).toBe(1);
    expect(run.errors).toContain(`127.0.0.1:${setup.http} (EADDRINUSE)`);
    await new Promise((resolve) => blocker.close(resolve));

    const first = await start(setup).ready();
    const second = start({
      ...(await prepare({ sip: { listen: [{ transport: 'udp', host: '127.0.0.1', port: setup.sip }] } })),
    });
    expect(await second.ended).toBe(1);
    expect(second.errors).toContain(`udp`);
    expect(second.errors).toContain(String(setup.sip));
    expect(first.code).toBeUndefined();
  });

  it.each([
    ['rejection', 'Promise.reject(new Error("planted"))'],
    ['exception', 'setImmediate(() => { throw new Error("planted"); })'],
  ])('logs an unhandled %s, keeps the records and exits with 1', async (_what, failure) => {
    const code = `data:text/javascript,process.on("SIGUSR2", () => { ${failure} })`;
    const run = await start(await prepare(), { nodeArguments: ['--import', code] }).ready();
    const caller = await Sipp.start({
      scenario: 'uac/unknown-number',
      to: run.setup.sip,
      service: '+14155550111',
    });
    await caller.succeed(1);
    run.child.kill('SIGUSR2');
    expect(await run.ended).toBe(1);
    expect(run.said('the gateway failed')[0]).toMatchObject({ err: { message: 'planted' } });
    expect(run.records()).toHaveLength(1);
  });
});
