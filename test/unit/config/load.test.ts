import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatFaults } from '#config/faults.js';
import { type Loaded, loadConfig, parseConfig } from '#config/load.js';
import { DEFAULT_LIMITS } from '#engine/embedded/limits.js';
import { DEFAULT_TIMERS } from '#sip/timers.js';
import { type Authority, createAuthority } from '../../kit/certificates.js';

let directory: string;
let authority: Authority;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'trunkline-config-'));
  writeFileSync(join(directory, 'password'), 'from-a-file\n');
  writeFileSync(join(directory, 'cert.pem'), '-----BEGIN CERTIFICATE-----\n');
  writeFileSync(join(directory, 'not.pem'), 'hello');
  authority = createAuthority();
});

afterAll(() => rmSync(directory, { recursive: true }));

function parse(text: string, environment: Record<string, string> = {}): Loaded {
  return parseConfig(join(directory, 'trunkline.yaml'), text, { environment });
}

function sound(text: string, environment: Record<string, string> = {}) {
  const loaded = parse(text, environment);
  if (loaded.kind === 'faults') throw new Error(formatFaults(loaded.faults));
  return loaded;
}

/** `line path message | hint` */
function faults(text: string, environment: Record<string, string> = {}): string[] {
  const loaded = parse(text, environment);
  if (loaded.kind === 'config') throw new Error('no fault');
  return loaded.faults.map(({ line, path, message, hint }) => `${line} ${path} ${message} | ${hint}`);
}

const trunk = (more: string) => `sipCredentials:\n  - id: a\n    server: 192.0.2.1\n    authUser: u\n${more}`;

describe('defaults', () => {
  it('are a whole configuration', () => {
    const { config, snapshot } = sound('');
    expect(config.sip.listen.map(({ transport, port }) => `${transport} ${port}`)).toEqual([
      'udp 5060',
      'tcp 5060',
    ]);
    expect(config).toMatchObject({
      sip: { engine: 'embedded', unknownSources: 'reject', udpToTcpBytes: 1_300, externalAddress: null },
      http: { host: '127.0.0.1', port: 8_080 },
      store: { kind: 'sqlite' },
      redis: { url: null },
      pacing: { whenRedisIsDown: 'hold' },
      calls: { failoverStatuses: [408, 500, 502, 503, 504], maxForwards: 70 },
    });
    expect(snapshot).toMatchObject({ version: 1, trunkCount: 0 });
  });

  it('of bounds and timers are those of the engine', () => {
    const { config } = sound('');
    expect(config.sip.limits).toEqual(DEFAULT_LIMITS);
    expect(config.sip.timers).toEqual(DEFAULT_TIMERS);
  });

  it('stand for sections left empty or out', () => {
    expect(sound('http:\nsip:\n  listen:\nagents:\n').config).toEqual(sound('').config);
    expect(sound('# nothing\n').config).toEqual(sound('').config);
  });

  it('of ports follow the transport', () => {
    const { certFile, keyFile } = authority.issue('gateway', ['DNS:localhost']);
    const { config } = sound(
      `sip: { listen: [{ transport: tls, host: "::1", certFile: ${certFile}, keyFile: ${keyFile} }, { transport: tcp, host: 127.0.0.1 }] }`,
    );
    expect(config.sip.listen.map(({ port }) => port)).toEqual([5_061, 5_060]);
  });
});

describe('the example of the contract', () => {
  it('loads', () => {
    const { snapshot } = sound(
      `
sipCredentials:
  - { id: carrier-a, server: "127.0.0.1:5080", transport: udp, authUser: acme, authPassword: "\${CARRIER_A_PASSWORD}",
      allowedAddresses: [127.0.0.1], cpsLimit: 10, cpsKey: carrier-a }
phoneNumbers:
  - { phoneNumber: "+14155550100", credentialsId: carrier-a, inboundAgentId: sales, registration: true, displayName: "Acme" }
agents:
  - { id: sales, name: Sales, endpoints: [{ uri: "sip:sales@127.0.0.1:5090", priority: 1, weight: 1 }], outboundNumberId: "+14155550100" }
`,
      { CARRIER_A_PASSWORD: 'pw' },
    );
    expect(snapshot.trunk('carrier-a')).toMatchObject({
      server: { host: '127.0.0.1', port: 5_080 },
      source: 'config',
    });
    expect(snapshot.trunk('carrier-a')?.authPassword?.reveal()).toBe('pw');
    expect(snapshot.agent('sales')?.outboundNumberId).toBe('+14155550100');
  });
});

