/** `inboundAuth` of trunks: which fields it needs, what it means for addresses, and whose a user is. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compileSnapshot } from '#directory/compile.js';
import type { Editor } from '#directory/editor.js';
import { toTrunk } from '#directory/models.js';
import { trunkSchema } from '#directory/schema.js';
import { directoryInput, snapshotOf } from '../../kit/directory.js';
import { type Desk, deskOn, newBox, sqlitePlace } from '../../kit/editor.js';

const AUTH = { username: 'office', password: 'secret' };
const trunk = (more: object) =>
  toTrunk(trunkSchema.parse({ id: 't', server: '192.0.2.1:5060', ...more }), 'config');

describe('the field', () => {
  it.each([
    [{ username: 'office' }, 'inboundAuth.password'],
    [{ password: 'secret' }, 'inboundAuth.username'],
    [{ ...AUTH, username: '' }, 'inboundAuth.username'],
    [{ ...AUTH, username: 'a\r\nb' }, 'inboundAuth.username'],
    [{ ...AUTH, password: '' }, 'inboundAuth.password'],
    ['secret', 'inboundAuth'],
    [{ ...AUTH, realm: 'x' }, 'inboundAuth'],
  ])('%j is refused at %s', (inboundAuth, path) => {
    const result = trunkSchema.safeParse({ id: 't', server: 'a.example', inboundAuth });
    expect(result.error?.issues.map((issue) => issue.path.join('.'))).toContain(path);
  });

  it('opens the trunk to any address, unless it names some', () => {
    const blocks = (more: object) => trunk(more).allowedAddresses.map(({ text }) => text);
    expect(blocks({})).toEqual(['192.0.2.1']);
    expect(blocks({ inboundAuth: AUTH })).toEqual([]);
    expect(blocks({ inboundAuth: AUTH, allowedAddresses: ['192.0.2.1'] })).toEqual(['192.0.2.1']);
  });
});

describe('a snapshot', () => {
  const both = {
    sipCredentials: [
      { id: 'open', server: 'a.example', inboundAuth: AUTH },
      {
        id: 'closed',
        server: '192.0.2.1',
        allowedAddresses: ['192.0.2.1'],
        inboundAuth: { ...AUTH, username: 'x' },
      },
      { id: 'plain', server: '192.0.2.1' },
    ],
    agents: [{ id: 'sales', inboundAuth: { ...AUTH, username: 'sales' } }],
  };

  it('knows whose a user is, and which trunks are open', () => {
    const snapshot = snapshotOf(both);
    expect(snapshot.trunkByAuthUser('office')?.id).toBe('open');
    expect(snapshot.trunkByAuthUser('sales')).toBeUndefined();
    expect(snapshot.agentByAuthUser('sales')?.id).toBe('sales');
    expect(snapshot.agentByAuthUser('office')).toBeUndefined();
    expect(snapshot.openTrunks.map(({ id }) => id)).toEqual(['open']);
    const askers = (part: Partial<typeof both>) => snapshotOf(part).hasAuthUsers;
    expect(askers({ agents: both.agents })).toBe(true);
    expect(askers({ sipCredentials: both.sipCredentials.slice(0, 1) })).toBe(true);
    expect(askers({ sipCredentials: both.sipCredentials.slice(1) })).toBe(false);
  });

  it('has a user once among all trunks and agents', () => {
    const compiled = compileSnapshot(
      directoryInput({
        sipCredentials: [
          { id: 'a', server: 'a.example', inboundAuth: AUTH },
          { id: 'b', server: 'b.example', inboundAuth: AUTH, organizationId: 'other' },
        ],
        agents: [{ id: 'c', inboundAuth: AUTH }],
      }),
      1,
    );
    if (compiled.kind !== 'faults') throw new Error('was taken');
    expect(compiled.faults.map(({ path, message }) => `${path.join('.')}: ${message}`)).toEqual([
      'sipCredentials.1.inboundAuth.username: is taken already: office',
      'agents.0.inboundAuth.username: is taken already: office',
    ]);
  });
});

describe('an edit', () => {
  let place: ReturnType<typeof sqlitePlace>;
  let desk: Desk;
  let editor: Editor;
  const box = newBox();
  const author = { organizationId: 'acme', name: 'test' };
  beforeEach(async () => {
    place = sqlitePlace();
    desk = await deskOn(await place.open(), { box });
    editor = desk.editor;
  });
  afterEach(async () => {
    await desk.close();
    place.remove();
  });
  const made = async (kind: 'sipCredentials' | 'agent', fields: object): Promise<string> => {
    const result = await editor.create(author, kind, fields as never);
    if (result.kind !== 'written') throw new Error(JSON.stringify(result));
    return result.id;
  };
  const current = () => desk.live.directory.current;

  it('gives a user, changes it, keeps the password where none is given, and takes it back', async () => {
    const id = await made('sipCredentials', { server: 'a.example', inboundAuth: AUTH });
    expect(current().trunkByAuthUser('office')?.inboundAuth?.password.reveal()).toBe('secret');
    await editor.update(author, 'sipCredentials', id, { inboundAuth: { username: 'branch' } });
    expect(current().trunkByAuthUser('office')).toBeUndefined();
    expect(current().trunkByAuthUser('branch')?.inboundAuth?.password.reveal()).toBe('secret');
    // What it left is free.
    const agent = await made('agent', { name: 'A', inboundAuth: AUTH });
    const taken = await editor.update(author, 'sipCredentials', id, { inboundAuth: { username: 'office' } });
    expect(taken).toMatchObject({ kind: 'conflict', faults: [{ path: ['inboundAuth', 'username'] }] });
    expect(current().agentByAuthUser('office')?.id).toBe(agent);
    await editor.update(author, 'sipCredentials', id, { inboundAuth: null });
    expect(current().trunk(id)?.inboundAuth).toBeUndefined();
    expect([current().openTrunks, current().trunkByAuthUser('branch')]).toEqual([[], undefined]);
  });

  it('that removes the trunk frees its user', async () => {
    const id = await made('sipCredentials', { server: 'a.example', inboundAuth: AUTH });
    await editor.remove(author, 'sipCredentials', id, {});
    expect(current().openTrunks).toEqual([]);
    await made('sipCredentials', { server: 'b.example', inboundAuth: AUTH });
  });

  it('survives a restart, and two organisations may open one number each to whoever shows its password', async () => {
    const ours = await made('sipCredentials', { server: 'a.example', inboundAuth: AUTH });
    await editor.create(author, 'phoneNumber', { phoneNumber: '+14155550100', credentialsId: ours });
    const other = { organizationId: 'other', name: 'test' };
    const theirs = await editor.create(other, 'sipCredentials', {
      server: 'b.example',
      inboundAuth: { username: 'theirs', password: 'p' },
    });
    if (theirs.kind !== 'written') throw new Error(JSON.stringify(theirs));
    const number = { phoneNumber: '+14155550100', credentialsId: theirs.id };
    expect((await editor.create(other, 'phoneNumber', number)).kind).toBe('written');
    expect(current().openTrunks).toHaveLength(2);
    await desk.close();
    desk = await deskOn(await place.open(), { box });
    expect(current().trunkByAuthUser('office')).toMatchObject({ id: ours, allowedAddresses: [] });
    expect(current().trunkByAuthUser('theirs')?.inboundAuth?.password.reveal()).toBe('p');
  });
});
