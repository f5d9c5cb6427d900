/** What a process remembers by itself. */
import { expect, it } from 'vitest';
import { TransientMemory } from '#store/transient-memory.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

it('keeps the first value until it expires', async () => {
  const clock = new VirtualClock();
  const memory = new TransientMemory(clock);
  expect(await memory.remember('a', 'one', 1_000)).toBeUndefined();
  clock.advance(999);
  expect(await memory.remember('a', 'two', 1_000)).toBe('one');
  expect(await memory.recall('a')).toBe('one');
  clock.advance(1);
  expect(await memory.recall('a')).toBeUndefined();
  expect(await memory.remember('a', 'three', 1_000)).toBeUndefined();
});

it('replaces and forgets', async () => {
  const memory = new TransientMemory(new VirtualClock());
  await memory.remember('a', 'one', 1_000);
  await memory.replace('a', 'two', 1_000);
  expect(await memory.recall('a')).toBe('two');
  expect(await memory.forget('a')).toBe(true);
  expect(await memory.forget('a')).toBe(false);
});

it('is bounded, and lets the oldest go', async () => {
  const memory = new TransientMemory(new VirtualClock(), 2);
  for (const key of ['a', 'b']) await memory.remember(key, key, 1_000);
  await memory.replace('a', 'again', 1_000);
  await memory.remember('c', 'c', 1_000);
  expect(await memory.recall('b')).toBeUndefined();
  expect(await memory.recall('a')).toBe('again');
});

it('refuses what no store keeps', async () => {
  const memory = new TransientMemory(new VirtualClock());
  await expect(memory.remember('', 'x', 1_000)).rejects.toThrow(RangeError);
  await expect(memory.replace('a', 'x', 0)).rejects.toThrow(RangeError);
});
