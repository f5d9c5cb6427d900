import { describe, expect, it } from 'vitest';
import { Turns } from '#http/turns.js';

const round = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('come in order, a few in each round of the event loop', async () => {
    const turns = new Turns();
    const had: number[] = [];
    for (let n = 0; n < 1_000; n++) void turns.take().then(() => had.push(n));
    let rounds = 0;
    let before = 0;
    while (had.length < 1_000) {
      await round();
      rounds++;
      expect(had.length - before).toBeLessThanOrEqual(2);
      before = had.length;
    }
    expect(had).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
    expect(rounds).toBeGreaterThanOrEqual(500);
  });

  it('go on when others have come and gone', async () => {
    const turns = new Turns();
    for (let n = 0; n < 10; n++) await turns.take();
    await round();
    await Promise.all([turns.take(), turns.take(), turns.take()]);
  });
});
