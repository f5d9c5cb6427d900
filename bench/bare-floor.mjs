/**
 * The bare floor: the least that a relay in JavaScript can do for a call. One datagram socket; each leg gets its own
 * Call-ID, tags, Via and Contact; every message is taken apart once and written anew. No timers, no retransmission,
 * no transactions, no routing, no limits: what is left is the cost of Node's datagrams and of the text itself. The
 * bench runs it beside the gateway, so that the gateway's figure has something to be compared with on the same machine.
 *
 *   node bench/bare-floor.mjs LISTEN_PORT AGENT_PORT
 */
import { createSocket } from 'node:dgram';

const HOST = '127.0.0.1';
const listenPort = Number(process.argv[2]);
const agentPort = Number(process.argv[3]);
if (!(listenPort > 0) || !(agentPort > 0)) {
  process.stderr.write('usage: node bench/bare-floor.mjs LISTEN_PORT AGENT_PORT\n');
  process.exit(2);
}

const CONTACT = `Contact: <sip:${HOST}:${listenPort}>`;
const VIA = `Via: SIP/2.0/UDP ${HOST}:${listenPort};branch=z9hG4bK`;

/** One side of a call. `other` is the side that its messages go to. */
class Leg {
  callId = '';
  port = 0;
  /** Where in-dialog requests to this side are addressed. */
  target = '';
  /** The tag that this side chose, and the one that the other side knows in its place. */
  tag = '';
  shownTag = '';
  /** Via lines of the request this side sent last, by CSeq number and method. */
  vias = new Map();
  /** @type {Leg} */
  other = this;
}

/** @type {Map<string, Leg>} by the Call-ID that a message from this side carries. */
const legs = new Map();
let count = 1_000_000_000;

const socket = createSocket({ type: 'udp4', recvBufferSize: 8_388_608, sendBufferSize: 8_388_608 });

/** @param {string} line @param {Leg} leg the sender @param {boolean} own its own tag, or the other's */
function swapTag(line, leg, own) {
  const at = line.indexOf(';tag=');
  if (at < 0) return line;
  if (own) {
    if (leg.tag === '') {
      leg.tag = line.slice(at + 5);
      leg.shownTag = `f${(++count).toString(36)}`;
    }
    return `${line.slice(0, at)};tag=${leg.shownTag}`;
  }
  return `${line.slice(0, at)};tag=${leg.other.tag}`;
}

/** @param {string} callId @param {number} port */
function open(callId, port) {
  const caller = new Leg();
  const agent = new Leg();
  caller.other = agent;
  agent.other = caller;
  caller.callId = callId;
  caller.port = port;
  agent.callId = `floor-${(++count).toString(36)}@${HOST}`;
  agent.port = agentPort;
  agent.target = `sip:agent@${HOST}:${agentPort}`;
  legs.set(callId, caller);
  legs.set(agent.callId, agent);
  return caller;
}

socket.on('message', (octets, from) => {
  const text = octets.latin1Slice(0, octets.length);
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd < 0) return;
  const lines = text.slice(0, headEnd).split('\r\n');
  const first = lines[0] ?? '';
  const response = first.startsWith('SIP/2.0 ');
  let callId = '';
  let cseq = '';
  let vias = '';
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] ?? '';
    if (line.startsWith('Call-ID: ')) callId = line.slice(9);
    else if (line.startsWith('CSeq: ')) cseq = line.slice(6);
    else if (line.startsWith('Via: ')) vias += `${line}\r\n`;
  }
  let leg = legs.get(callId);
  if (leg === undefined) {
    if (response || !first.startsWith('INVITE ')) return;
    leg = open(callId, from.port);
  }
  const other = leg.other;
  let out;
  if (response) {
    // Back to the side that asked, under the Via lines it asked with.
    out = `${first}\r\n${other.vias.get(cseq) ?? ''}`;
  } else {
    const method = first.slice(0, first.indexOf(' '));
    leg.vias.set(cseq, vias);
    // CANCEL and the ACK of a refusal carry their INVITE's branch, so the branch is made of leg and CSeq number.
    const branch = method === 'CANCEL' ? cseq.replace('CANCEL', 'INVITE') : cseq;
    out = `${method} ${other.target} SIP/2.0\r\n${VIA}${other.callId.slice(0, -10)}${branch.replace(' ', '')}\r\n`;
  }
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i] ?? '';
    switch (line.charCodeAt(0)) {
      case 0x56: // Via
        if (line.startsWith('Via: ')) continue;
        break;
      case 0x46:
        if (line.startsWith('From: ')) {
          out += `${swapTag(line, leg, !response)}\r\n`;
          continue;
        }
        break;
      case 0x54:
        if (line.startsWith('To: ')) {
          out += `${swapTag(line, leg, response)}\r\n`;
          continue;
        }
        break;
      case 0x43:
        if (line.startsWith('Call-ID: ')) {
          out += `Call-ID: ${other.callId}\r\n`;
          continue;
        }
        if (line.startsWith('Contact: ')) {
          leg.target = line.slice(line.indexOf('<') + 1, line.indexOf('>'));
          out += `${CONTACT}\r\n`;
          continue;
        }
        break;
      case 0x58:
        if (line.startsWith('X-Trunkline-Call-Id: ')) continue;
        break;
    }
    out += `${line}\r\n`;
  }
  if (!response && first.startsWith('INVITE ')) out += `X-Trunkline-Call-Id: ${other.callId}\r\n`;
  out += text.slice(headEnd + 2);
  const bytes = Buffer.from(out, 'latin1');
  socket.send(bytes, 0, bytes.length, other.port, HOST);
  if (response && cseq.endsWith('BYE')) {
    legs.delete(leg.callId);
    legs.delete(other.callId);
  }
});

socket.bind(listenPort, HOST, () => process.stdout.write('ready\n'));
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
