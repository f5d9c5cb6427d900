/** Via values, also as RFC 5118 and RFC 3581 have them. */
import { expect, test } from 'vitest';
import { splitList } from '#sip/lists.js';
import { parseVia } from '#sip/via.js';

test.each([
  [
    'SIP/2.0/UDP h',
    {
      transport: 'UDP',
      host: 'h',
      port: undefined,
      branch: undefined,
      rport: undefined,
      received: undefined,
    },
  ],
  [
    'SIP/2.0/tcp h:5070;branch=z9hG4bK1;rport',
    { transport: 'TCP', host: 'h', port: 5070, branch: 'z9hG4bK1', rport: '' },
  ],
  [
    'SIP / 2.0 / TLS \t h : 5061 ; branch = b ; rport = 7 ; received = 192.0.2.1',
    { transport: 'TLS', host: 'h', port: 5061, branch: 'b', rport: '7', received: '192.0.2.1' },
  ],
  ['SIP/2.0/UNKNOWN h', { transport: 'UNKNOWN' }],
  ['SIP/7.0/UDP h;branch=b', { transport: 'UDP', host: 'h', branch: 'b' }],
  [
    'SIP/2.0/UDP [2001:db8::9:1]:6050;received=[2001:db8::9:255];branch=b',
    { host: '2001:db8::9:1', port: 6050, received: '2001:db8::9:255' },
  ],
  [
    'SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=b',
    { received: '2001:db8::9:255', branch: 'b' },
  ],
  ['SIP/2.0/UDP h;x="a,;b";BRANCH=c', { branch: 'c' }],
])('%s', (value, expected) => {
  expect(parseVia(value)).toMatchObject(expected);
  expect(parseVia(value)?.raw).toBe(value);
});

test('only the first value is read, and cut out as written', () => {
  expect(parseVia(' SIP/2.0/UDP a;x="," ;branch=1 , what ever')?.raw).toBe('SIP/2.0/UDP a;x="," ;branch=1');
  expect(splitList('SIP/2.0/UDP a;x="," ,SIP/2.0/TCP b')).toEqual(['SIP/2.0/UDP a;x=","', 'SIP/2.0/TCP b']);
});

test.each([
  '',
  'SIP',
  'SIP/2.0',
  'SIP/2.0/UDP',
  'SIP/2.0/UDP ',
  'SIP/2.0 UDP h',
  'SIP/2.0/ h',
  '/2.0/UDP h',
  'SIP//UDP h',
  'SIP/2.0/UDP h:',
  'SIP/2.0/UDP h:0',
  'SIP/2.0/UDP h:65536',
  'SIP/2.0/UDP h:1x',
  'SIP/2.0/UDP h i',
  'SIP/2.0/UDP [::1',
  'SIP/2.0/UDP []',
  'SIP/2.0/UDP ::1',
  'SIP/2.0/UDP h;',
  'SIP/2.0/UDP h;;branch=1',
  'SIP/2.0/UDP h;branch',
  'SIP/2.0/UDP h;branch=',
  'SIP/2.0/UDP h;branch="b"',
  'SIP/2.0/UDP h;branch=a;branch=b',
  'SIP/2.0/UDP h;x="',
  'SIP/2.0/UDP <h>',
])('%j is refused', (value) => {
  expect(parseVia(value)).toBeUndefined();
});
