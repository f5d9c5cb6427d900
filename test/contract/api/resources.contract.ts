/** What the management API promises of its resources, whatever store lies below. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '#directory/store.js';
import { type Api, apiOn } from '../../kit/api.js';
import { faultyFields, itemsOf, type Made, madeBy } from '../../kit/ask.js';

const PASSWORD = 'c4nary-password';

export interface StorePlace {
  open(): Promise<Store>;
  remove(): Promise<void>;
}

export function resourcesContract(name: string, prepare: () => Promise<StorePlace>): void {
  describe(`the API over ${name}`, () => {
    let place: StorePlace;
    let api: Api;
    let count = 0;
    /** Numbers differ, since all tests share one directory. */
    const freshNumber = () => `+1415555${String(1000 + count++)}`;
    const make = async (path: string, body: unknown): Promise<Made> =>
      madeBy(await api.ask(path, { method: 'POST', body }));
    const trunk = (more: object = {}) =>
      make('/sip-credentials', { server: 'sip.provider.example', ...more });

    beforeAll(async () => {
      place = await prepare();
      api = await apiOn(await place.open(), {
        config: {
          sipCredentials: [{ id: 'fixed', server: 'sip.fixed.example' }],
          phoneNumbers: [{ phoneNumber: '+442079460000', credentialsId: 'fixed', inboundAgentId: 'desk' }],
          agents: [{ id: 'desk' }],
        },
      });
    });
    afterAll(async () => {
      await api.close();
      await place.remove();
    });

    describe.each([
      {
        path: '/sip-credentials',
        body: () => ({ server: 'sip.a.example:5070', description: 'first' }),
        patch: { description: 'second', transport: 'tls' },
        read: { description: 'second', transport: 'tls', server: 'sip.a.example:5070' },
        unset: { description: null, transport: 'udp' },
        other: { description: 'another' },
        config: 'fixed',
      },
      {
        path: '/agents',
        body: () => ({ name: 'Sales', endpoints: [{ uri: 'sip:sales@127.0.0.1:5090' }] }),
        patch: { name: 'Support', enabled: false },
        read: { name: 'Support', enabled: false, platform: 'sip' },
        unset: { enabled: true },
        other: { name: 'another' },
        config: 'desk',
      },
      {
        path: '/phone-numbers',
        body: () => ({ phoneNumber: freshNumber(), credentialsId: 'fixed', description: 'line' }),
        patch: { description: 'changed', displayName: 'Acme' },
        read: { description: 'changed', displayName: 'Acme', credentialsId: 'fixed' },
        unset: { displayName: null },
        other: { description: 'another' },
        config: '+442079460000',
      },
    ])('$path', ({ path, body, patch, read, unset, other, config }) => {
      it('creates, reads, changes and removes, in force at once', async () => {
        const made = await api.ask(path, { method: 'POST', body: body() });
        expect(made.status).toBe(201);
        const { id } = made.body as { id: string };
        expect(made.headers.get('location')).toBe(`/api/v1${path}/${id}`);
        expect(made.body).toMatchObject({ source: 'manual', createdAt: expect.any(String) });
        const read1 = await api.ask(`${path}/${id}`);
        expect(read1.body).toEqual(made.body);
        expect(read1.headers.get('etag')).toBe(made.headers.get('etag'));
        const changed = await api.ask(`${path}/${id}`, { method: 'PATCH', body: patch });
        expect(changed.body).toMatchObject(read);
        expect(changed.headers.get('etag')).not.toBe(made.headers.get('etag'));
        const typed = await api.ask(`${path}/${id}`, {
          method: 'PATCH',
          body: patch,
          headers: { 'content-type': 'application/merge-patch+json' },
        });
        expect(typed.body).toMatchObject(read);
        const nulls = Object.fromEntries(Object.keys(unset).map((each) => [each, null]));
        expect((await api.ask(`${path}/${id}`, { method: 'PATCH', body: nulls })).body).toMatchObject(unset);
        expect((await api.ask(`${path}/${id}`, { method: 'DELETE' })).status).toBe(204);
        expect((await api.ask(`${path}/${id}`)).status).toBe(404);
        expect((await api.ask(`${path}/${id}`, { method: 'DELETE' })).status).toBe(404);
      });

      it('lists by pages, each object once', async () => {
        for (let i = 0; i < 5; i++) await make(path, body());
        const seen: string[] = [];
        let cursor: string | null | undefined = null;
        do {
          const query: string = cursor === null ? '' : `&cursor=${cursor}`;
          const list = await api.ask(`${path}?limit=2${query}`);
          seen.push(...itemsOf(list).map(({ id }) => id));
          cursor = list.body.nextCursor;
          expect(cursor).toBeDefined();
        } while (cursor !== null);
        expect(new Set(seen).size).toBe(seen.length);
        const all = await api.ask(`${path}?limit=500`);
        expect(itemsOf(all).map(({ id }) => id)).toEqual(seen);
        expect(seen).toContain(config);
      });

      it('shows objects of the config file, read-only', async () => {
        const shown = await api.ask(`${path}/${encodeURIComponent(config)}`);
        expect(shown.body).toMatchObject({ id: config, source: 'config', createdAt: null });
        expect(shown.headers.get('etag')).toMatch(/^"/);
        for (const [method, given] of [
          ['PATCH', patch],
          ['DELETE', undefined],
        ] as const) {
          const refused = await api.ask(`${path}/${encodeURIComponent(config)}`, { method, body: given });
          expect([refused.status, refused.body.code]).toEqual([409, 'read_only']);
          expect(refused.body.detail).toContain('configuration file');
          expect(refused.body.source).toBe('config');
        }
        expect((await api.ask(`${path}/${encodeURIComponent(config)}`)).body).toEqual(shown.body);
      });

      it('heeds If-Match and If-None-Match', async () => {
        const { id } = await make(path, body());
        const first = (await api.ask(`${path}/${id}`)).headers.get('etag')!;
        expect((await api.ask(`${path}/${id}`, { headers: { 'if-none-match': first } })).status).toBe(304);
        const with_ = (tag: string) => ({ method: 'PATCH', body: patch, headers: { 'if-match': tag } });
        expect((await api.ask(`${path}/${id}`, with_(first))).status).toBe(200);
        const late = await api.ask(`${path}/${id}`, with_(first));
        expect([late.status, late.body.code]).toEqual([412, 'changed_meanwhile']);
        const removal = { method: 'DELETE', headers: { 'if-match': first } };
        expect((await api.ask(`${path}/${id}`, removal)).status).toBe(412);
        expect((await api.ask(`${path}/${id}`, with_('*'))).status).toBe(200);
        expect((await api.ask(`${path}/${id}`, { headers: { 'if-none-match': first } })).status).toBe(200);
      });

      it('takes no id, names every faulty field, and changes nothing then', async () => {
        const before = (await api.ask(`${path}?limit=500`)).text;
        const refused = await api.ask(path, {
          method: 'POST',
          body: { ...body(), id: 'mine', colour: 'red', description: 7, endpoints: 'none' },
        });
        expect([refused.status, refused.body.code]).toEqual([400, 'invalid_request']);
        expect(faultyFields(refused.body.errors)).toEqual(
          expect.arrayContaining(['id', 'colour', 'description']),
        );
        expect((await api.ask(`${path}?limit=500`)).text).toBe(before);
        const nothing = await api.ask(path, { method: 'POST', body: 'a,b\n1,2' });
        expect(nothing.status).toBeGreaterThanOrEqual(400);
        expect(nothing.status).toBeLessThan(500);
      });

      it('does a POST with an Idempotency-Key once', async () => {
        const given = { method: 'POST', body: body(), headers: { 'idempotency-key': `key-${path}` } };
        const first = await api.ask(path, given);
        const again = await api.ask(path, given);
        expect(first.status).toBe(201);
        expect([again.status, again.text]).toEqual([201, first.text]);
        expect(again.headers.get('idempotent-replayed')).toBe('true');
        expect(again.headers.get('etag')).toBe(first.headers.get('etag'));
        const reused = await api.ask(path, { ...given, body: { ...given.body, ...other } });
        expect([reused.status, reused.body.code]).toEqual([422, 'idempotency_key_reused']);
        const token = await api.token('default');
        const another = await api.ask(path, { ...given, body: body(), token });
        expect(another.status, 'the key of another caller is another key').not.toBe(200);
        expect(another.headers.get('idempotent-replayed')).toBeNull();
        const strange = { ...given, headers: { 'idempotency-key': 'x'.repeat(256) } };
        expect((await api.ask(path, strange)).status).toBe(400);
      });
    });

    describe('SIP credentials', () => {
      it('answer of a password only that there is one', async () => {
        const made = await trunk({
          authUser: 'acme',
          authPassword: PASSWORD,
          tls: { clientCert: 'CERT', clientKey: PASSWORD },
        });
        expect(made).toMatchObject({ hasPassword: true, tls: { hasClientKey: true, clientCert: 'CERT' } });
        expect(made).not.toHaveProperty('authPassword');
        expect(api.live.directory.current.trunk(made.id)?.authPassword?.reveal()).toBe(PASSWORD);
        const kept = await api.ask(`/sip-credentials/${made.id}`, {
          method: 'PATCH',
          body: { description: 'x' },
        });
        expect(kept.body.hasPassword).toBe(true);
        expect(api.live.directory.current.trunk(made.id)?.authPassword?.reveal()).toBe(PASSWORD);
        const gone = await api.ask(`/sip-credentials/${made.id}`, {
          method: 'PATCH',
          body: { authPassword: null, tls: null },
        });
        expect(gone.body).toMatchObject({ hasPassword: false, tls: { hasClientKey: false } });
      });

      it('tell the limit that counts, and warn where members of a cpsKey differ', async () => {
        const first = await trunk({ cpsLimit: 20, cpsKey: 'shared' });
        expect(first).toMatchObject({ effectiveCpsLimit: 20, cpsWarning: null });
        const second = await trunk({ cpsLimit: 10, cpsKey: 'shared' });
        expect(second).toMatchObject({ cpsLimit: 10, effectiveCpsLimit: 10 });
        const again = await api.ask(`/sip-credentials/${first.id}`);
        expect(again.body).toMatchObject({ cpsLimit: 20, effectiveCpsLimit: 10 });
        expect(again.body.cpsWarning).toContain('shared');
      });

      it('are removed with what depends on them only when that is said', async () => {
        const { id } = await trunk();
        const agent = await make('/agents', { name: 'Answers' });
        const number = await make('/phone-numbers', {
          phoneNumber: freshNumber(),
          credentialsId: id,
          inboundAgentId: agent.id,
        });
        await api.ask(`/agents/${agent.id}`, { method: 'PATCH', body: { outboundNumberId: number.id } });
        const affected = await api.ask(`/sip-credentials/${id}/affected-agents`);
        expect(affected.body).toEqual({
          phoneNumbers: [
            {
              id: number.id,
              phoneNumber: number.phoneNumber,
              linkedAgent: { id: agent.id, name: 'Answers' },
            },
          ],
          agents: [{ id: agent.id, name: 'Answers' }],
          queuedCallsCount: 0,
          activeCallsCount: 0,
        });
        const refused = await api.ask(`/sip-credentials/${id}`, { method: 'DELETE' });
        expect([refused.status, refused.body.code]).toEqual([409, 'in_use']);
        expect(refused.body).toMatchObject(affected.body);
        expect((await api.ask(`/sip-credentials/${id}?force=true`, { method: 'DELETE' })).status).toBe(204);
        expect((await api.ask(`/phone-numbers/${number.id}`)).status).toBe(404);
        expect((await api.ask(`/agents/${agent.id}`)).body.outboundNumberId).toBeNull();
      });
    });

    describe('phone numbers', () => {
      it('refuse a reference to nothing, and the same number twice on one trunk', async () => {
        const nothing = await api.ask('/phone-numbers', {
          method: 'POST',
          body: { phoneNumber: freshNumber(), credentialsId: 'none', inboundAgentId: 'nobody' },
        });
        expect(nothing.status).toBe(400);
        expect([...faultyFields(nothing.body.errors)].sort()).toEqual(['credentialsId', 'inboundAgentId']);
        const { id } = await trunk();
        const other = await trunk();
        const phoneNumber = freshNumber();
        await make('/phone-numbers', { phoneNumber, credentialsId: id });
        const twice = await api.ask('/phone-numbers', {
          method: 'POST',
          body: { phoneNumber: phoneNumber.slice(1), credentialsId: id },
        });
        expect([twice.status, twice.body.code]).toEqual([409, 'conflict']);
        await make('/phone-numbers', { phoneNumber, credentialsId: other.id });
        const list = await api.ask(`/phone-numbers?phoneNumber=${encodeURIComponent(phoneNumber)}`);
        expect(list.body.items).toHaveLength(2);
      });

      it('are imported as CSV and JSON, with a report on every row', async () => {
        const { id } = await trunk();
        const [a, b, c] = [freshNumber(), freshNumber(), freshNumber()];
        const csv = `\uFEFFphoneNumber,credentialsId,displayName,registration\r\n${a},${id},"Acme, ""Ltd""",true\r\n\r\n${b},none,,\r\n${a},${id},,\r\n${c},${id},x,perhaps,more\r\n`;
        const { status, body } = await api.ask('/phone-numbers/import', { method: 'POST', body: csv });
        expect(status).toBe(200);
        expect(body).toMatchObject({ total: 4, created: 1, failed: 3 });
        expect(body.rows?.map(({ row, outcome, errors }) => [row, outcome, faultyFields(errors)])).toEqual([
          [1, 'created', []],
          [2, 'failed', ['credentialsId']],
          [3, 'failed', ['phoneNumber']],
          [4, 'failed', ['registration', 'column 5']],
        ]);
        const one = await api.ask(`/phone-numbers/${body.rows?.[0]?.id}`);
        expect(one.body).toMatchObject({ displayName: 'Acme, "Ltd"', registration: true });
      });

      it('are imported by the thousand', async () => {
        const { id } = await trunk();
        const numbers = Array.from({ length: 3_000 }, (_, index) => ({
          phoneNumber: `+4930${1_000_000 + index}`,
          credentialsId: id,
        }));
        const { body } = await api.ask('/phone-numbers/import', { method: 'POST', body: { numbers } });
        expect(body).toMatchObject({ total: 3_000, created: 3_000, failed: 0 });
        expect((await api.ask(`/sip-credentials/${id}?force=true`, { method: 'DELETE' })).status).toBe(204);
      });

      it.each([
        '',
        'phoneNumber\n',
        'nothing\n1\n',
        'phoneNumber,phoneNumber\n1,2\n',
        'phoneNumber\n"open\n',
      ])('refuse the CSV %j as a whole', async (body) => {
        const refused = await api.ask('/phone-numbers/import', { method: 'POST', body });
        expect([refused.status, refused.body.code]).toEqual([400, 'invalid_request']);
      });

      it('tell who uses them', async () => {
        const { id } = await trunk();
        const inbound = await make('/agents', { name: 'In' });
        const number = await make('/phone-numbers', {
          phoneNumber: freshNumber(),
          credentialsId: id,
          inboundAgentId: inbound.id,
        });
        const outbound = await make('/agents', { name: 'Out', outboundNumberId: number.id });
        const usage = await api.ask(`/phone-numbers/${number.id}/usage`);
        expect(usage.body).toEqual({
          agents: [
            { id: inbound.id, name: 'In', inbound: true, outbound: false },
            { id: outbound.id, name: 'Out', inbound: false, outbound: true },
          ],
          registrationStatus: null,
          queuedCallsCount: 0,
          activeCallsCount: 0,
        });
        const refused = await api.ask(`/phone-numbers/${number.id}`, { method: 'DELETE' });
        expect([refused.status, refused.body.agents]).toEqual([409, [{ id: outbound.id, name: 'Out' }]]);
        const agent = await api.ask(`/agents/${inbound.id}/usage`);
        expect(agent.body.phoneNumbers).toEqual([
          { id: number.id, phoneNumber: number.phoneNumber, inbound: true, outbound: false },
        ]);
        const kept = await api.ask(`/agents/${inbound.id}`, { method: 'DELETE' });
        expect([kept.status, kept.body.code]).toEqual([409, 'in_use']);
        expect((await api.ask(`/agents/${inbound.id}?force=true`, { method: 'DELETE' })).status).toBe(204);
        expect((await api.ask(`/phone-numbers/${number.id}`)).body.inboundAgentId).toBeNull();
      });
    });

    describe('organisations and tokens', () => {
      it('are made and removed by the administrator, tokens within their own scopes', async () => {
        const acme = await make('/organizations', { id: 'acme', name: 'Acme Ltd' });
        expect(acme).toMatchObject({ id: 'acme', name: 'Acme Ltd', source: 'manual' });
        const made = await api.ask('/tokens?organizationId=acme', {
          method: 'POST',
          body: { name: 'dashboard', scopes: ['read', 'write'] },
        });
        expect(made.status).toBe(201);
        const { token, id } = made.body as { token: string; id: string };
        expect(itemsOf(await api.ask('/organizations', { token })).map((each) => each.id)).toEqual(['acme']);
        expect((await api.ask('/tokens', { token })).text).not.toContain(token);
        for (const [path, how, status] of [
          ['/organizations', { method: 'POST', body: { id: 'beta' } }, 403],
          ['/organizations/default', {}, 404],
          ['/sip-credentials?organizationId=default', {}, 404],
          ['/sip-credentials', { headers: { 'x-organization-id': 'default' } }, 404],
          ['/sip-credentials?organizationId=acme', {}, 200],
          ['/tokens', { method: 'POST', body: { name: 'x', scopes: ['calls'] } }, 403],
          ['/tokens', { method: 'POST', body: { name: 'x', scopes: [] } }, 400],
        ] as const) {
          expect([path, (await api.ask(path, { token, ...how })).status]).toEqual([path, status]);
        }
        const keyed = { method: 'POST', body: { name: 'x', scopes: ['read'] } };
        const once = await api.ask('/tokens', { ...keyed, token, headers: { 'idempotency-key': 'k' } });
        expect(once.status).toBe(400);
        const busy = await api.ask('/organizations/acme', { method: 'DELETE' });
        expect([busy.status, busy.body.code]).toEqual([409, 'in_use']);
        expect((await api.ask(`/tokens/${id}`, { method: 'DELETE', token })).status).toBe(204);
        expect((await api.ask('/organizations', { token })).status).toBe(401);
        const shown = await api.ask(`/tokens/${id}?organizationId=acme`);
        expect(shown.body.revokedAt).toEqual(expect.any(String));
        expect((await api.ask('/organizations/acme', { method: 'DELETE' })).status).toBe(204);
        expect((await api.ask('/tokens?organizationId=acme')).status).toBe(404);
      });

      it('refuse what a scope does not hold', async () => {
        const read = await api.token('default', ['read']);
        const write = await api.token('default', ['write']);
        const body = { name: 'A' };
        expect((await api.ask('/agents', { token: read })).status).toBe(200);
        const refused = await api.ask('/agents', { method: 'POST', body, token: read });
        expect([refused.status, refused.body.code]).toEqual([403, 'insufficient_scope']);
        expect((await api.ask('/agents', { token: write })).status).toBe(403);
        expect((await api.ask('/agents', { method: 'POST', body, token: write })).status).toBe(201);
      });

      it('leave an audit log of names, never of values', async () => {
        await make('/organizations', { id: 'audited' });
        const inside = (path: string) => `${path}?organizationId=audited`;
        const body = { server: 'sip.a.example', authUser: 'a', authPassword: PASSWORD };
        const { id } = await make(inside('/sip-credentials'), body);
        const path = inside(`/sip-credentials/${id}`);
        await api.ask(path, { method: 'PATCH', body: { description: 'secret text' } });
        await api.ask(path, { method: 'DELETE' });
        const log = await api.ask(inside('/audit'));
        expect(
          itemsOf(log)
            .filter(({ objectId }) => objectId === id)
            .map(({ action, by, kind, fields }) => [action, by, kind, fields]),
        ).toEqual([
          ['create', 'administrator', 'sipCredentials', ['server', 'authUser', 'authPassword']],
          ['update', 'administrator', 'sipCredentials', ['description']],
          ['remove', 'administrator', 'sipCredentials', []],
        ]);
        expect(log.text).not.toContain(PASSWORD);
        expect(log.text).not.toContain('secret text');
        const first = await api.ask(`${inside('/audit')}&limit=1`);
        const second = await api.ask(`${inside('/audit')}&limit=1&cursor=${first.body.nextCursor}`);
        const [[one], [other]] = [itemsOf(first), itemsOf(second)];
        expect(other!.id > one!.id).toBe(true);
        expect((await api.ask('/audit?cursor=%21')).status).toBe(400);
      });
    });
  });
}
