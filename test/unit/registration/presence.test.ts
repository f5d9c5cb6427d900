/** Subscriptions of registered accounts against a server that a test plays; hours pass at once. */
import { describe, expect, it } from 'vitest';
import { Secret } from '#directory/secret.js';
import type {
  Engine,
  IncomingRequest,
  RequestOutcome,
  SubscriptionEvents,
  SubscriptionOptions,
  Target,
} from '#engine/engine.js';
import { SeededIds } from '#lib/ids.js';
import { silentLogger } from '#lib/logger.js';
import type { WatchedAccount } from '#registration/presence/follower.js';
import { Presence } from '#registration/presence/presence.js';
import type { PresenceView, SubscriptionView } from '#registration/presence/presence-view.js';
import type { HeaderField } from '#sip/message.js';
import { request, response, source } from '../../kit/fake-engine.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

const ADDRESS = '198.51.100.7';
const TARGET: Target = { transport: 'udp', address: ADDRESS, port: 5060 };
const ACCOUNT: WatchedAccount = {
  id: 'r1',
  organizationId: 'default',
  aor: 'sip:200@pbx.example',
  target: TARGET,
  contactUser: 'reg_token',
  credentials: { username: '200', password: new Secret('pw') },
};
const MINUTE = 60_000;
const CHALLENGE = 'WWW-Authenticate: Digest realm="pbx.example",nonce="n1",qop="auth"';

/** One dialog at the server. */
class Leg {
  readonly options: SubscriptionOptions;
  readonly sent: { at: number; headers: Map<string, string>; done: (outcome: RequestOutcome) => void }[] = [];
  closed = false;
  /** Where the next SUBSCRIBE would go. */
  nextTarget: Target;
  readonly #events: SubscriptionEvents;

  constructor(options: SubscriptionOptions, events: SubscriptionEvents) {
    this.options = options;
    this.nextTarget = options.target;
    this.#events = events;
  }

  get package(): string {
    return this.sent[0]?.headers.get('Event') ?? '';
  }

  get last(): Leg['sent'][number] {
    const last = this.sent.at(-1);
    if (last === undefined) throw new Error('nothing was sent');
    return last;
  }

  answer(status: number, lines: readonly string[] = [], from = ADDRESS): void {
    this.last.done({ kind: 'response', response: response(status, lines), source: source(from) });
  }

  lose(): void {
    this.#events.onLost?.('the server is away');
  }

  /** Gives the status that the NOTIFY was answered with. */
  notify(body: string, lines: readonly string[] = []): number {
    let status = 0;
    const type = this.package === 'dialog' ? 'application/dialog-info+xml' : 'application/pidf+xml';
    const own = [
      'Subscription-State: active;expires=3600',
      `Event: ${this.package}`,
      `Content-Type: ${type}`,
    ];
    const names = lines.map((line) => line.slice(0, line.indexOf(':')));
    const kept = own.filter((line) => !names.some((name) => line.startsWith(`${name}:`)));
    const notify: IncomingRequest = {
      request: request('NOTIFY', [...kept, ...lines], body),
      source: source(ADDRESS),
      respond: (answer) => {
        status ||= answer;
      },
    };
    this.#events.onNotify(notify);
    return status;
  }
}

class Rig {
  readonly clock = new VirtualClock();
  readonly legs: Leg[] = [];
  readonly heard: PresenceView[] = [];
  readonly notifies: string[] = [];
  account: WatchedAccount | undefined = ACCOUNT;
  readonly engine: Pick<Engine, 'subscribe'> = {
    subscribe: (options, events) => {
      const leg = new Leg(options, events);
      this.legs.push(leg);
      return {
        next: () => ({ uri: options.uri, target: leg.nextTarget }),
        send: (headers: readonly HeaderField[], done) => {
          const fields = new Map(headers.map(({ name, value }) => [name, value]));
          leg.sent.push({ at: this.clock.now(), headers: fields, done });
        },
        close: () => {
          leg.closed = true;
        },
      };
    },
  };
  readonly presence: Presence;

