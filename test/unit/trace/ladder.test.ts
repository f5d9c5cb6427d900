import { describe, expect, it } from 'vitest';
import { ladder, messageText, startLine } from '#trace/ladder.js';
import { message, traced } from './kit.js';

describe('a ladder', () => {
  it('has a line for each message, then the messages', () => {
    const request = traced(message('one'), { callId: 'one' });
    const response = traced('SIP/2.0 200 OK\r\nCall-ID: two\r\nContent-Length: 0\r\n\r\n', {
      direction: 'out',
      callId: 'two',
      address: '2001:db8::1',
    });
    const text = ladder({ messages: [request, response], lostUntil: undefined }, (callId) =>
      callId === 'one' ? 'caller' : 'attempt 1',
    );
    const [first, second, blank] = text.split('\n');
    expect(first).toBe(
      '2030-01-01T12:00:00.250Z  caller     <-  udp 192.0.2.1:5080      OPTIONS sip:a@192.0.2.9',
    );
    expect(second).toBe('2030-01-01T12:00:00.250Z  attempt 1  ->  udp [2001:db8::1]:5080  200 OK');
    expect(blank).toBe('');
    expect(text).toContain('\nSIP/2.0 200 OK\nCall-ID: two\nContent-Length: 0\n');
    expect(text).not.toContain('\r');
  });

  it('says what is lost, and when nothing is there', () => {
    const lostUntil = Date.UTC(2030, 0, 1);
    expect(ladder({ messages: [], lostUntil }, () => '')).toBe(
      'Messages from before 2030-01-01T00:00:00.000Z may have been given up.\nThere are no messages.\n',
    );
    expect(messageText(traced('OPTIONS a\r\n', { length: 100 }))).toContain('[89 more octets are not kept]');
  });

  it('shows UTF-8 as text and escapes what a terminal would obey', () => {
    const hostile = traced('MESSAGE sip:a\x1b[2J SIP/2.0\r\nSubject: J\xc3\xbcrgen\x07\r\n\r\n');
    expect(startLine(hostile.octets)).toBe('MESSAGE sip:a\\x1b[2J');
    expect(messageText(hostile)).toContain('Subject: Jürgen\\x07');
  });

  it('masks credentials', () => {
    const octets = message('one', ['Authorization: Digest username="u", response="SECRET"']);
    expect(ladder({ messages: [traced(octets)], lostUntil: undefined }, () => '')).not.toContain('SECRET');
  });
});
