/** The dry run says what a call would meet, with the sample configuration's directory. */
import { describe, expect, it } from 'vitest';
import { loadConfig } from '#config/load.js';
import { explainInbound } from '#http/explain.js';

const loaded = loadConfig('config/trunkline.yaml', { environment: {} });
if (loaded.kind !== 'config') throw new Error('the sample configuration is faulty');
const { snapshot } = loaded;
const explain = (to: string, source = '127.0.0.1', from?: string) =>
  explainInbound(snapshot, { to, from, source }, () => 0);

describe('explain', () => {
  it.each([
    '+14155550100',
    '14155550100',
    'sip:+14155550100@example.com',
    'tel:+14155550100',
    '+1 415 555 0100',
  ])('%s is routed, step by step', (to) => {
    const answer = explain(to);
    expect(answer).toMatchObject({
      decision: 'route',
      status: null,
      code: null,
      trunkId: 'carrier-a',
      agentId: 'sales',
      did: '+14155550100',
      endpoints: ['sip:sales@127.0.0.1:5090'],
    });
    expect(typeof answer !== 'string' && answer.explanation.length).toBeGreaterThan(2);
  });

  it('names the first test that fails', () => {
    expect(explain('+14155550199')).toMatchObject({
      decision: 'refuse',
      status: 404,
      code: 'unknown_number',
    });
    const stranger = explain('+14155550100', '192.0.2.1');
    expect(stranger).toMatchObject({
      decision: 'refuse',
      status: 403,
      code: 'unknown_source',
      trunkId: null,
    });
    const outcomes = typeof stranger === 'string' ? [] : stranger.explanation.map(({ outcome }) => outcome);
    expect(outcomes).toContain('fail');
  });

  it.each(['', ' ', 'a\r\nVia: b', 'sip:', 'sip:a b@c', 'x>y<sip:z@w', '\u0000', 'name ü'])(
    '%j never breaks the INVITE that is made of it',
    (text) => {
      for (const answer of [explain(text), explain('+14155550100', '127.0.0.1', text)]) {
        if (typeof answer === 'string') expect(answer).toMatch(/^(to|from)/);
        else expect(answer.decision).toMatch(/route|refuse/);
      }
    },
  );
});