  constructor(engine?: Pick<Engine, 'subscribe'>) {
    this.presence = new Presence({
      engine: engine ?? this.engine,
      clock: this.clock,
      ids: new SeededIds(1),
      random: () => 0.5,
      accountOf: () => this.account,
      observer: {
        presenceChanged: (_subject, view) => this.heard.push(view),
        notifyTaken: (outcome) => this.notifies.push(outcome),
      },
      log: silentLogger,
    });
  }

  /** Registered: the SUBSCRIBEs of both packages have been sent. */
  begin(): { dialog: Leg; presence: Leg } {
    this.presence.registered('r1', true);
    this.clock.advance(20);
    return { dialog: this.leg('dialog'), presence: this.leg('presence') };
  }

  /** The latest one of a package. */
  leg(kind: string): Leg {
    const leg = this.legs.findLast((each) => each.package === kind);
    if (leg === undefined) throw new Error(`no subscription to ${kind}`);
    return leg;
  }

  view(): PresenceView {
    const view = this.presence.ofRegistration('r1');
    if (view === undefined) throw new Error('not watched');
    return view;
  }

  subscription(kind: SubscriptionView['package'] = 'dialog'): SubscriptionView {
    return this.view().subscriptions.find((each) => each.package === kind)!;
  }
}

const info = (version: number, state: string, dialogs = ''): string =>
  `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="${version}" state="${state}">${dialogs}</dialog-info>`;
const call = '<dialog id="c1"><state>confirmed</state></dialog>';
const pidf = (basic: string): string =>
  `<presence xmlns="urn:ietf:params:xml:ns:pidf"><tuple id="t"><status><basic>${basic}</basic></status></tuple></presence>`;

