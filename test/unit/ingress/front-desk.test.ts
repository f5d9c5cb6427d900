/** What the front desk lets in, answers itself, and sends on. */
import { describe, expect, it } from 'vitest';
import { FakeIncomingInvite, FakeOutsideRequest, request, source } from '../../kit/fake-engine.js';
import { AGENT, CARRIER, Desk, STRANGER } from './kit.js';

function ask(
  desk: Desk,
  method: string,
  lines: readonly string[] = [],
  from = CARRIER,
  uri?: string,
): FakeOutsideRequest {
  const incoming = new FakeOutsideRequest(request(method, lines, '', uri), source(from));
  desk.desk.onRequest(incoming);
  expect(incoming.answers).toBe(1);
  return incoming;
}

function call(desk: Desk, lines: readonly string[] = [], from = CARRIER, uri?: string): void {
  desk.desk.onInvite(new FakeIncomingInvite(request('INVITE', lines, '', uri), source(from)));
}

describe('an INVITE', () => {
  it('is routed and handed on', () => {
    const desk = new Desk();
    call(desk);
    expect(desk.handled).toEqual([desk.decision]);
    expect(desk.refused).toEqual([]);
  });

  it.each([
    ['an unknown scheme', [], 416, 'bad_request', 'mailto:a@b'],
    ['an unknown extension', ['Require: 100rel, timer, telepathy'], 420, 'not_supported', undefined],
    ['no hops left', ['Max-Forwards: 0'], 483, 'too_many_hops', undefined],
    ['a marker of ours', ['X-Trunkline-Call-Id: ours'], 482, 'loop_detected', undefined],
  ])('with %s is refused before routing', (_what, lines, status, code, uri) => {
    const desk = new Desk();
    call(desk, lines, CARRIER, uri);
    expect(desk.refused).toMatchObject([{ status, code }]);
    expect(desk.routed).toEqual([]);
    expect(desk.handled).toEqual([]);
  });

  it('is told which extension is not understood', () => {
    const desk = new Desk();
    call(desk, ['Require: telepathy']);
    expect(desk.refused[0]!.headers).toEqual([{ name: 'Unsupported', value: 'telepathy' }]);
  });

  it('of a stranger learns nothing but the decision', () => {
    const desk = new Desk();
    call(desk, ['Require: telepathy', 'Max-Forwards: 0'], STRANGER);
    expect(desk.refused).toEqual([]);
    expect(desk.handled).toHaveLength(1);
  });

  it("to a Contact that we registered is no stranger's, and neither is what follows", () => {
    const desk = new Desk();
    call(desk, ['Max-Forwards: 0'], STRANGER, 'sip:reg_ours@192.0.2.1');
    expect(desk.refused).toMatchObject([{ status: 483 }]);
    expect(desk.screen.isKnown(STRANGER)).toBe(true);
    const other = new Desk();
    call(other, ['Max-Forwards: 0'], STRANGER, 'sip:reg_other@192.0.2.1');
    expect(other.screen.isKnown(STRANGER)).toBe(false);
  });

  it('is answered when routing breaks', () => {
    const desk = new Desk();
    desk.decision = new Error('a bug');
    call(desk);
    expect(desk.refused).toMatchObject([{ status: 500, code: 'internal_error' }]);
  });
});

describe('OPTIONS', () => {
  it('is answered with what the gateway can do', () => {
    const desk = new Desk();
    const options = ask(desk, 'OPTIONS', ['Max-Forwards: 0']);
    expect(options.status).toBe(200);
    expect(options.headers).toMatchObject({
      accept: 'application/sdp, */*;q=0.5',
      'accept-encoding': 'identity',
      'accept-language': 'en',
    });
    for (const method of ['INVITE', 'ACK', 'CANCEL', 'BYE', 'OPTIONS', 'PRACK', 'UPDATE', 'INFO']) {
      expect(options.headers.allow!.split(', ')).toContain(method);
    }
    expect(options.headers.supported!.split(', ')).toEqual(expect.arrayContaining(['100rel', 'timer']));
    expect(desk.answered).toEqual(['OPTIONS 200']);
  });

  it('is 503 while the gateway drains or is not ready', () => {
    const desk = new Desk();
    desk.draining = true;
    expect(ask(desk, 'OPTIONS')).toMatchObject({
      status: 503,
      headers: { 'retry-after': '5', 'x-trunkline-reason': 'draining' },
    });
    desk.draining = false;
    desk.ready = false;
    expect(ask(desk, 'OPTIONS')).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
  });

  it('is inspected as any request', () => {
    expect(ask(new Desk(), 'OPTIONS', ['Require: telepathy'])).toMatchObject({
      status: 420,
      headers: { unsupported: 'telepathy' },
    });
  });

  it('is answered for agents', () => {
    expect(ask(new Desk(), 'OPTIONS', [], AGENT).status).toBe(200);
  });
});

