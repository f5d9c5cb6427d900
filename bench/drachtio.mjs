/** The gateway on a drachtio-server, beside the embedded engine. Its CPU time is that of both processes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, HOST, isBound, Program, temporaryFolder } from './machine.mjs';
import { NUMBER, runGateway } from './subjects.mjs';

const SECRET = 'trunkline-bench';

/** Why it cannot be measured here, or null. */
export function missingServer() {
  return process.env.TRUNKLINE_DRACHTIO_BINARY
    ? null
    : 'TRUNKLINE_DRACHTIO_BINARY does not name a drachtio-server';
}

/**
 * @param {import('./subjects.mjs').StartOptions} options
 * @returns {Promise<import('./subjects.mjs').Subject>}
 */
export async function startOnDrachtio(options) {
  const folder = temporaryFolder('drachtio');
  const [port, agentPort, httpPort, adminPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const { transport } = options;
  const configPath = join(folder, 'drachtio.conf.xml');
  writeFileSync(
    configPath,
    `<drachtio><admin port="${adminPort}" secret="${SECRET}">${HOST}</admin>
<sip><contacts><contact>sip:${HOST}:${port};transport=udp,tcp</contact></contacts></sip>
<logging><console/><loglevel>error</loglevel></logging></drachtio>\n`,
  );
  const server = new Program(process.env.TRUNKLINE_DRACHTIO_BINARY ?? '', ['-f', configPath], { folder });
  await server.until('waited for its port', () => isBound('udp', port));
  const config = {
    sip: { engine: 'drachtio', drachtio: { host: HOST, port: adminPort, secret: SECRET } },
    http: { host: HOST, port: httpPort },
    sipCredentials: [{ id: 'carrier', server: `${HOST}:5080`, transport, allowedAddresses: [`${HOST}/32`] }],
    phoneNumbers: [{ phoneNumber: NUMBER, credentialsId: 'carrier', inboundAgentId: 'agent' }],
    agents: [
      {
        id: 'agent',
        name: 'Agent',
        endpoints: [{ uri: `sip:agent@${HOST}:${agentPort};transport=${transport}` }],
      },
    ],
  };
  const program = await runGateway({ folder, httpPort, config, options });
  void program.exited.then(() => server.stop('SIGKILL'));
  return { name: 'on drachtio-server', port, agentPort, program, folder, server };
}