describe('presence', () => {
  it('subscribes to both packages at the registrar, and takes what they tell', () => {
    const rig = new Rig();
    const { dialog, presence } = rig.begin();
    expect(dialog.options).toEqual({
      uri: 'sip:200@pbx.example',
      target: TARGET,
      from: '<sip:200@pbx.example>',
      to: '<sip:200@pbx.example>',
      contactUser: 'reg_token',
    });
    expect(Object.fromEntries(dialog.last.headers)).toEqual({
      Event: 'dialog',
      Accept: 'application/dialog-info+xml',
      Expires: '3600',
    });
    expect(presence.last.headers.get('Accept')).toBe('application/pidf+xml');
    expect(rig.subscription().state).toBe('pending');
    dialog.answer(200, ['Expires: 1800']);
    presence.answer(202, ['Expires: 600']);
    expect(rig.view()).toMatchObject({ busy: null, available: null, updatedAt: null });
    expect(dialog.notify(info(0, 'full', call))).toBe(200);
    expect(presence.notify(pidf('open'))).toBe(200);
    expect(rig.view()).toMatchObject({
      registrationId: 'r1',
      busy: true,
      available: true,
      dialogs: [{ id: 'c1', state: 'confirmed' }],
      tuples: [{ id: 't', basic: 'open' }],
      subscriptions: [
        { package: 'dialog', state: 'active', expiresAt: '2030-01-01T00:30:00.020Z', notifies: 1 },
        { package: 'presence', state: 'active', expiresAt: '2030-01-01T00:10:00.020Z' },
      ],
    });
    expect(rig.heard.map(({ busy, available }) => [busy, available])).toEqual([
      [true, null],
      [true, true],
    ]);
    expect(rig.notifies).toEqual(['taken', 'taken']);
    expect(rig.presence.counts()).toEqual(new Map([['active', 2]]));
  });

  it('refreshes inside the dialog before the granted time is over', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 600']);
    dialog.notify(info(0, 'full'));
    rig.clock.advance(10 * MINUTE);
    expect(dialog.sent).toHaveLength(2);
    expect(dialog.last.at).toBeGreaterThan(7 * MINUTE);
    expect(dialog.last.at).toBeLessThan(9.5 * MINUTE);
    expect(rig.legs.filter((leg) => leg.package === 'dialog')).toHaveLength(1);
  });

  it('begins anew, slower and slower, where no NOTIFY follows the 2xx (Timer N)', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    rig.clock.advance(31_900);
    expect(rig.subscription().state).toBe('active');
    rig.clock.advance(200);
    expect(rig.subscription()).toMatchObject({
      state: 'retrying',
      detail: 'the server took the SUBSCRIBE and sent no NOTIFY within 32 s',
    });
    expect(dialog.closed).toBe(true);
    const starts: number[] = [];
    let last: Leg = dialog;
    for (let minute = 0; minute < 120; minute++) {
      rig.clock.advance(MINUTE);
      const leg = rig.leg('dialog');
      if (leg !== last) {
        last = leg;
        starts.push(leg.last.at);
        leg.answer(200, ['Expires: 3600']);
      }
    }
    expect(starts.length).toBeGreaterThan(4);
    expect(starts.length).toBeLessThan(10);
    rig.clock.advance(40 * MINUTE);
    const leg = rig.leg('dialog');
    leg.answer(200, ['Expires: 3600']);
    leg.notify(info(0, 'full'));
    rig.clock.advance(10 * MINUTE);
    expect(rig.leg('dialog')).toBe(leg);
    expect(rig.subscription()).toMatchObject({ state: 'active', notifies: 1 });
  });

  it('takes a NOTIFY that overtakes the 2xx, and misses the one that a refresh must bring', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.notify(info(0, 'full'));
    dialog.answer(200, ['Expires: 600']);
    rig.clock.advance(2 * MINUTE);
    expect(rig.subscription().state).toBe('active');
    rig.clock.advance(7.5 * MINUTE);
    expect(dialog.sent).toHaveLength(2);
    dialog.answer(200, ['Expires: 600']);
    rig.clock.advance(2 * MINUTE);
    expect(rig.leg('dialog')).not.toBe(dialog);
  });

  it('goes by the route that the registrar gave', () => {
    const rig = new Rig();
    rig.account = { ...ACCOUNT, route: ['<sip:edge.example;lr>'] };
    expect(rig.begin().dialog.options.route).toEqual(['<sip:edge.example;lr>']);
  });

  it('answers a challenge of the registrar, once for a rejected password', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(401, [CHALLENGE]);
    expect(dialog.sent).toHaveLength(2);
    expect(dialog.last.headers.get('Authorization')).toContain('username="200"');
    dialog.answer(401, [CHALLENGE]);
    rig.clock.advance(24 * 60 * MINUTE);
    expect(dialog.sent).toHaveLength(2);
    expect(rig.subscription()).toMatchObject({ state: 'unsupported', detail: '401 Unauthorized' });
  });

  it('gives no credentials to a next hop that the dialog names', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(401, [CHALLENGE]);
    dialog.answer(200, ['Expires: 600']);
    dialog.notify(info(0, 'full'));
    dialog.nextTarget = { transport: 'tcp', address: '203.0.113.66', port: 5060 };
    rig.clock.advance(10 * MINUTE);
    expect(dialog.sent).toHaveLength(3);
    expect(dialog.last.headers.has('Authorization')).toBe(false);
    dialog.answer(401, [CHALLENGE], '203.0.113.66');
    expect(dialog.sent).toHaveLength(3);
  });

  it.each([489, 403, 404, 405, 501])('gives up at %d until the account registers anew', (status) => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(status);
    expect(dialog.closed).toBe(true);
    rig.clock.advance(24 * 60 * MINUTE);
    rig.presence.registered('r1', false);
    rig.clock.advance(MINUTE);
    expect(rig.subscription().state).toBe('unsupported');
    expect(rig.leg('dialog')).toBe(dialog);
    rig.presence.registered('r1', true);
    rig.clock.advance(MINUTE);
    expect(rig.leg('dialog')).not.toBe(dialog);
    expect(rig.subscription().state).toBe('pending');
  });

  it('begins a new dialog when the server has forgotten the old one (481)', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 600']);
    dialog.notify(info(9, 'full', call));
    rig.clock.advance(10 * MINUTE);
    dialog.answer(481);
    expect(dialog.closed).toBe(true);
    rig.clock.advance(6_000);
    const next = rig.leg('dialog');
    expect(next).not.toBe(dialog);
    next.answer(200, ['Expires: 600']);
    // Its versions begin anew, and the old dialog is heard no more.
    expect(dialog.notify(info(10, 'full'))).toBe(481);
    expect(next.notify(info(0, 'full'))).toBe(200);
    expect(rig.view().busy).toBe(false);
  });

  it('begins a new dialog when the engine has lost the old one', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    dialog.notify(info(9, 'full'));
    rig.clock.advance(MINUTE);
    expect(rig.subscription().state).toBe('active');
    dialog.lose();
    expect(dialog.closed).toBe(true);
    expect(rig.subscription().state).toBe('pending');
    rig.clock.advance(6_000);
    const next = rig.leg('dialog');
    expect(next).not.toBe(dialog);
    next.answer(200, ['Expires: 3600']);
    expect(rig.subscription().state).toBe('active');
    // The old one has nothing more to say.
    dialog.lose();
    expect(rig.subscription().state).toBe('active');
  });

  it('gives a 423 the longer time it asks for, not for ever', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    for (const seconds of [7_200, 14_400, 28_800]) {
      dialog.answer(423, [`Min-Expires: ${seconds}`]);
      rig.clock.advance(6_000);
      expect(dialog.last.headers.get('Expires')).toBe(String(seconds));
    }
    expect(dialog.sent).toHaveLength(4);
    dialog.answer(423, ['Min-Expires: 57600']);
    expect(rig.subscription().state).toBe('retrying');
  });

  it('tries again after failures that pass, later and later, Retry-After first', () => {
    const rig = new Rig();
    rig.begin();
    const gaps: number[] = [];
    for (let i = 0; i < 9; i++) {
      const before = rig.leg('dialog');
      before.last.done({ kind: 'fault', fault: { kind: 'timeout', heard: false, detail: 'timer F' } });
      const at = rig.clock.now();
      while (rig.leg('dialog') === before) rig.clock.advance(1_000);
      gaps.push(rig.leg('dialog').last.at - at);
    }
    expect(gaps[0]).toBeGreaterThanOrEqual(30_000);
    expect(gaps).toEqual(gaps.toSorted((a, b) => a - b));
    expect(gaps.at(-1)).toBeLessThanOrEqual(1_800_000 * 1.2 + 1_000);
    rig.presence.gone('r1');

    const told = new Rig();
    const { dialog } = told.begin();
    dialog.answer(503, ['Retry-After: 600']);
    told.clock.advance(600_000);
    expect(told.leg('dialog')).toBe(dialog);
    told.clock.advance(2 * MINUTE + 1_000);
    expect(told.leg('dialog')).not.toBe(dialog);
  });

  it.each([
    ['deactivated', 6_000, 'pending'],
    ['timeout', 6_000, 'pending'],
    ['probation;retry-after=60', 73_000, 'retrying'],
    ['rejected', 24 * 60 * MINUTE, 'unsupported'],
    ['noresource', 24 * 60 * MINUTE, 'unsupported'],
  ])('a subscription terminated with reason %s', (reason, wait, state) => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    expect(dialog.notify('', [`Subscription-State: terminated;reason=${reason}`])).toBe(200);
    expect(dialog.closed).toBe(true);
    rig.clock.advance(wait);
    if (state === 'unsupported') expect(rig.leg('dialog')).toBe(dialog);
    else expect(rig.leg('dialog')).not.toBe(dialog);
    expect(rig.subscription().state).toBe(state);
  });

  it('refuses a NOTIFY that it cannot read, and keeps what it knows', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    dialog.notify(info(0, 'full', call));
    expect(dialog.notify('<dialog-info')).toBe(400);
    expect(dialog.notify(info(1, 'full'), ['Event: presence'])).toBe(489);
    expect(dialog.notify(info(1, 'full'), ['Content-Type: text/plain'])).toBe(415);
    expect(rig.view().busy).toBe(true);
    expect(rig.notifies).toEqual(['taken', 'refused', 'refused', 'refused']);
  });

  it('asks for a full report after a missed one, less and less often where none comes', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 86400']);
    dialog.notify(info(0, 'full'));
    let version = 0;
    const before = dialog.sent.length;
    for (let minute = 0; minute < 120; minute++) {
      version += 2;
      dialog.notify(info(version, 'partial', call));
      rig.clock.advance(MINUTE);
      if (dialog.sent.length > before) dialog.answer(200, ['Expires: 86400']);
    }
    expect(dialog.sent.length - before).toBeGreaterThan(2);
    expect(dialog.sent.length - before).toBeLessThan(15);
  });

  it('never sends two SUBSCRIBEs of a package within five seconds, whatever the server grants', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    for (let i = 0; i < 20; i++) {
      const leg = rig.leg('dialog');
      leg.answer(200, ['Expires: 1']);
      leg.notify('', ['Subscription-State: terminated;reason=deactivated']);
      rig.clock.advance(6_000);
    }
    expect(dialog.closed).toBe(true);
    const times = rig.legs
      .filter((leg) => leg.package === 'dialog')
      .flatMap((leg) => leg.sent.map(({ at }) => at));
    for (const [i, at] of times.entries()) {
      if (i > 0) expect(at - times[i - 1]!).toBeGreaterThanOrEqual(5_000);
    }
    expect(times.length).toBeGreaterThan(10);
  });

  it('moves with the registration to another server', () => {
    const rig = new Rig();
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    rig.account = { ...ACCOUNT, target: { ...TARGET, address: '198.51.100.8' } };
    rig.presence.registered('r1', false);
    rig.clock.advance(6_000);
    expect(dialog.closed).toBe(true);
    expect(rig.leg('dialog').options.target.address).toBe('198.51.100.8');
  });

  it('ends with the registration: Expires 0, then silence', () => {
    const rig = new Rig();
    const { dialog, presence } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    rig.presence.gone('r1');
    expect(dialog.last.headers.get('Expires')).toBe('0');
    dialog.answer(200, ['Expires: 0']);
    expect([dialog.closed, presence.closed]).toEqual([true, true]);
    expect(rig.presence.ofRegistration('r1')).toBeUndefined();
    expect(dialog.notify(info(3, 'full', call))).toBe(481);
    rig.clock.advance(24 * 60 * MINUTE);
    expect([dialog.sent.length, presence.sent.length]).toEqual([2, 1]);
    expect(rig.clock.armedCount).toBe(0);
  });

  it('is left alone where nobody asked for it, and ends when nobody does any more', () => {
    const rig = new Rig();
    rig.account = undefined;
    rig.presence.registered('r1', true);
    rig.clock.advance(MINUTE);
    expect(rig.legs).toEqual([]);
    rig.account = ACCOUNT;
    const { dialog } = rig.begin();
    dialog.answer(200, ['Expires: 3600']);
    rig.account = undefined;
    rig.presence.registered('r1', false);
    expect(dialog.last.headers.get('Expires')).toBe('0');
    expect(rig.presence.ofRegistration('r1')).toBeUndefined();
  });

  it('says so where the engine holds no subscriptions', () => {
    const rig = new Rig({});
    rig.presence.registered('r1', true);
    rig.clock.advance(MINUTE);
    expect(rig.subscription()).toMatchObject({
      state: 'unsupported',
      detail: 'this SIP engine holds no subscriptions',
    });
    expect(rig.clock.armedCount).toBe(0);
  });
});