describe('substitution', () => {
  it('takes environment variables and files, also inside text', () => {
    const { snapshot } = sound(
      trunk('    authPassword: ${file:password}\n    description: "at ${CITY}, ${CITY} $${CITY}"'),
      { CITY: 'Graz' },
    );
    expect(snapshot.trunk('a')?.authPassword?.reveal()).toBe('from-a-file');
    expect(snapshot.trunk('a')?.description).toBe('at Graz, Graz ${CITY}');
  });

  it('reads numbers and booleans where they are expected', () => {
    const { config, snapshot } = sound(
      'http: { port: "${PORT}" }\nlog: { calls: "${CALLS}" }\nsipCredentials: [{ id: a, server: a.test, authUser: "${DIGITS}", cpsLimit: "${CPS}" }]',
      { PORT: '8081', CALLS: 'false', DIGITS: '12345', CPS: '0.5' },
    );
    expect(config.http.port).toBe(8_081);
    expect(config.log.calls).toBe(false);
    expect(snapshot.trunk('a')).toMatchObject({ authUser: '12345', cpsLimit: 0.5 });
  });

  it('does not read text that was written as such as a number', () => {
    expect(faults('http: { port: "8081" }')).toEqual([
      '1 http.port must be a number, not text | Port; 0 takes a free one.',
    ]);
  });

  it('tells what is missing, along with all else', () => {
    expect(
      faults(
        `${trunk('    authPassword: ${NOPE}')}\n    description: \${file:nope}\n    headers: { X: "\${a-b}" }\n    cpsLimit: x`,
      ),
    ).toEqual([
      '5 sipCredentials[0].authPassword needs the environment variable NOPE | set NOPE, or write the value out',
      `6 sipCredentials[0].description cannot read the file ${join(directory, 'nope')}: there is no such file | PATH is relative to the config file`,
      '7 sipCredentials[0].headers.X has a reference that is neither ${ENV_NAME} nor ${file:PATH} | write $${ for a plain ${',
      expect.stringMatching(/^8 sipCredentials\[0\]\.cpsLimit must be a number, not text/),
    ]);
  });

  it('never shows what it brought in', () => {
    const told = faults(
      'sip: { externalAddress: "${PW} x" }\nsipCredentials: [{ id: "${PW} !", server: "${PW}@x", country: "${PW}" }]\n' +
        'phoneNumbers: [{ phoneNumber: "+1", credentialsId: "${PW}" }]',
      { PW: 'hunter2' },
    ).join('\n');
    expect(told).toContain('phoneNumbers[0].credentialsId names no trunk: ${PW}');
    expect(told).not.toContain('hunter2');
  });
});

