/** One organisation never sees, names or changes what is another's: property tests over a real store. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiDocument } from '#http/api.js';
import type { RegistrationView } from '#registration/registration-view.js';
import { type Api, apiOn } from '../../kit/api.js';
import { faultyFields, itemsOf, madeBy } from '../../kit/ask.js';
import { sqlitePlace } from '../../kit/editor.js';
import { Documented } from '../../kit/openapi.js';
import { callRecord } from '../observe/records.js';

const place = sqlitePlace();
let api: Api;
let tokenB: string;
/** Everything that organisation `a` has, by the collection that it stands in. */
const owned: Record<string, string[]> = {};
/** Texts that must not be seen by anybody else. */
const marks: string[] = [];

const mark = (text: string): string => {
  const made = `Mark${text.replaceAll(/\W/g, '')}${marks.length}Z`;
  marks.push(made);
  return made;
};

function viewOf(id: string, organizationId: string): RegistrationView {
  return {
    id,
    organizationId,
    aor: `sip:${mark('aor')}@pbx.example`,
    callId: mark('callId'),
    trunkId: null,
    agentId: null,
    phoneNumbers: [],
    state: 'registered',
    registrar: null,
    contact: 'sip:reg_x@192.0.2.7:5060',
    expiresAt: null,
    nextAttemptAt: null,
    lastVerdict: null,
    serviceRoute: [],
    timeline: [],
  };
}

beforeAll(async () => {
  const view = viewOf('reg-a', 'a');
  const call = callRecord({ id: 'call-a', organizationId: 'a', caller: mark('caller') });
  api = await apiOn(await place.open(), {
    config: {
      sipCredentials: [
        { id: 'conf-a', organizationId: 'a', server: 'sip.a.example', description: mark('config') },
      ],
    },
    ports: {
      registrations: {
        all: () => [{ ...view, trunkIds: [], agentIds: [], view: () => view }],
        get: (id) => (id === view.id ? view : undefined),
        ofNumber: () => undefined,
        ofAgent: () => undefined,
        refresh: () => true,
      },
      calls: {
        list: () => [call],
        get: (id) => (id === call.id ? call : undefined),
        hangUp: () => true,
        place: () => Promise.reject(new Error('nobody calls here')),
        transfer: () => ({ kind: 'impossible', why: 'not_answered' }),
      },
    },
  });
  expect((await api.ask('/organizations', { method: 'POST', body: { id: 'b' } })).status).toBe(201);
  tokenB = await api.token('b');
  owned.registrations = ['reg-a'];
  owned.calls = ['call-a'];
  owned['sip-credentials'] = ['conf-a'];
  const tokenA = await api.token('a');
  const make = async (collection: string, body: object): Promise<string> => {
    const { id } = madeBy(await api.ask(`/${collection}`, { method: 'POST', body, token: tokenA }));
    owned[collection] = [...(owned[collection] ?? []), id];
    marks.push(id);
    return id;
  };
  // Objects of all shapes, from a fixed seed.
  const names = fc.sample(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 }), {
    seed: 7,
    numRuns: 8,
  });
  for (const [index, name] of names.entries()) {
    const trunk = await make('sip-credentials', {
      server: `${mark(name)}.example`.toLowerCase(),
      description: mark(name),
      cpsKey: 'shared',
      cpsLimit: index + 1,
      allowedAddresses: [`192.0.2.${index}`],
    });
    marks[marks.length - 3] = marks.at(-3)!.toLowerCase();
    const agent = await make('agents', { name: mark(name), endpoints: [{ uri: 'sip:x@192.0.2.9' }] });
    const number = await make('phone-numbers', {
      phoneNumber: `+49301234567${index}`,
      credentialsId: trunk,
      inboundAgentId: agent,
      displayName: mark(name),
    });
    await api.ask(`/agents/${agent}`, { method: 'PATCH', body: { outboundNumberId: number }, token: tokenA });
  }
  const carrier = await make('sip-credentials', {
    server: 'sip.shared-carrier.example',
    allowedAddresses: ['192.0.2.32/27'],
  });
  await make('phone-numbers', { phoneNumber: '+493012345678', credentialsId: carrier });
  owned['sip-trunks'] = owned['sip-credentials']!;
  const made = await api.ask('/tokens', {
    method: 'POST',
    body: { name: mark('token'), scopes: ['read'] },
    token: tokenA,
  });
  owned.tokens = [madeBy(made).id];
  owned.organizations = ['a'];
});
afterAll(async () => {
  await api.close();
  place.remove();
});

