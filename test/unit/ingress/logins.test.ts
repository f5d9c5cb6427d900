/** Whose user and password an INVITE shows: a trunk's, an agent's, nobody's; and what of it is told to whom. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { DigestGate } from '#auth/gate.js';
import { WRONG_PER_USER, WrongAnswers } from '#auth/wrong-answers.js';
import { Logins } from '#ingress/logins.js';
import { SeededIds } from '#lib/ids.js';
import { snapshotOf } from '../../kit/directory.js';
import { request } from '../../kit/fake-engine.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const URI = 'sip:+14155550100@192.0.2.1';
const HERE = { address: '203.0.113.1' };

function house() {
  const clock = new VirtualClock();
  const directory = {
    current: snapshotOf({
      sipCredentials: [
        { id: 'pbx', server: 'pbx.example', inboundAuth: { username: 'office', password: 'p1' } },
        { id: 'plain', server: '192.0.2.1' },
      ],
      agents: [{ id: 'sales', inboundAuth: { username: 'sales', password: 'p2' } }],
    }),
  };
  const gate = new DigestGate({ clock, ids: new SeededIds(1), realm: 'trunkline' });
  const logins = new Logins({ gate, wrongAnswers: new WrongAnswers(clock), directory });
  const nonce = () => /nonce="([^"]+)"/.exec(logins.challenge(false)[0]!.value)![1]!;
  const show = (username: string, password: string, from = HERE, nc = '00000001', over = nonce()) => {
    const md5 = (text: string) => createHash('md5').update(text).digest('hex');
    const inner = [md5(`${username}:trunkline:${password}`), over, nc, 'c', 'auth', md5(`INVITE:${URI}`)];
    const line = `Authorization: Digest username="${username}",realm="trunkline",nonce="${over}",uri="${URI}",response="${md5(inner.join(':'))}",qop=auth,nc=${nc},cnonce="c"`;
    return logins.read(request('INVITE', [line], '', URI), from);
  };
  return { clock, logins, directory, show, nonce };
}

describe('a login', () => {
  it('is the trunk’s or agent’s whose user and password it shows', () => {
    const { show, logins } = house();
    expect(show('office', 'p1')).toMatchObject({ kind: 'trunk', trunk: { id: 'pbx' } });
    expect(show('sales', 'p2')).toMatchObject({ kind: 'agent', agent: { id: 'sales' } });
    expect(logins.read(request('INVITE', [], '', URI), HERE)).toEqual({ kind: 'none' });
  });

  it('is wrong alike for a wrong password, another one’s, and a user of nobody', () => {
    const { show } = house();
    expect(show('office', 'p2')).toMatchObject({ kind: 'wrong', trunk: { id: 'pbx' }, agent: undefined });
    expect(show('sales', 'p1')).toMatchObject({ kind: 'wrong', agent: { id: 'sales' }, trunk: undefined });
    const nobody = show('nobody', 'p1');
    expect(nobody).toEqual({
      kind: 'wrong',
      detail: 'user "nobody" or the password is wrong',
      trunk: undefined,
      agent: undefined,
    });
    expect(show('plain', '')).toMatchObject({ kind: 'wrong', trunk: undefined });
  });

  it('counts once: an answer that was overheard is stale', () => {
    const { show, nonce } = house();
    const over = nonce();
    expect(show('office', 'p1', HERE, '00000001', over)).toMatchObject({ kind: 'trunk' });
    expect(show('office', 'p1', HERE, '00000001', over)).toEqual({ kind: 'stale' });
    expect(show('office', 'p1', { address: '203.0.113.2' }, '00000001', over)).toEqual({ kind: 'stale' });
    expect(show('office', 'p1', HERE, '00000002', over)).toMatchObject({ kind: 'trunk' });
  });

  it('is not looked at after many wrong ones, right or not, from that address for a minute', () => {
    const { show, clock } = house();
    for (let i = 0; i < WRONG_PER_USER; i++) expect(show('office', `guess-${i}`).kind).toBe('wrong');
    expect(show('office', 'p1')).toMatchObject({
      kind: 'wrong',
      detail: expect.stringContaining('too often from 203.0.113.1'),
    });
    expect(show('office', 'p1', { address: '203.0.113.2' }).kind).toBe('trunk');
    expect(show('sales', 'p2').kind).toBe('agent');
    clock.advance(60_000);
    expect(show('office', 'p1').kind).toBe('trunk');
  });

  it('follows the directory', () => {
    const { show, directory } = house();
    directory.current = snapshotOf({
      sipCredentials: [
        { id: 'pbx', server: 'pbx.example', inboundAuth: { username: 'office', password: 'p3' } },
      ],
    });
    expect(show('office', 'p1').kind).toBe('wrong');
    expect(show('office', 'p3').kind).toBe('trunk');
    expect(show('sales', 'p2')).toMatchObject({ kind: 'wrong', agent: undefined });
  });

  it('never shows a password', () => {
    const { show } = house();
    for (const login of [show('office', 'p1'), show('office', 'no')]) {
      expect(JSON.stringify(login)).not.toContain('p1');
    }
  });
});
