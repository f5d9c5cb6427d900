import { describe, expect, it } from 'vitest';
import type { Source } from '#engine/engine.js';
import { NoticeLog } from '#observe/notice-log.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const source: Source = {
  transport: 'tcp',
  address: '192.0.2.1',
  port: 5060,
  flow: 1,
  listener: { id: 'tcp:127.0.0.1:5060', transport: 'tcp', host: '127.0.0.1', port: 5060 },
};

function recorded() {
  const lines: { level: string; fields: Record<string, unknown>; message: string }[] = [];
  const level = (name: string) => (fields: object, message: string) => {
    lines.push({ level: name, fields: { ...fields }, message });
  };
  const log = { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') };
  const clock = new VirtualClock();
  return { lines, clock, notices: new NoticeLog(log, clock, (address) => address === '192.0.2.7') };
}

describe('notices of the engine', () => {
  it('tell each bound once in a while, and then how often it was met', () => {
    const { lines, clock, notices } = recorded();
    for (let i = 0; i < 1_000; i++) notices.notice({ kind: 'limit', limit: 'transactions', source });
    notices.notice({ kind: 'limit', limit: 'dialogs' });
    expect(lines.map(({ level, fields }) => [level, fields.limit, fields.unreported])).toEqual([
      ['warn', 'transactions', 0],
      ['warn', 'dialogs', 0],
    ]);
    clock.advance(10_000);
    notices.notice({ kind: 'limit', limit: 'transactions', source });
    expect(lines[2]?.fields).toMatchObject({ limit: 'transactions', unreported: 999, source: '192.0.2.1' });
  });

  it('tell refused messages and closed connections to those who debug, in printable text', () => {
    const { lines, notices } = recorded();
    notices.notice({ kind: 'rejected', status: 400, reason: 'bad\r\nheader', source });
    notices.notice({ kind: 'connection-closed', flow: 1, reason: 'idle', address: '192.0.2.1' });
    expect(lines.map(({ level }) => level)).toEqual(['debug', 'debug']);
    expect(JSON.stringify(lines)).not.toMatch(/\\[rn]/);
  });

  it('tell of a known peer that sends no valid SIP, once in a while; what strangers send is for those who debug', () => {
    const { lines, clock, notices } = recorded();
    const bad = { kind: 'rejected', status: 400, reason: 'no Call-ID\r\n', source, malformed: true } as const;
    const known = { ...bad, source: { ...source, address: '192.0.2.7' } };
    notices.notice(bad);
    for (let i = 0; i < 5; i++) notices.notice(known);
    notices.notice({ ...known, malformed: false });
    expect(lines.map(({ level }) => level)).toEqual(['debug', 'warn', 'debug']);
    expect(lines[1]?.fields).toMatchObject({ source: '192.0.2.7', status: 400, unreported: 0 });
    clock.advance(10_000);
    notices.notice(known);
    expect(lines.at(-1)?.fields).toMatchObject({ unreported: 4 });
    expect(JSON.stringify(lines)).not.toMatch(/\\[rn]/);
  });

  it('tell that the server of the engine comes and goes, once in a while where it flaps', () => {
    const { lines, clock, notices } = recorded();
    const server = { kind: 'server', server: '192.0.2.1:9022' } as const;
    notices.notice({ ...server, state: 'awaited', detail: 'refused' });
    notices.notice({ ...server, state: 'up', detail: 'version 1' });
    for (let i = 0; i < 3; i++) notices.notice({ ...server, state: 'down', detail: 'gone\r\nx' });
    notices.notice({ ...server, server: '192.0.2.2:9022', state: 'down', detail: 'gone' });
    expect(lines.map(({ level, fields }) => [level, fields.server])).toEqual([
      ['debug', '192.0.2.1:9022'],
      ['info', '192.0.2.1:9022'],
      ['warn', '192.0.2.1:9022'],
      ['warn', '192.0.2.2:9022'],
    ]);
    expect(JSON.stringify(lines)).not.toMatch(/\\[rn]/);
    clock.advance(10_000);
    notices.notice({ ...server, state: 'down', detail: 'gone' });
    expect(lines.at(-1)?.fields).toMatchObject({ unreported: 2 });
  });

  it('tell failed TLS handshakes as warnings', () => {
    const { lines, notices } = recorded();
    notices.notice({ kind: 'tls-failure', address: '192.0.2.1', detail: 'unknown ca' });
    expect(lines[0]).toMatchObject({ level: 'warn', fields: { address: '192.0.2.1', detail: 'unknown ca' } });
  });
});