describe('faults', () => {
  it('are told all at once, each with its line', () => {
    const told = faults(`sip:
  engin: embedded
  listen:
    - { transport: upd, host: 127.0.0.1, port: 5060 }
    - { transport: udp, host: localhost, port: 99999 }
sipCredentials:
  - id: carrier-a
    server: sip:127.0.0.1
    allowedAdresses: [127.0.0.1]
  - { id: carrier-b, server: b.test }
phoneNumbers:
  - { phoneNumber: +14155550100, credentialsId: carrier-a }
  - { phoneNumber: "+14155550101", credentialsId: carrier-a, inboundAgentId: slaes }
  - { phoneNumber: "+14155550102", credentialsId: carrier-c }
agents:
  - { id: sales, endpoints: [{ uri: "sales@host" }] }
  - { id: support, outboundNumberId: "+14155550100" }
`);
    expect(told.map((line) => line.split(' | ')[0])).toEqual([
      '2 sip.engin is not a setting',
      '4 sip.listen[0].transport must be one of udp, tcp, tls',
      '5 sip.listen[1].host must be an IP address',
      '5 sip.listen[1].port must be at most 65535',
      '8 sipCredentials[0].server must not have a scheme: write host or host:port',
      '9 sipCredentials[0].allowedAdresses is not a setting',
      '12 phoneNumbers[0].phoneNumber must be text, not a number',
      '13 phoneNumbers[1].inboundAgentId names no agent: slaes',
      '14 phoneNumbers[2].credentialsId names no trunk: carrier-c',
      '16 agents[0].endpoints[0].uri is not a SIP URI such as sip:sales@192.0.2.10:5060',
    ]);
    expect(told[0]).toContain('did you mean engine?');
    expect(told[5]).toContain('did you mean allowedAddresses?');
    expect(told[6]).toContain('put it in quotes');
    expect(told[7]).toContain('did you mean sales?');
  });

  it.each([
    ['sip: [', /^\d+ {2}is not YAML/],
    ['a: 1\na: 2', /^2 {2}is not YAML: Map keys must be unique/],
    ['- 1', /^1 {2}must be a section with settings, not a list/],
    ['sipp: {}', /^1 sipp is not a setting \| did you mean sip\?/],
    ['quux: {}', /^1 quux is not a setting \| known here: sip, http/],
    ['__proto__: { x: 1 }', /^1 __proto__ is not a setting/],
    ['http: { port: 1.5 }', /^1 http\.port/],
    ['http: { port: null }', /^1 http\.port must be a number, not empty \| .*Leave the line out/],
    ['sip: &x { engine: embedded }\nhttp: *x', /^2 http is an alias/],
    ['sip: { engine: drachtio }', /^1 sip\.drachtio is needed for engine drachtio/],
    ['store: { kind: redis }', /redis\.url is needed for store redis/],
    ['redis: { url: "http://x" }', /^1 redis\.url must be redis:/],
    ['sip: { listen: [] }', /^1 sip\.listen must not be empty/],
    ['sip: { listen: [{ transport: tls, host: "::" }] }', /certFile is needed for transport tls/],
    ['sip: { listen: [{ transport: udp, host: "::", certFile: /x }] }', /certFile is for transport tls only/],
    [
      'sip: { listen: [{ transport: tcp, host: "::" }, { transport: tcp, host: "::", port: 5060 }] }',
      /^1 sip\.listen\[1\]\.port is taken by a listener above/,
    ],
    ['http: { host: 0.0.0.0 }', /^1 http\.host is not a loopback address/],
    ['cdr: { path: /dev/null/cdr.jsonl }', /^1 cdr\.path cannot be written/],
    ['calls: { failoverStatuses: [486] }', /^1 calls\.failoverStatuses\[0\] is an answer for the caller/],
  ])('%j', (text, expected) => {
    expect(faults(text).join('\n')).toMatch(new RegExp(expected.source, 'm'));
  });

  it('say when a certificate is missing or is none', () => {
    const told = faults(
      `sip:\n  listen:\n    - transport: tls\n      host: 127.0.0.1\n      certFile: /nowhere/cert.pem\n      keyFile: ${join(directory, 'not.pem')}`,
    );
    expect(told).toEqual([
      '5 sip.listen[0].certFile cannot be read: /nowhere/cert.pem: there is no such file | check the path and who may read it',
      `6 sip.listen[0].keyFile is not a PEM file: ${join(directory, 'not.pem')} | it must hold a block that begins with -----BEGIN`,
    ]);
  });

  it('say when a key is not that of the certificate, or neither can be read', () => {
    const one = authority.issue('one', ['DNS:one']);
    const two = authority.issue('two', ['DNS:two']);
    const broken = join(directory, 'cert.pem');
    const listen = (certFile: string, keyFile: string) =>
      `sip:\n  listen:\n    - transport: tls\n      host: 127.0.0.1\n      certFile: ${certFile}\n      keyFile: ${keyFile}`;
    sound(listen(one.certFile, one.keyFile));
    expect(faults(listen(one.certFile, two.keyFile))).toEqual([
      '6 sip.listen[0].keyFile is not the key of the certificate in certFile | name the files of one pair',
    ]);
    expect(faults(listen(broken, one.keyFile)).join()).toMatch(
      /^5 sip\.listen\[0\]\.certFile cannot be used with keyFile: /,
    );
    expect(faults(`http: { tls: { certFile: ${one.certFile}, keyFile: ${two.keyFile} } }`).join()).toMatch(
      /^1 http\.tls\.keyFile is not the key/,
    );
  });

  it('do not quote the file where it is no YAML', () => {
    expect(faults('sip: { listen: } hunter2 }').join('\n')).not.toContain('hunter2');
  });

  it('say when the file is missing', () => {
    const loaded = loadConfig(join(directory, 'missing.yaml'), { environment: {} });
    expect(loaded).toMatchObject({
      kind: 'faults',
      faults: [{ message: 'cannot be read: there is no such file' }],
    });
  });

  it('are printed as compilers print them', () => {
    const text = formatFaults([
      {
        file: 'a.yaml',
        path: 'sip.engin',
        line: 2,
        message: 'is not a setting',
        hint: 'did you mean engine?',
      },
      { file: 'a.yaml', path: '', line: undefined, message: 'cannot be read', hint: undefined },
    ]);
    expect(text).toBe(
      'a.yaml:2: sip.engin is not a setting\n    did you mean engine?\na.yaml: cannot be read\n2 faults; nothing was changed.\n',
    );
  });
});

