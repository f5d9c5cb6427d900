/**
 * A caller that measures INVITE→200 on a clock of nanoseconds; SIPp's own response times come in steps of its
 * scheduler (1 ms and more), which is coarser than what a relay adds. Calls evenly at RATE, acknowledges and hangs up at
 * once, retransmits nothing: a lost answer is counted as lost. Prints one JSON line with the times in microseconds.
 *
 *   node bench/latency-caller.mjs udp|tcp TO_PORT OWN_PORT RATE CALLS NUMBER
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [transport = 'udp', to = '', own = '', rate = '', calls = '', number = ''] = process.argv.slice(2);
const HOST = '127.0.0.1';
const TOTAL = Number(calls);
const STEP_NS = 1e9 / Number(rate);
const SDP =
  'v=0\r\no=caller 7 7 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\n' +
  'a=rtpmap:101 telephone-event/8000\r\na=x-sdp-of:caller\r\n';

/** @type {(text: string) => void} */
let send;
/** INVITE sent at, by call number. */
const sentAt = new Float64Array(TOTAL);
const times = new Float64Array(TOTAL).fill(-1);
let answered = 0;
let finished = 0;

/** @param {number} call @param {string} method @param {number} cseq @param {string} uri @param {string} to */
const request = (call, method, cseq, uri, toValue, body = '') =>
  `${method} ${uri} SIP/2.0\r\nVia: SIP/2.0/${transport.toUpperCase()} ${HOST}:${own};branch=z9hG4bK-${method}-${process.pid}-${call}\r\n` +
  `From: "Caller" <sip:+15551230000@${HOST}:${own}>;tag=t${call}\r\nTo: ${toValue}\r\nCall-ID: caller-id-${call}-${process.pid}@${HOST}\r\n` +
  `CSeq: ${cseq} ${method}\r\nMax-Forwards: 70\r\nContact: <sip:caller-contact@${HOST}:${own};transport=${transport}>\r\n` +
  `${body === '' ? '' : 'Content-Type: application/sdp\r\n'}Content-Length: ${body.length}\r\n\r\n${body}`;

const URI = `sip:${number}@${HOST}:${to}`;

/** @param {string} text @param {string} name */
function header(text, name) {
  const at = text.indexOf(`\r\n${name}: `);
  return at < 0 ? '' : text.slice(at + name.length + 4, text.indexOf('\r\n', at + 2));
}

/** @param {string} text one whole message */
function receive(text) {
  if (!text.startsWith('SIP/2.0 2')) return;
  const now = performance.now();
  const call = Number(header(text, 'Call-ID').split('-')[2]);
  if (header(text, 'CSeq').endsWith('BYE')) {
    finished++;
    if (finished === TOTAL) end();
    return;
  }
  if (times[call] !== -1) return;
  times[call] = (now - (sentAt[call] ?? 0)) * 1_000;
  answered++;
  const contact = header(text, 'Contact');
  const target = contact.slice(contact.indexOf('<') + 1, contact.indexOf('>'));
  const toValue = header(text, 'To');
  send(request(call, 'ACK', 1, target, toValue));
  send(request(call, 'BYE', 2, target, toValue));
}

function end() {
  const measured = [...times].filter((time) => time >= 0);
  process.stdout.write(`${JSON.stringify({ calls: TOTAL, answered, finished, times: measured })}\n`, () =>
    process.exit(0),
  );
}

if (transport === 'udp') {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4_000_000, sendBufferSize: 4_000_000 });
  socket.on('message', (octets) => receive(octets.latin1Slice(0, octets.length)));
  await new Promise((resolve) => socket.bind(Number(own), HOST, () => resolve(undefined)));
  send = (text) => socket.send(Buffer.from(text, 'latin1'), Number(to), HOST);
} else {
  const socket = connect(Number(to), HOST).setNoDelay(true);
  let rest = '';
  socket.on('data', (octets) => {
    rest += octets.latin1Slice(0, octets.length);
    for (;;) {
      const head = rest.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = head + 4 + Number(header(rest.slice(0, head + 2), 'Content-Length'));
      if (rest.length < length) return;
      receive(rest.slice(0, length));
      rest = rest.slice(length);
    }
  });
  await new Promise((resolve) => socket.once('connect', () => resolve(undefined)));
  send = (text) => socket.write(text, 'latin1');
}

let started = 0;
const origin = process.hrtime.bigint();
function turn() {
  const due = Math.min(TOTAL, Math.floor(Number(process.hrtime.bigint() - origin) / STEP_NS));
  while (started < due) {
    sentAt[started] = performance.now();
    send(request(started, 'INVITE', 1, URI, `<${URI}>`, SDP));
    started++;
  }
  if (started < TOTAL) setTimeout(turn, 1);
  else setTimeout(end, 3_000);
}
turn();
