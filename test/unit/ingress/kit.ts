/** A front desk between a scripted engine and a room of calls that only notes what it gets. */
import type { Refusal } from '#call/calls.js';
import type { Agent } from '#directory/agent.js';
import type { Trunk } from '#directory/trunk.js';
import type { IncomingInvite, Source } from '#engine/engine.js';
import type { Identity } from '#ingress/agent-desk.js';
import { FrontDesk } from '#ingress/front-desk.js';
import type { Login } from '#ingress/logins.js';
import type { DropCause, IngressObserver } from '#ingress/observer.js';
import { Screen, type ScreenSettings } from '#ingress/screen.js';
import { silentLogger } from '#lib/logger.js';
import type { InboundDecision } from '#routing/decision.js';
import type { OutboundDecision } from '#routing/outbound-decision.js';
import { VirtualClock } from '../../kit/virtual-clock.js';

export const CARRIER = '198.51.100.7';
export const AGENT = '192.0.2.9';
export const STRANGER = '203.0.113.66';

export class Desk implements IngressObserver {
  readonly clock = new VirtualClock();
  readonly drops: DropCause[] = [];
  strangers = 0;
  readonly answered: string[] = [];
  readonly refused: Refusal[] = [];
  readonly handled: InboundDecision[] = [];
  readonly routed: IncomingInvite['request'][] = [];
  readonly directory = {
    current: {
      version: 1,
      isKnownSource: (address: string): boolean => address === CARRIER,
      agents: (): Iterable<Agent> => [
        {
          endpoints: [
            { uri: `sip:a@${AGENT}:5090`, priority: 0, weight: 0 },
            { uri: 'sip:a@agents.example', priority: 0, weight: 0 },
          ],
        } as unknown as Agent,
      ],
    },
  };
  decision: InboundDecision | Error = { kind: 'refuse' } as unknown as InboundDecision;
  /** What credentials the next INVITE shows. */
  login: Login = { kind: 'none' };
  /** Which agent it is from. */
  identity: Identity = { kind: 'nobody' };
  /** Who was looked for among agents: strangers or not. */
  readonly sought: boolean[] = [];
  readonly proven: (Trunk | null)[] = [];
  readonly originated: OutboundDecision[] = [];
  ready = true;
  draining = false;
  readonly screen: Screen;
  readonly desk: FrontDesk;

  constructor(settings: Partial<ScreenSettings> = {}) {
    this.screen = new Screen({ clock: this.clock, directory: this.directory, observer: this, settings });
    const self = this;
    this.desk = new FrontDesk({
      screen: this.screen,
      calls: {
        handleInvite: (_invite, decision) => {
          this.handled.push(decision);
        },
        originate: (_invite, decision) => {
          this.originated.push(decision);
          return undefined;
        },
        refuse: (_invite, refusal) => {
          this.refused.push(refusal);
        },
        isLoop: (request) => request.headers.get('x-trunkline-call-id') === 'ours',
        get draining() {
          return self.draining;
        },
      },
      route: (request, _source, proven) => {
        this.routed.push(request);
        this.proven.push(proven);
        if (this.decision instanceof Error) throw this.decision;
        return this.decision;
      },
      logins: {
        read: () => this.login,
        challenge: (stale) => [{ name: 'WWW-Authenticate', value: stale ? 'stale' : 'fresh' }],
      },
      agents: {
        identify: (_request, _source, stranger) => {
          this.sought.push(stranger);
          return this.identity;
        },
        route: () => ({ kind: 'refuse' }) as unknown as OutboundDecision,
      },
      isOurContact: (user) => user === 'reg_ours',
      health: () => ({ ready: this.ready }),
      observer: this,
      onNotice: () => undefined,
      log: silentLogger,
    });
  }

  strangerSeen(_source: Source): void {
    this.strangers++;
  }

  messageDropped(cause: DropCause, _source: Source): void {
    this.drops.push(cause);
  }

  requestAnswered(method: string, status: number, code: string | null): void {
    this.answered.push(`${method} ${status}${code === null ? '' : ` ${code}`}`);
  }
}
