import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Framer, type FrameSink, type FramingProblem } from '#engine/embedded/transport/framing.js';
import { message } from './rig.js';

const LIMITS = { headBytes: 2_000, messageBytes: 4_000 };

class Recorder implements FrameSink {
  readonly frames: string[] = [];
  readonly failures: { head: string; status: number; detail: string }[] = [];
  pings = 0;

  onFrame(bytes: Buffer, start: number, end: number): void {
    this.frames.push(bytes.toString('latin1', start, end));
  }

  onPing(): void {
    this.pings++;
  }

  onUnframeable(head: string, problem: FramingProblem): void {
    this.failures.push({ head, ...problem });
  }
}

function framed(
  octets: string,
  cuts: readonly number[] = [],
  limits = LIMITS,
): Recorder & { partial: boolean } {
  const recorder = new Recorder();
  const framer = new Framer(limits, recorder);
  const bytes = Buffer.from(octets, 'latin1');
  const points = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const to of points) {
    // A copy, as the buffers of a socket are reused.
    const chunk = Buffer.from(bytes.subarray(from, to));
    framer.push(chunk);
    chunk.fill(0);
    from = to;
  }
  return Object.assign(recorder, { partial: framer.partial });
}

const everyOctet = (octets: string): number[] => Array.from({ length: octets.length }, (_, i) => i);

const body = fc.oneof(
  fc.constantFrom('', '\r\n', '\r\n\r\n', 'l: 5\r\n\r\n', message('inside', 'body')),
  fc.uint8Array({ maxLength: 60 }).map((octets) => Buffer.from(octets).toString('latin1')),
);
const lengthName = fc.constantFrom(
  'Content-Length',
  'l',
  'CONTENT-LENGTH',
  'content-length ',
  'L\t',
  'Content-Length:\r\n ',
);
const whole = fc.record({ id: fc.nat(), body, name: lengthName }).map(({ id, body, name }) => {
  const folded = name.endsWith('\r\n ');
  const text = message(`${id}`, body, folded ? 'Content-Length' : name);
  return folded ? text.replace('Content-Length: ', name) : text;
});
const gap = fc.constantFrom('', '', '\r\n', '\r\n\r\n', '\r\n\r\n\r\n', '\n');

