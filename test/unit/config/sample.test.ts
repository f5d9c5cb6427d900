import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { formatFaults } from '#config/faults.js';
import { loadConfig } from '#config/load.js';
import { exampleOf, sampleConfig } from '#config/sample.js';
import { configSchema } from '#config/schema.js';
import { unwrap } from '#directory/walk.js';

/** Every field of every section, with its path. */
function* fields(schema: z.core.$ZodType, path: string): Iterable<[string, z.ZodType]> {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    for (const [name, field] of Object.entries(inner.shape as Record<string, z.ZodType>)) {
      yield [`${path}.${name}`, field];
      yield* fields(field, `${path}.${name}`);
    }
  } else if (inner instanceof z.ZodArray) yield* fields(inner.element, `${path}[]`);
}

const ALL = [...fields(configSchema, '')];

describe('the sample', () => {
  it('in the repository is the generated one (vitest -u writes it)', async () => {
    await expect(sampleConfig()).toMatchFileSnapshot('../../../config/trunkline.yaml');
  });

  it('loads without fault and without any environment variable', () => {
    const loaded = loadConfig('config/trunkline.yaml', { environment: {} });
    if (loaded.kind === 'faults') throw new Error(formatFaults(loaded.faults));
    expect(loaded.config.sip.listen).toMatchObject([
      { transport: 'udp', host: '127.0.0.1', port: 5060 },
      { transport: 'tcp', host: '127.0.0.1', port: 5060 },
    ]);
    const { snapshot } = loaded;
    expect(snapshot.trunksBySource('127.0.0.1').map((trunk) => trunk.id)).toEqual(['carrier-a']);
    const agentId = snapshot.number('carrier-a', '+14155550100')?.inboundAgentId ?? '';
    expect(snapshot.agent(agentId)?.endpoints[0]?.uri).toBe('sip:sales@127.0.0.1:5090');
  });

  it('names every setting', () => {
    const text = readFileSync('config/trunkline.yaml', 'utf8');
    for (const [path] of ALL) {
      const name = path.split('.').at(-1);
      expect(text, path).toMatch(new RegExp(`^[ #-]*${name}:`, 'm'));
    }
  });
});

describe('every setting', () => {
  it.each(ALL)('%s says what it is for', (_path, field) => {
    expect(field.meta()?.description).toMatch(/[.:)]$/);
  });

  it.each(ALL)('%s has an example or default that it takes itself', (path, field) => {
    const example = exampleOf(field);
    if (example === undefined) {
      const inner = unwrap(field);
      expect(inner instanceof z.ZodObject || inner instanceof z.ZodArray, path).toBe(true);
    } else if (!(example instanceof Map)) {
      expect(field.safeParse(example).error?.issues ?? []).toEqual([]);
    }
  });
});
