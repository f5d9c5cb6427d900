/** Two organisations behind one carrier, through the real process: each gets the calls for its own numbers, and no others. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { API_TOKEN, Gateway } from '../kit/gateway.js';
import { temporaryFolder, until } from '../kit/processes.js';
import { Sipp } from '../kit/sipp.js';

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function phone(options: Parameters<typeof Sipp.start>[0]): Promise<Sipp> {
  const sipp = await Sipp.start(options);
  closing.push(() => sipp.stop());
  return sipp;
}

test('the number says whose call it is, not the narrower block', async () => {
  const folder = temporaryFolder('organizations');
  const ports: Record<string, number> = {};
  for (const name of ['ours', 'theirs']) {
    const spare = await phone({ scenario: 'uas/answered', pauseMs: 0 });
    ports[name] = spare.port;
    await spare.stop();
  }
  const gateway = await Gateway.start({
    config: {
      store: { path: join(folder, 'trunkline.db'), secretKeyFile: join(folder, 'secret-key') },
      sipCredentials: [
        { id: 'secret-carrier', server: '127.0.0.1:5080', allowedAddresses: ['127.0.0.0/29'] },
      ],
      phoneNumbers: [
        {
          id: 'secret-number',
          phoneNumber: '+14155550100',
          credentialsId: 'secret-carrier',
          inboundAgentId: 'sales',
        },
      ],
      agents: [{ id: 'sales', endpoints: [{ uri: `sip:agent@127.0.0.1:${ports.ours}` }] }],
    },
  });
  closing.push(() => gateway.stop());
  const api = `http://127.0.0.1:${gateway.httpPort}/api/v1`;
  const ask = async (path: string, body: object, token = API_TOKEN) => {
    const response = await fetch(`${api}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, text, body: JSON.parse(text) as Record<string, string> };
  };
  const made = async (path: string, body: object, token?: string) => {
    const answer = await ask(path, body, token);
    expect(answer.status, answer.text).toBe(201);
    return answer.body;
  };
  await made('/organizations', { id: 'b' });
  const token = (await made('/tokens?organizationId=b', { name: 't', scopes: ['read', 'write'] })).token!;
  const trunk = await made(
    '/sip-credentials',
    { server: 'sip.carrier.example', allowedAddresses: ['127.0.0.2'] },
    token,
  );
  const agent = await made(
    '/agents',
    { name: 'Theirs', endpoints: [{ uri: `sip:agent@127.0.0.1:${ports.theirs}` }] },
    token,
  );
  const wanted = { credentialsId: trunk.id, inboundAgentId: agent.id };
  const refused = await ask('/phone-numbers', { ...wanted, phoneNumber: '+14155550100' }, token);
  expect([refused.status, refused.body.code]).toEqual([409, 'conflict']);
  expect(refused.text).not.toMatch(/secret|127\.0\.0\.0/);
  await made('/phone-numbers', { ...wanted, phoneNumber: '+442079460000' }, token);

  const reaches = async (service: string, name: string): Promise<void> => {
    const answering = await phone({ scenario: 'uas/answered', port: ports[name]!, pauseMs: 0 });
    const caller = await phone({
      scenario: 'uac/answered',
      to: gateway.port,
      service,
      address: '127.0.0.2',
      pauseMs: 0,
    });
    await caller.succeed(1);
    await answering.succeed(1);
  };
  await reaches('+14155550100', 'ours');
  await reaches('+442079460000', 'theirs');

  // The file wins: what it says of a number that the store gave to another is in force after a reload.
  const config = parse(readFileSync(gateway.configPath, 'utf8')) as { phoneNumbers: object[] };
  config.phoneNumbers.push({
    phoneNumber: '+442079460000',
    credentialsId: 'secret-carrier',
    inboundAgentId: 'sales',
  });
  writeFileSync(gateway.configPath, stringify(config));
  await until('it is reloaded', () => gateway.program.stdout.includes('the configuration was reloaded'));
  await reaches('+442079460000', 'ours');
});
