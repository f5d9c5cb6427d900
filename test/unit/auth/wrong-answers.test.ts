/** Who answers wrongly too often is not looked at for a while; nobody else suffers for it. */
import { expect, it } from 'vitest';
import { WRONG_PER_ADDRESS, WRONG_PER_USER, WrongAnswers } from '#auth/wrong-answers.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const HERE = '203.0.113.1';
const THERE = '203.0.113.2';

it('bounds the answers of one user from one address, and of nobody else', () => {
  const clock = new VirtualClock();
  const wrong = new WrongAnswers(clock);
  for (let i = 0; i < WRONG_PER_USER; i++) {
    expect(wrong.tooMany(HERE, 'pbx')).toBe(false);
    wrong.count(HERE, 'pbx');
  }
  expect(wrong.tooMany(HERE, 'pbx')).toBe(true);
  expect(wrong.tooMany(HERE, 'other')).toBe(false);
  expect(wrong.tooMany(THERE, 'pbx')).toBe(false);
  clock.advance(59_999);
  expect(wrong.tooMany(HERE, 'pbx')).toBe(true);
  clock.advance(1);
  expect(wrong.tooMany(HERE, 'pbx')).toBe(false);
  wrong.count(HERE, 'pbx');
  expect(wrong.tooMany(HERE, 'pbx')).toBe(false);
});

it('bounds those who try many users, by their address', () => {
  const wrong = new WrongAnswers(new VirtualClock());
  for (let i = 0; i < WRONG_PER_ADDRESS; i++) {
    expect(wrong.tooMany(HERE, `user-${i}`)).toBe(false);
    wrong.count(HERE, `user-${i}`);
  }
  expect(wrong.tooMany(HERE, 'fresh')).toBe(true);
  expect(wrong.tooMany(THERE, 'fresh')).toBe(false);
});

it('keeps no more than it may, and who goes on answering wrongly longest', () => {
  const clock = new VirtualClock();
  const wrong = new WrongAnswers(clock);
  for (let i = 0; i < 30_000; i++) wrong.count(`address-${i}`, 'x'.repeat(1_000));
  for (let i = 0; i < WRONG_PER_USER; i++) wrong.count(HERE, 'pbx');
  for (let i = 0; i < 19_000; i++) wrong.count(`other-${i}`, 'x');
  expect(wrong.tooMany(HERE, 'pbx')).toBe(true);
});
