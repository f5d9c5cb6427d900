/** A gateway that listens to UDP alone: trunks over TCP and TLS register, and are called, by connections of its own. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuthority } from '../kit/certificates.js';
import { KamailioRegistrar } from '../kit/kamailio-registrar.js';
import { freePort } from '../kit/ports.js';
import { Registrations } from '../kit/registrations.js';
import { Sipp } from '../kit/sipp.js';
import { QUICK } from './quick.js';

const authority = createAuthority();
let registrar: KamailioRegistrar;
let udpPort = 0;

const open = () =>
  Registrations.open(
    {
      tcp: { port: registrar.port, transport: 'tcp' },
      tls: {
        host: 'localhost',
        port: registrar.tlsPort,
        transport: 'tls',
        trunk: { tls: { ca: authority.ca } },
      },
    },
    {
      config: {
        ...QUICK,
        sip: { ...QUICK.sip, listen: [{ transport: 'udp', host: '127.0.0.1', port: udpPort }] },
      },
    },
  );
let lines: Awaited<ReturnType<typeof open>>;

beforeAll(async () => {
  udpPort = await freePort();
  registrar = await KamailioRegistrar.start({
    users: { tcp: 'secret', tls: 'secret' },
    tls: { certificate: authority.issue('registrar', ['DNS:localhost']) },
  });
  lines = await open();
});

afterAll(async () => {
  await lines.close();
  await registrar.stop();
});

test.each(['tcp', 'tls'] as const)('%s without a listener of ours: registers and is called', async (name) => {
  const binding = await registrar.bound(name);
  expect(binding.contact).toContain(`@127.0.0.1:${udpPort};transport=${name}`);
  expect(await lines.registered(name)).toMatchObject({ lastVerdict: { code: 'ok' } });
  const { agentPort } = lines.accounts[name];
  const agent = await Sipp.start({ scenario: 'uas/answered', port: agentPort });
  const caller = await Sipp.start({ scenario: 'uac/answered', to: registrar.port, service: name });
  await Promise.all([caller.succeed(1), agent.succeed(1)]);
  const [record] = await lines.gateway.waitForRecords(1, ({ callId }) => callId.endsWith(caller.callIdEnd));
  expect(record).toMatchObject({ trunkId: name, sipStatus: 200, transport: name });
});
