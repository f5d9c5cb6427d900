/**
 * Asks the management API at even distances, whatever it answers, and prints the times as JSON when all is answered. Times
 * count from the moment when a request was due, so that a server that stands still is not let off.
 *
 * node api-caller.mjs HTTP_PORT TOKEN READS_PER_SECOND WRITES_PER_SECOND SECONDS IDS
 */
import { Agent, request } from 'node:http';

const [port = '', token = '', reads = '', writes = '', seconds = '', ids = ''] = process.argv.slice(2);
const numbers = ids.split(',');
const agent = new Agent({ keepAlive: true, maxSockets: 64, scheduling: 'fifo' });
/** Every tenth read is a list. */
const LIST_EVERY = 10;

/** @typedef {{times: number[], failed: number, sent: number}} Tally */
/** @type {Record<'read' | 'write', Tally>} */
const tallies = { read: { times: [], failed: 0, sent: 0 }, write: { times: [], failed: 0, sent: 0 } };
let open = 0;

/** @param {'read' | 'write'} kind @param {number} due */
function ask(kind, due) {
  const tally = tallies[kind];
  const n = tally.sent++;
  const path =
    kind === 'read' && n % LIST_EVERY === 0
      ? '/api/v1/phone-numbers?limit=20'
      : `/api/v1/phone-numbers/${numbers[(n * 7_919) % numbers.length]}`;
  const body = kind === 'write' ? JSON.stringify({ displayName: `Edit ${n}` }) : '';
  open++;
  let counted = false;
  /** @param {boolean} well */
  const done = (well) => {
    if (counted) return;
    counted = true;
    open--;
    tally.times.push(performance.now() - due);
    if (!well) tally.failed++;
  };
  const sent = request(
    {
      ...{ host: '127.0.0.1', port: Number(port), path, agent, method: kind === 'read' ? 'GET' : 'PATCH' },
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === ''
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    },
    (response) => {
      response.resume();
      response.once('close', () => done(response.statusCode === 200));
    },
  );
  sent.once('error', () => done(false));
  sent.end(body);
}

const start = performance.now();
const until = start + Number(seconds) * 1_000;
/** @param {'read' | 'write'} kind @param {number} rate */
function turn(kind, rate) {
  const due = () => start + (tallies[kind].sent * 1_000) / rate;
  const now = performance.now();
  while (due() <= now && due() < until) ask(kind, due());
}

const timer = setInterval(() => {
  turn('read', Number(reads));
  turn('write', Number(writes));
  const now = performance.now();
  // What is not answered ten seconds after the last one counts as failed.
  if (now < until || (open > 0 && now < until + 10_000)) return;
  clearInterval(timer);
  agent.destroy();
  process.stdout.write(`${JSON.stringify({ ...tallies, unanswered: open })}\n`, () => process.exit(0));
}, 1);