describe('a token', () => {
  it('comes from the file, else from the environment', () => {
    const environment = { TRUNKLINE_API_TOKEN: 'env' };
    expect(sound('', environment).config.http.token?.reveal()).toBe('env');
    expect(sound('http: { token: mine }', environment).config.http.token?.reveal()).toBe('mine');
    expect(sound('').config.http.token).toBeUndefined();
  });
});

describe('header fields to relay', () => {
  it('of all trunks are part of each', () => {
    const { snapshot } = sound(`calls: { relayHeaders: [P-A] }\n${trunk('    relayHeaders: [P-B-*]')}`);
    expect(snapshot.trunk('a')?.relayHeaders).toEqual(['P-A', 'P-B-*']);
  });

  it('go for the accounts of agents, too', () => {
    const { snapshot } = sound(
      'calls: { relayHeaders: [P-A] }\nagents:\n  - { id: b, sipRegistration: { domain: pbx.example, username: "1", password: p } }',
    );
    expect(snapshot.account('b')?.trunk.relayHeaders).toEqual(['P-A']);
  });
});

describe('organisations', () => {
  const rival = '  - { id: b, server: b.example, organizationId: rival }\n';

  it('are compiled with their bounds', () => {
    const { snapshot } = sound(
      'organizations:\n  - { id: default, limits: { callsPerDay: 5, destinations: { allow: ["+1"] } } }',
    );
    expect(snapshot.organization('default').limits).toMatchObject({
      callsPerDay: 5,
      destinations: { allow: ['+1'], deny: [] },
    });
  });

  it('need no description, and keep to what is theirs', () => {
    expect(
      faults(`sipCredentials:\n${rival}phoneNumbers:\n  - { phoneNumber: "+1", credentialsId: b }`),
    ).toEqual(['4 phoneNumbers[0].credentialsId names no trunk: b | undefined']);
  });

  it('of a faulty trunk still count for what refers to it', () => {
    const text =
      'sipCredentials:\n  - { id: b, server: "sip:x", organizationId: rival }\n' +
      'phoneNumbers:\n  - { phoneNumber: "+1", credentialsId: b, organizationId: rival }';
    expect(faults(text)).toHaveLength(1);
  });
});

describe('warnings', () => {
  it('name trunks of one key whose limits differ, and nothing else', () => {
    const trunks = (limit: number) =>
      `sipCredentials:\n  - { id: a, server: a.example, cpsKey: k, cpsLimit: 5 }\n  - { id: b, server: b.example, cpsKey: k, cpsLimit: ${limit} }`;
    expect(sound(trunks(2)).warnings).toEqual([
      'trunks with cpsKey k have different limits (a 5, b 2): the smallest, 2, counts for all',
    ]);
    expect(sound(trunks(5)).warnings).toEqual([]);
  });
});
