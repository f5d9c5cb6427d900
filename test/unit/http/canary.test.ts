/** Marked secrets go in by every door of the API and come out by none: answers, log, database. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#lib/wheel.js';
import { createLog, type Log } from '#observe/log.js';
import { type Api, apiOn } from '../../kit/api.js';
import { ADMINISTRATOR, type Answer, type Asking } from '../../kit/ask.js';
import { sqlitePlace } from '../../kit/editor.js';

const MARK = 'c4n4ry';
const secret = (name: string): string => `${MARK}-${name}-of-some-length`;

const place = sqlitePlace();
const logPath = join(dirname(place.path), 'log.jsonl');
let log: Log;
let api: Api;
const answers: Answer[] = [];
const ask = async (path: string, how?: Asking): Promise<Answer> => {
  const answer = await api.ask(path, how);
  answers.push(answer);
  return answer;
};

beforeAll(async () => {
  log = createLog({ level: 'debug', format: 'json', clock: systemClock(), to: logPath });
  api = await apiOn(await place.open(), {
    log: log.logger,
    config: {
      sipCredentials: [
        { id: 'fixed', server: 'sip.fixed.example', authUser: 'f', authPassword: secret('config') },
      ],
    },
  });
});
afterAll(async () => {
  await log.close();
  place.remove();
});

describe('secrets', () => {
  it('go in by every door', async () => {
    const trunk = { server: 'sip.a.example', authUser: 'a', authPassword: secret('trunk') };
    const tls = { clientCert: 'CERT', clientKey: secret('key') };
    const made = await ask('/sip-credentials', {
      method: 'POST',
      body: { ...trunk, tls },
      headers: { 'idempotency-key': 'canary' },
    });
    expect(made.status).toBe(201);
    const { id } = made.body;
    const inboundAuth = { username: 'pbx', password: secret('trunk-inbound') };
    const opened = await ask(`/sip-credentials/${id}`, { method: 'PATCH', body: { inboundAuth } });
    expect(opened.body.inboundAuth).toEqual({ username: 'pbx', hasPassword: true });
    await ask(`/sip-credentials/${id}`, { method: 'PATCH', body: { authPassword: secret('patched') } });
    const sipTrunk = { name: 'T', host: 'sip.b.example', username: 'b', password: secret('sip-trunk') };
    expect((await ask('/sip-trunks', { method: 'POST', body: sipTrunk })).status).toBe(201);
    const agent = await ask('/agents', {
      method: 'POST',
      body: { name: 'A', inboundAuth: { username: 'u', password: secret('inbound') } },
    });
    expect(agent.body.inboundAuth).toEqual({ username: 'u', hasPassword: true });
    const account = { domain: 'pbx.example', username: '1', password: secret('registration') };
    const path = `/agents/${agent.body.id}/sip-registration`;
    expect((await ask(path, { method: 'PUT', body: account })).status).toBe(200);
    for (const shown of [
      '/sip-credentials',
      `/sip-credentials/${id}`,
      '/sip-credentials/fixed',
      '/sip-trunks',
      '/agents',
      `/agents/${agent.body.id}`,
      path,
      '/audit',
      '/openapi.json',
    ]) {
      expect((await ask(shown)).status, shown).toBe(200);
    }
  });

  it.each([
    ['/sip-credentials', { authPassword: [secret('list')], server: 1 }],
    ['/sip-credentials', { server: 'x', authPassword: secret('no-user') }],
    ['/sip-credentials', { server: 'x', authPasswrod: secret('misspelt') }],
    ['/sip-credentials', { server: 'x', transport: secret('wrong-field') }],
    ['/sip-credentials', { server: 'x', tls: { clientKey: secret('lonely-key') } }],
    ['/sip-credentials', { server: 'x', inboundAuth: secret('no-object') }],
    ['/sip-credentials', { server: 'x', inboundAuth: { password: secret('no-username') } }],
    ['/sip-trunks', { password: { text: secret('object') } }],
    ['/agents', { inboundAuth: secret('no-object') }],
    ['/phone-numbers', { phoneNumber: '+1', credentialsId: secret('id') }],
  ] as const)('stay inside when the body is faulty: %s %j', async (path, body) => {
    const refused = await ask(path, {
      method: 'POST',
      body,
      headers: { 'idempotency-key': JSON.stringify(body).replaceAll(' ', '') },
    });
    expect(refused.status).toBe(400);
  });

  it('stay inside when the body is no JSON, or the token is wrong', async () => {
    const response = await fetch(`${api.url}/api/v1/sip-credentials`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMINISTRATOR}`, 'content-type': 'application/json' },
      body: `{"authPassword": "${secret('broken')}", `,
    });
    expect(response.status).toBe(400);
    expect(await response.text()).not.toContain(MARK);
    expect((await ask('/agents', { token: secret('token') })).status).toBe(401);
  });

  it('a made token is shown once, and kept as a hash', async () => {
    const { body } = await api.ask('/tokens', { method: 'POST', body: { name: 'x', scopes: ['read'] } });
    const kept = String(body.token).split('_').at(-1)!;
    expect((await ask('/tokens')).text).not.toContain(kept);
    expect((await ask(`/tokens/${body.id}`)).text).not.toContain(kept);
    expect((await ask('/agents', { token: body.token })).status).toBe(200);
    expect(written()).not.toContain(kept);
  });

  it('come out nowhere', async () => {
    expect(answers.length).toBeGreaterThan(20);
    // A reference to nothing is told back, since it is a name; that one is the only mark that may be.
    for (const { text } of answers) {
      const others = text.replaceAll(secret('id'), '');
      expect(others).not.toContain(MARK);
    }
    log.flushSync();
    expect(written().replaceAll(secret('id'), '')).not.toContain(MARK);
    await api.close();
    expect(written().replaceAll(secret('id'), '')).not.toContain(MARK);
  });
});

/** Everything in the folder: the database with its journal, and the log. */
function written(): string {
  const folder = dirname(place.path);
  return readdirSync(folder)
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .join('\n');
}