describe('other requests outside a dialog', () => {
  it.each([
    ['REGISTER', [], 405],
    ['SUBSCRIBE', ['Event: presence'], 489],
    ['NOTIFY', ['Event: message-summary', 'Subscription-State: terminated'], 200],
    ['NOTIFY', ['o: Message-Summary;id=1'], 200],
    ['NOTIFY', ['Event: dialog'], 481],
    ['NOTIFY', ['Event: weather'], 489],
    ['NOTIFY', [], 489],
    ['MESSAGE', [], 405],
    ['PUBLISH', [], 405],
    ['REFER', [], 405],
    ['BYE', [], 481],
    ['PRACK', [], 481],
    ['UPDATE', [], 481],
    ['INFO', [], 481],
    ['BREW', [], 501],
  ])('%s %j: %i', (method, lines, status) => {
    const desk = new Desk();
    const incoming = ask(desk, method, lines);
    expect(incoming.status).toBe(status);
    if (status === 405 || status === 501) expect(incoming.headers.allow).toBe('INVITE, ACK, CANCEL, OPTIONS');
    expect(desk.answered[0]).toMatch(new RegExp(`^${method === 'BREW' ? 'other' : method} ${status}`));
  });

  it('are forbidden to strangers, whatever they are', () => {
    for (const method of ['OPTIONS', 'REGISTER', 'NOTIFY', 'BREW']) {
      expect(ask(new Desk(), method, [], STRANGER)).toMatchObject({
        status: 403,
        headers: { 'x-trunkline-reason': 'unknown_source' },
      });
    }
  });
});

describe('the screen', () => {
  it('knows trunks, agents by address, and where calls go', () => {
    const { screen } = new Desk();
    expect(screen.screen(source(CARRIER))).toBe('known');
    expect(screen.screen(source(AGENT))).toBe('known');
    expect(screen.screen(source('192.0.2.77'))).toBe('stranger');
    screen.expect('192.0.2.77');
    expect(screen.screen(source('192.0.2.77'))).toBe('known');
  });

  it('follows the directory', () => {
    const desk = new Desk();
    expect(desk.screen.isKnown(CARRIER)).toBe(true);
    desk.directory.current = {
      version: 2,
      isKnownSource: (address) => address === STRANGER,
      agents: () => [],
    };
    expect(desk.screen.isKnown(CARRIER)).toBe(false);
    expect(desk.screen.isKnown(AGENT)).toBe(false);
    expect(desk.screen.isKnown(STRANGER)).toBe(true);
  });

  it('drops strangers when told so', () => {
    const desk = new Desk({ unknownSources: 'drop' });
    expect(desk.screen.screen(source(STRANGER))).toBe('drop');
    expect(desk.screen.screen(source(CARRIER))).toBe('known');
    expect(desk.drops).toEqual(['unknown_source']);
  });

  it('bounds one address, and is generous again in the next second', () => {
    const desk = new Desk({ strangerRatePerAddress: 3, strangerRate: 100 });
    const say = (): string => desk.screen.screen(source(STRANGER));
    expect([say(), say(), say(), say(), say()]).toEqual(['stranger', 'stranger', 'stranger', 'drop', 'drop']);
    expect(desk.drops).toEqual(['address_rate', 'address_rate']);
    expect(desk.screen.screen(source('203.0.113.67'))).toBe('stranger');
    desk.clock.advance(1000);
    expect(say()).toBe('stranger');
    expect(desk.strangers).toBe(5);
  });

  it('bounds all strangers together, of whom one that floods takes only its share', () => {
    const desk = new Desk({ strangerRatePerAddress: 5, strangerRate: 10 });
    for (let i = 0; i < 1000; i++) desk.screen.screen(source(STRANGER));
    expect(desk.strangers).toBe(5);
    const others = Array.from({ length: 8 }, (_, i) => desk.screen.screen(source(`203.0.113.${100 + i}`)));
    expect(others.filter((standing) => standing === 'stranger')).toHaveLength(5);
    expect(desk.drops.filter((cause) => cause === 'stranger_rate')).toHaveLength(3);
    for (let i = 0; i < 100; i++) expect(desk.screen.screen(source(CARRIER))).toBe('known');
  });
});