describe('framing', () => {
  it('gives the same messages whatever the segments are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(gap, whole), { maxLength: 6 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (parts, cuts) => {
          const octets = parts.flat().join('');
          const expected = parts.map(([, text]) => text);
          for (const segments of [cuts, [], everyOctet(octets)]) {
            const result = framed(octets, segments);
            expect(result.frames).toEqual(expected);
            expect(result.failures).toEqual([]);
            expect(result.partial).toBe(false);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('never throws, and comes to one end, whatever arrives', () => {
    const piece = fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      ' ',
      ':',
      'l',
      'Content-Length',
      '0',
      '99999',
      '-1',
      'x',
      '\0',
      '\xff',
      'A b SIP/2.0\r\n',
    );
    const noise = fc.oneof(
      fc.array(piece, { maxLength: 60 }).map((pieces) => pieces.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(noise, fc.array(fc.nat(), { maxLength: 8 }), (octets, cuts) => {
        const inOne = framed(octets);
        const cut = framed(octets, cuts);
        expect(cut.frames).toEqual(inOne.frames);
        expect(cut.failures).toEqual(inOne.failures);
        expect(inOne.failures.length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });

  it('knows that a message has begun and is not whole', () => {
    const text = message('half', 'body');
    expect(framed(text.slice(0, 1)).partial).toBe(true);
    expect(framed(text.slice(0, -1)).partial).toBe(true);
    expect(framed('\r\n\r\n').partial).toBe(false);
    expect(framed(text).partial).toBe(false);
  });

  it('sees a ping in a double CRLF between messages only, and answers a flood of them once', () => {
    expect(framed('\r\n\r\n').pings).toBe(1);
    expect(framed('\r\n\r\n', everyOctet('\r\n\r\n')).pings).toBe(1);
    expect(framed('\r\n').pings).toBe(0);
    expect(framed(message('x', '\r\n\r\n')).pings).toBe(0);
    expect(framed('\r\n'.repeat(20_000)).pings).toBe(1);
  });

  it('refuses a message without a length that can be believed', () => {
    const head = (line: string): string => `OPTIONS sip:a SIP/2.0\r\nVia: v\r\n${line}\r\n`;
    const refused: readonly (readonly [line: string, detail: RegExp])[] = [
      ['', /missing/],
      ['X-Content-Length: 3\r\n', /missing/],
      [' Content-Length: 3\r\n', /missing/],
      ['Content-Lengths: 3\r\n', /missing/],
      ['Language: 3\r\n', /missing/],
      ['Content-Length: -3\r\n', /malformed/],
      ['Content-Length:\r\n', /malformed/],
      ['Content-Length: 3 4\r\n', /malformed/],
      ['Content-Length: 3x\r\n', /malformed/],
      ['Content-Length: 3, 3\r\n', /malformed/],
      ['Content-Length: 0x3\r\n', /malformed/],
      ['Content-Length: 3\r\nl: 4\r\n', /contradicts/],
      ['l: 3\r\nContent-Length: three\r\n', /malformed/],
    ];
    for (const [line, detail] of refused) {
      const { failures, frames } = framed(`${head(line)}abcdef`);
      expect(failures, line).toEqual([
        { head: head(line), status: 400, detail: expect.stringMatching(detail) },
      ]);
      expect(frames).toEqual([]);
    }
    expect(framed(`${head('l: 3\r\nContent-Length: 3\r\n')}abc`).frames).toHaveLength(1);
  });

  it('refuses what cannot be SIP at its first octet', () => {
    for (const octets of ['\x16\x03\x01\x02\x00\x01', '\0', ' OPTIONS', '<html>', '\xff']) {
      expect(framed(octets).failures).toEqual([{ head: '', status: 400, detail: 'not a SIP message' }]);
    }
  });

  it('refuses a head over its bound as soon as it is, with the lines it has', () => {
    const start = 'OPTIONS sip:a SIP/2.0\r\nVia: v\r\n';
    const endless = `${start}X: ${'a'.repeat(LIMITS.headBytes)}`;
    for (const cuts of [[], everyOctet(endless)]) {
      const { failures } = framed(endless, cuts);
      expect(failures).toEqual([
        { head: `${start}\r\n`, status: 513, detail: expect.stringContaining('2000') },
      ]);
    }
    const complete = `${endless}\r\nContent-Length: 0\r\n\r\n`;
    expect(framed(complete).failures).toHaveLength(1);
    const rest = `\r\nl: 0\r\n\r\n`;
    const exact = `${start}X: ${'a'.repeat(LIMITS.headBytes - start.length - rest.length - 3)}${rest}`;
    expect(exact).toHaveLength(LIMITS.headBytes);
    expect(framed(exact).frames).toEqual([exact]);
  });

  it('refuses a body over its bound when it is announced', () => {
    for (const length of ['4000', '999999999', '9'.repeat(400)]) {
      const head = `OPTIONS sip:a SIP/2.0\r\nContent-Length: ${length}\r\n\r\n`;
      expect(framed(head).failures).toEqual([{ head, status: 513, detail: expect.stringContaining('4000') }]);
    }
    const bare = 'OPTIONS sip:a SIP/2.0\r\nContent-Length: \r\n\r\n'.length + 4;
    const fits = `OPTIONS sip:a SIP/2.0\r\nContent-Length: ${4_000 - bare}\r\n\r\n${'b'.repeat(4_000 - bare)}`;
    expect(fits.length).toBe(LIMITS.messageBytes);
    expect(framed(fits).frames).toEqual([fits]);
  });

  it('stops from inside a callback', () => {
    const recorder = new Recorder();
    const framer: Framer = new Framer(LIMITS, {
      onFrame: (bytes, start, end) => {
        recorder.onFrame(bytes, start, end);
        framer.stop();
      },
      onPing: () => undefined,
      onUnframeable: (head, problem) => recorder.onUnframeable(head, problem),
    });
    framer.push(Buffer.from(message('one') + message('two') + message('three').slice(0, 20), 'latin1'));
    framer.push(Buffer.from(message('four'), 'latin1'));
    expect(recorder.frames).toEqual([message('one')]);
    expect(recorder.failures).toEqual([]);
    expect(framer.partial).toBe(false);
  });

  it('copies each octet a bounded number of times, also when they come one by one', () => {
    const copied = { octets: 0 };
    const original = Buffer.prototype.copy;
    Buffer.prototype.copy = function (
      this: Buffer,
      target: Uint8Array,
      targetStart?: number,
      sourceStart = 0,
      sourceEnd = this.length,
    ) {
      copied.octets += sourceEnd - sourceStart;
      return original.call(this, target, targetStart, sourceStart, sourceEnd);
    };
    try {
      const octets = message('long', 'b'.repeat(60_000));
      expect(
        framed(octets, everyOctet(octets), { headBytes: 2_000, messageBytes: 65_536 }).frames,
      ).toHaveLength(1);
      expect(copied.octets).toBeLessThan(octets.length * 4);
      expect(copied.octets).toBeGreaterThan(0);
    } finally {
      Buffer.prototype.copy = original;
    }
  });
});
