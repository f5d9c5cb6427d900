/** The page "SIP trunks": its four end-points, fields and rules, on the real process. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Acceptance, startAcceptance } from '../../kit/acceptance.js';
import { faultyFields } from '../../kit/ask.js';

const BODY = { name: 'Main Trunk', host: 'sip.provider.com', username: 'myuser', password: 'c4nary-secret' };

let world: Acceptance;
beforeAll(async () => {
  world = await startAcceptance();
});
afterAll(() => world.stop());

describe('POST /sip-trunks', () => {
  it('creates, with port 5060 unless told', async () => {
    const made = await world.ask('/sip-trunks', { method: 'POST', body: BODY });
    expect(made.status).toBe(201);
    expect(made.body).toEqual({
      id: expect.any(String),
      name: 'Main Trunk',
      host: 'sip.provider.com',
      port: 5060,
      username: 'myuser',
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    expect(made.text).not.toContain(BODY.password);
    const other = await world.make('/sip-trunks', { ...BODY, port: 5070 });
    expect(other.port).toBe(5070);
  });

  it('requires name, host, username and password, all named at once', async () => {
    const { status, body } = await world.ask('/sip-trunks', { method: 'POST', body: {} });
    expect(status).toBe(400);
    expect(faultyFields(body.errors)).toEqual(['name', 'host', 'username', 'password']);
  });

  it.each([
    { port: 0 },
    { port: 70_000 },
    { port: '5060' },
    { host: 'sip:x' },
    { host: 'a b' },
    { extra: 1 },
  ])('refuses %j', async (wrong) => {
    const { status, body } = await world.ask('/sip-trunks', { method: 'POST', body: { ...BODY, ...wrong } });
    expect([status, faultyFields(body.errors)]).toEqual([400, Object.keys(wrong)]);
  });
});

describe('GET /sip-trunks', () => {
  it('lists as {trunks}, without passwords', async () => {
    const made = await world.make('/sip-trunks', BODY);
    const { status, body, text } = await world.ask('/sip-trunks');
    expect(status).toBe(200);
    expect(Object.keys(body)).toEqual(['trunks']);
    expect(body.trunks).toContainEqual(made);
    expect(text).not.toContain(BODY.password);
  });

  it('gives one by id, and 404 for what there is not', async () => {
    const made = await world.make('/sip-trunks', BODY);
    expect((await world.ask(`/sip-trunks/${made.id}`)).body).toEqual(made);
    expect((await world.ask('/sip-trunks/nothing')).status).toBe(404);
  });

  it('shows the same objects as /sip-credentials', async () => {
    const made = await world.make('/sip-trunks', { ...BODY, port: 5071 });
    expect((await world.ask(`/sip-credentials/${made.id}`)).body).toMatchObject({
      description: 'Main Trunk',
      server: 'sip.provider.com:5071',
      authUser: 'myuser',
      hasPassword: true,
    });
  });
});

describe('DELETE /sip-trunks/{id}', () => {
  it('sets transferTrunkId of numbers to null', async () => {
    const home = await world.make('/sip-credentials', { server: 'sip.home.example' });
    const trunk = await world.make('/sip-trunks', BODY);
    const number = await world.make('/phone-numbers', {
      phoneNumber: '+14155550100',
      credentialsId: home.id,
      transferTrunkId: trunk.id,
    });
    expect(number.transferTrunkId).toBe(trunk.id);
    expect((await world.ask(`/sip-trunks/${trunk.id}`, { method: 'DELETE' })).status).toBe(204);
    expect((await world.ask(`/sip-trunks/${trunk.id}`)).status).toBe(404);
    expect((await world.ask(`/phone-numbers/${number.id}`)).body.transferTrunkId).toBeNull();
  });

  it('is refused while numbers use it, unless forced', async () => {
    const trunk = await world.make('/sip-trunks', BODY);
    const number = await world.make('/phone-numbers', {
      phoneNumber: '+14155550101',
      credentialsId: trunk.id,
    });
    const refused = await world.ask(`/sip-trunks/${trunk.id}`, { method: 'DELETE' });
    expect([refused.status, refused.body.code]).toEqual([409, 'in_use']);
    expect(refused.body.phoneNumbers).toEqual([expect.objectContaining({ id: number.id })]);
    expect((await world.ask(`/sip-trunks/${trunk.id}?force=true`, { method: 'DELETE' })).status).toBe(204);
  });
});