/** Names of another's object are told back in the request's own words at most. */
const foreign = (text: string, asked = ''): string[] =>
  marks.filter((each) => text.includes(each) && !asked.includes(each));

describe('another organisation', () => {
  const operations = new Documented(apiDocument('0'))
    .operations()
    .filter(({ operation }) => operation.operationId !== 'followEvents');

  it('lists nothing of it', async () => {
    const lists = operations.filter(({ method, path }) => method === 'GET' && !path.includes('{'));
    expect(lists.length).toBeGreaterThan(8);
    for (const { path } of lists) {
      for (const query of ['', '?limit=500', '?to=%2B493012345670&direction=inbound&source=192.0.2.1']) {
        const { text } = await api.ask(path + query, { token: tokenB });
        expect(foreign(text), `${path}${query}: ${text.slice(0, 300)}`).toEqual([]);
      }
    }
    const own = await api.ask('/organizations', { token: tokenB });
    expect(itemsOf(own).map(({ id }) => id)).toEqual(['b']);
  });

  it('gets 404 for whatever it asks of it, as for what there is not', async () => {
    const single = operations.filter(({ path }) => path.includes('{') && !path.startsWith('/reasons'));
    expect(single.length).toBeGreaterThan(20);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...single), fc.nat(), async ({ method, path, body }, luck) => {
        const collection = path.split('/')[1]!;
        // cpsKeys are names that both may use.
        const ids = owned[collection];
        if (ids === undefined) return;
        const id = ids[luck % ids.length]!;
        const target = path.replace(/\{\w+\}/, encodeURIComponent(id));
        const missing = path.replace(/\{\w+\}/, 'nothing-here');
        const registration = { domain: 'x.example', username: 'u', password: 'p' };
        const bodies = path.endsWith('sip-registration')
          ? registration
          : path.endsWith('/transfer')
            ? { to: '+12125550199' }
            : {};
        const given = body === undefined ? undefined : bodies;
        const how = { method, token: tokenB, ...(given === undefined ? {} : { body: given }) };
        const answer = await api.ask(`${target}?`, how);
        const nothing = await api.ask(`${missing}?`, how);
        const restricted = collection === 'organizations' && method !== 'GET';
        expect([method, path, answer.status]).toEqual([method, path, restricted ? 403 : 404]);
        expect(answer.text).toBe(nothing.text);
        expect(foreign(answer.text)).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it('cannot refer to its objects, nor learn from a refusal that they are there', async () => {
    const agent = owned.agents![0]!;
    const trunk = owned['sip-credentials']![1]!;
    const number = owned['phone-numbers']![0]!;
    const own = await api.ask('/sip-credentials', {
      method: 'POST',
      token: tokenB,
      body: { server: 'sip.b.example', cpsKey: 'shared', cpsLimit: 100 },
    });
    // A cpsKey of the same name is another line.
    expect(own.body).toMatchObject({ effectiveCpsLimit: 100, cpsWarning: null });
    for (const [path, body, field] of [
      ['/phone-numbers', { phoneNumber: '+4912', credentialsId: trunk }, 'credentialsId'],
      [
        '/phone-numbers',
        { phoneNumber: '+4912', credentialsId: own.body.id, inboundAgentId: agent },
        'inboundAgentId',
      ],
      [
        '/phone-numbers',
        { phoneNumber: '+4912', credentialsId: own.body.id, transferTrunkId: trunk },
        'transferTrunkId',
      ],
      ['/agents', { outboundNumberId: number }, 'outboundNumberId'],
      ['/agents', { outboundNumberId: '+493012345670' }, 'outboundNumberId'],
    ] as const) {
      const asked = JSON.stringify(body);
      const refused = await api.ask(path, { method: 'POST', token: tokenB, body });
      expect([path, refused.status, faultyFields(refused.body.errors)[0]]).toEqual([path, 400, field]);
      expect(foreign(refused.text, asked)).toEqual([]);
      const unknown = JSON.parse(
        asked
          .replace(trunk, 'none')
          .replace(agent, 'none')
          .replace(number, 'none')
          .replace('+493012345670', '+4900'),
      );
      const nothing = await api.ask(path, { method: 'POST', token: tokenB, body: unknown });
      expect(nothing.status).toBe(400);
    }
  });

  it('is told nothing of it when its own object would make routing ambiguous', async () => {
    const trunk = await api.ask('/sip-credentials', {
      method: 'POST',
      token: tokenB,
      body: { server: 'sip.b.example', allowedAddresses: ['192.0.2.3'] },
    });
    const body = { phoneNumber: '+493012345673', credentialsId: trunk.body.id };
    const refused = await api.ask('/phone-numbers', { method: 'POST', token: tokenB, body });
    expect(refused.status).toBe(409);
    expect(foreign(refused.text, JSON.stringify(body))).toEqual([]);
    expect(refused.text).not.toContain('conf-a');
  });

  it.each([
    ['narrower', '192.0.2.57', 8],
    ['wider', '192.0.2.0/29', 2],
    ['the same', '192.0.2.3', 3],
  ])('gets none of its calls by a block that is %s', async (_name, block, index) => {
    const ask = (path: string, body: object, method = 'POST') =>
      api.ask(path, { method, token: tokenB, body });
    const trunk = await ask('/sip-credentials', { server: 'sip.b.example', allowedAddresses: [block] });
    expect(trunk.status).toBe(201);
    const credentialsId = trunk.body.id;
    for (const phoneNumber of [`+49301234567${index}`, `49301234567${index}`, `+49 30 1234567-${index}`]) {
      const body = { phoneNumber, credentialsId };
      const refused = await ask('/phone-numbers', body);
      expect([phoneNumber, refused.status, refused.body.code]).toEqual([phoneNumber, 409, 'conflict']);
      expect(refused.body.errors).toMatchObject([{ path: 'phoneNumber' }]);
      expect(foreign(refused.text, JSON.stringify(body))).toEqual([]);
    }
    // The carrier is theirs too: with a number of their own they use it.
    const own = await ask('/phone-numbers', { phoneNumber: `+4940765432${index}`, credentialsId });
    expect(own.status).toBe(201);
  });

  it('gets none of its calls by moving a trunk that has the number already', async () => {
    const trunk = await api.ask('/sip-credentials', {
      method: 'POST',
      token: tokenB,
      body: { server: 'sip.b.example', allowedAddresses: ['198.51.100.77'] },
    });
    const number = await api.ask('/phone-numbers', {
      method: 'POST',
      token: tokenB,
      body: { phoneNumber: '+493012345674', credentialsId: trunk.body.id },
    });
    expect(number.status).toBe(201);
    const body = { allowedAddresses: ['198.51.100.77', '192.0.2.4'] };
    const path = `/sip-credentials/${trunk.body.id}`;
    const moved = await api.ask(path, { method: 'PATCH', token: tokenB, body });
    expect([moved.status, moved.body.code]).toEqual([409, 'conflict']);
    expect(moved.body.errors).toMatchObject([{ path: 'allowedAddresses' }]);
    expect(foreign(moved.text)).toEqual([]);
    expect((await api.ask(path, { token: tokenB })).body.allowedAddresses).toEqual(['198.51.100.77']);
  });

  it('gets none of the calls that its agents make, nor makes any in their name', async () => {
    for (const [path, body] of [
      ['/sip-credentials', { server: 'sip.b.example', allowedAddresses: ['192.0.2.0/24'] }],
      ['/agents', { name: 'b', allowedAddresses: ['192.0.2.9'] }],
    ] as const) {
      const refused = await api.ask(path, { method: 'POST', token: tokenB, body });
      expect([path, refused.status, refused.body.code]).toEqual([path, 409, 'conflict']);
      expect(refused.body.errors).toMatchObject([{ path: 'allowedAddresses' }]);
      expect(foreign(refused.text)).toEqual([]);
    }
  });

  it('has changed nothing of it', async () => {
    for (const [collection, ids] of Object.entries(owned)) {
      for (const id of ids) {
        const path = `/${collection}/${encodeURIComponent(id)}?organizationId=a`;
        expect([path, (await api.ask(path)).status]).toEqual([path, 200]);
      }
    }
  });
});
