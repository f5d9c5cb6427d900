/**
 * One call that the API has asked for: the driver of `join.ts`. Its two sides are calls of the call room like any
 * other, each hunting, pacing, timing and recording by itself; their callers are the two ends of the seam in here
 * (`inner-leg.ts`). What they say becomes events, and the actions are said to them.
 *
 * Which side is called first: by default the agent. Most carriers want an offer in the INVITE, and a gateway without
 * media of its own has none to make before one end has offered; early media and busy tones reach the agent; and nobody
 * who picks up a telephone meets silence while an agent is still being looked for. The price is an agent that waits
 * while the callee rings. An agent may have it the other way round where its trunk lets the INVITE go without an offer.
 */
import type { Call, CallRoom } from '#call/call.js';
import { q850Reason } from '#call/causes.js';
import type { Handover, Heir, NoHandover } from '#call/handover.js';
import type { CallRecord, CallState, LiveCall } from '#call/observer.js';
import { type CpsLines, presentRule } from '#call/provider-callee.js';
import { type CallFacts, recordOf } from '#call/record.js';
import type { InDialogRequest } from '#engine/engine.js';
import { CallbackTimer } from '#lib/clock.js';
import type { PaceRefusal, PaceRule, Place, Ticket, TicketEvents, TicketRequest } from '#pacing/pacer.js';
import { REASONS, type ReasonCode } from '#routing/refusals.js';
import type { HeaderField } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import { formatReason } from '#sip/reason.js';
import { heldAnswer, ShownOrigin } from '#sip/sdp.js';
import { reasonPhrase } from '#sip/status.js';
import { InnerLeg, type InnerLegUser } from './inner-leg.js';
import {
  advanceJoin,
  type Ending,
  INITIAL_JOIN,
  type JoinAction,
  type JoinEvent,
  type JoinState,
  type Role,
  type Side,
} from './join.js';
import { type FirstWord, KeptPlace, type KeptPlaceOptions } from './kept-place.js';
import { Party, type PartyBlueprint, type Whole } from './party.js';

/** What does not change of an originated call. */
export interface OriginatedCallOptions extends KeptPlaceOptions {
  readonly room: CallRoom;
  readonly first: Role;
  readonly agent: PartyBlueprint;
  readonly callee: PartyBlueprint;
  /** How long the 2xx of who offers waits for its ACK at most. */
  readonly ackPatienceMs: number;
  /** Randomness from 0 to 1, for glare. */
  readonly random: () => number;
  /** The call is over; called once, last. */
  over(call: OriginatedCall, record: CallRecord): void;
  /** Another node goes on with the call; called instead of `over`. */
  handedOver(call: OriginatedCall): void;
}

export class OriginatedCall implements LiveCall, InnerLegUser, Whole {
  readonly #options: OriginatedCallOptions;
  readonly #parties: { readonly [role in Role]: Party };
  #join: JoinState = INITIAL_JOIN;
  #ending: Ending | null = null;
  #shown: CallState = 'queued';
  /** The offerer's description that an answer which holds is made for. */
  #offer: Octets = '';
  readonly #origin = new ShownOrigin();
  readonly #kept: KeptPlace;
  readonly #ackTimer = new CallbackTimer(() => this.#dispatch({ type: 'ack-due' }));
  readonly #retryTimer = new CallbackTimer(() => this.#dispatch({ type: 'retry-due' }));
  #busy = false;
  #waiting: JoinEvent[] = [];
  #written = false;

  constructor(options: OriginatedCallOptions) {
    this.#options = options;
    const { room } = options;
    this.#parties = { agent: new Party(this, 'agent', room), callee: new Party(this, 'callee', room) };
    this.#kept = new KeptPlace(options, {
      onPrepare: () => {
        if (this.#join.phase !== 'ended') this.#call('agent', '');
      },
      onRefused: (why) => this.#dispatch({ type: 'hang-up', ending: endingOfRefusal(why) }),
    });
  }

  get id(): string {
    return this.#facts.id;
  }

  get state(): CallState {
    return this.#shown;
  }

  get trunkId(): string | null {
    return this.#facts.trunk?.id ?? null;
  }

  get agentId(): string | null {
    return this.#facts.agent?.id ?? null;
  }

  get waitsForTrunk(): boolean {
    const state = this.#parties.callee.call?.state;
    return this.#ending === null && (state === undefined || state === 'queued');
  }

  /** Where it stands in line; undefined when that is not known, or it does not wait. */
  get place(): Place | undefined {
    return this.#shown === 'queued' ? this.#kept.place : undefined;
  }

  get #facts(): CallFacts {
    return this.#options.callee.facts;
  }

  get #now(): number {
    return this.#options.room.clock.now();
  }

  record(): CallRecord {
    return recordOf(this.#wholeFacts(), this.#shown, this.#now);
  }

  /** Joins the line, or goes at once. `told` is called once, with what is known first. */
  start(told: (word: FirstWord) => void): void {
    const { rule, first } = this.#options;
    this.#kept.tell(told);
    if (rule === undefined) {
      this.#kept.started();
      this.#call(first, '');
    } else if (first === 'callee') {
      // Its call finds the server, then joins the line by itself: nothing has to be ready before the slot.
      this.#call('callee', '');
    } else {
      this.#facts.outbound?.joinLine(this.#cpsKey(rule), this.#now);
      this.#kept.join(rule);
    }
  }

  /** Goes on with a place in line that a dead node has left, as `start`. */
  adopt(take: (request: TicketRequest, events: TicketEvents) => Ticket, rule: PaceRule): void {
    this.#facts.outbound?.joinLine(this.#cpsKey(rule), this.#now);
    this.#kept.adopt(take, rule);
  }

  /** The telephone is the callee, and its call the one that can let it go. */
  promise(heir: Heir, callId: string): Handover | NoHandover {
    if (this.#join.phase !== 'joined') return 'not_answered';
    return this.#parties.callee.call?.promise(heir, callId) ?? 'not_answered';
  }

  hangUp(code: ReasonCode, detail: string): void {
    const { call } = this.#parties.callee;
    if (call?.promised === true) {
      // To it our end of the join would look like an agent that leaves its telephone to a transfer.
      call.hangUp(code, detail);
      return;
    }
    const waits = this.#kept.waits && !this.#parties.agent.live;
    if (code === 'shutdown' && waits && this.#options.pacer.shared) this.#kept.leaveBehind();
    const early = this.#facts.answeredAt < 0 || this.#join.phase !== 'joined';
    const { status } = REASONS[code];
    this.#dispatch({
      type: 'hang-up',
      ending: {
        by: 'gateway',
        status: early ? (status === 0 ? 487 : status) : 200,
        code: early && code === 'normal_clearing' ? 'api_cancelled' : code,
        q850: 16,
        detail,
      },
    });
  }

  repace(lines: CpsLines): void {
    const { rule } = this.#options;
    if (!this.#kept.waits || rule === undefined) {
      this.#parties.callee.call?.repace(lines);
      return;
    }
    const present = presentRule(lines, this.#facts.trunk, rule);
    if (present !== undefined) this.#kept.repace(present);
  }

  // What the two sides say.

  joinLine(call: Call, line: number, rule: PaceRule, timeoutMs: number): Ticket {
    return this.#kept.takeOver(call, line, rule, timeoutMs, this.#options.first === 'callee');
  }

  legProgressed(leg: InnerLeg, _status: number, sdp: Octets): void {
    if (this.#sideOf(leg) === 'answerer') this.#dispatch({ type: 'progress', sdp });
  }

  legAnswered(leg: InnerLeg, sdp: Octets): void {
    const side = this.#sideOf(leg);
    if (side === 'offerer') this.#offer = sdp;
    this.#dispatch({ type: 'answered', side, sdp });
  }

  legRejected(): void {
    // The call says why in its record, which follows.
  }

  legEnded(leg: InnerLeg, headers: readonly HeaderField[]): void {
    this.#partyOf(leg).lastWords = headers;
  }

  legAsked(leg: InnerLeg, request: InDialogRequest): void {
    const { method, body } = request.request;
    this.#dispatch({ type: 'request', side: this.#sideOf(leg), method, offers: body !== '', request });
  }

  sideChanged(): void {
    this.#show();
  }

  sideOver(party: Party, record: CallRecord): void {
    const { role } = party;
    const by = record.endedBy === role ? role : 'gateway';
    const ending: Ending = {
      by,
      status: record.sipStatus ?? 0,
      code: (record.code ?? 'internal_error') as ReasonCode,
      q850: record.q850 ?? 16,
      detail: record.detail ?? '',
    };
    const type = record.answeredAt === null ? 'failed' : 'ended';
    this.#dispatch({ type, side: this.#sideOfRole(role), ending });
    this.#close();
  }

  #dispatch(event: JoinEvent): void {
    this.#waiting.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        const { state, actions } = advanceJoin({ offerer: this.#options.first }, this.#join, next);
        this.#join = state;
        for (const action of actions) this.#perform(action);
      }
    } catch (error) {
      this.#crash(error);
    } finally {
      this.#busy = false;
    }
    this.#show();
    this.#close();
  }

  /** A fault of ours: whatever it was, both sides end and the record is written. */
  #crash(error: unknown): void {
    const { log } = this.#options.room;
    const detail = error instanceof Error ? error.message : String(error);
    log.error({ call: this.id, err: error }, 'an originated call failed inside the gateway');
    this.#waiting = [];
    const ending: Ending = { by: 'gateway', status: 500, code: 'internal_error', q850: 41, detail };
    const { actions } = advanceJoin({ offerer: this.#options.first }, this.#join, {
      type: 'hang-up',
      ending,
    });
    this.#join = { ...INITIAL_JOIN, phase: 'ended' };
    this.#ending ??= ending;
    // One leg's failure must not keep the other from being ended, nor the record from being written.
    for (const action of actions) {
      try {
        this.#perform(action);
      } catch (again) {
        log.error({ call: this.id, err: again }, 'a leg could not be ended');
      }
    }
  }

  #perform(action: JoinAction): void {
    const { clock } = this.#options.room;
    switch (action.do) {
      case 'dial-answerer':
        this.#call(this.#roleOf('answerer'), action.sdp);
        break;
      case 'ack':
        this.#leg('offerer')?.acknowledge(
          this.#origin.show(action.sdp === '' ? heldAnswer(this.#offer, this.#sessionId()) : action.sdp),
        );
        break;
      case 'reoffer': {
        const { side } = action;
        const sdp = side === 'offerer' ? this.#origin.show(action.sdp) : action.sdp;
        this.#leg(side)?.reoffer(sdp, (status, answer) =>
          this.#dispatch({ type: 'reoffered', side, status, sdp: answer }),
        );
        break;
      }
      case 'end':
        this.#leg(action.side)?.finish(this.#lastWords(action.side, action.ending));
        break;
      case 'relay':
        this.#leg(action.from === 'offerer' ? 'answerer' : 'offerer')?.ask(action.request);
        break;
      case 'respond':
        action.request.respond(action.status, reasonPhrase(action.status));
        break;
      case 'arm-ack':
        clock.arm(this.#ackTimer, this.#options.ackPatienceMs);
        break;
      case 'arm-retry':
        // §14.1: the owner of the Call-ID, which we are of both dialogs, waits 2.1 to 4 seconds in steps of 10 ms.
        clock.arm(this.#retryTimer, 2_100 + 10 * Math.floor(this.#options.random() * 191));
        break;
      case 'disarm':
        clock.disarm(this.#ackTimer);
        clock.disarm(this.#retryTimer);
        break;
      case 'joined':
        break;
      case 'finish':
        this.#ending = action.ending;
        this.#kept.leave();
        break;
    }
  }

  #call(role: Role, offer: Octets): void {
    const blueprint = this.#options[role];
    const toOfferer = role === this.#options.first;
    const show = (sdp: Octets): Octets => this.#origin.show(sdp);
    const leg = new InnerLeg({
      user: this,
      callId: this.id,
      from: blueprint.from,
      headers: blueprint.headers,
      offer,
      // Whatever the offerer is sent has one origin, whoever speaks.
      ...(toOfferer ? { inward: show } : { outward: show }),
    });
    this.#parties[role].dial(blueprint, leg);
    this.#show();
  }

  #show(): void {
    const previous = this.#shown;
    if (previous === 'ended') return;
    const state = this.#stateNow();
    if (state === previous) return;
    this.#shown = state;
    if (state !== 'ended') this.#options.room.observer.callChanged?.(this, previous);
  }

  /** The callee's side says how far the call is; before it is called, whether somebody is. */
  #stateNow(): CallState {
    if (this.#ending !== null) return 'ended';
    const { agent, callee } = this.#parties;
    const state = callee.call?.state;
    if (state !== undefined && state !== 'queued' && state !== 'ended') return state;
    const waits = callee.call === null || (state === 'queued' && this.#options.first === 'callee');
    return agent.call === null && waits ? 'queued' : 'dialing';
  }

  /** Writes the record once the call has ended and neither side is left. */
  #close(): void {
    const ending = this.#ending;
    if (ending === null || this.#busy || this.#written) return;
    const { agent, callee } = this.#parties;
    if (agent.live || callee.live) return;
    this.#written = true;
    this.#kept.started();
    this.#shown = 'ended';
    if (this.#kept.handedOver) {
      this.#options.handedOver(this);
      return;
    }
    const facts = this.#facts;
    facts.outbound?.leaveLine(this.#now);
    facts.endedAt = this.#now;
    facts.endedBy = ending.by;
    facts.status = ending.status;
    facts.q850 = ending.q850;
    facts.code = ending.code;
    facts.detail = ending.detail === '' ? null : ending.detail;
    this.#options.over(this, recordOf(this.#wholeFacts(), 'ended', this.#now));
  }

  /** The callee's facts with the attempts of both sides in order, and what either call warns of. */
  #wholeFacts(): CallFacts {
    const { facts } = this.#options.callee;
    const agents = this.#options.agent.facts;
    const more = agents.warnings.filter(({ side }) => facts.warnings.every((each) => each.side !== side));
    if (more.length > 0) facts.warnings = [...facts.warnings, ...more];
    const theirs = agents.attempts.splice(0);
    if (theirs.length > 0) {
      facts.attempts.unshift(...theirs);
      facts.attempts.sort((a, b) => a.startedAt - b.startedAt);
    }
    return facts;
  }

  /** Header fields for BYE or CANCEL to a side: what the other said when it went, or why. */
  #lastWords(to: Side, ending: Ending): readonly HeaderField[] {
    const said = this.#parties[this.#roleOf(to === 'offerer' ? 'answerer' : 'offerer')].lastWords;
    const reason = said.some(({ name }) => name.toLowerCase() === 'reason');
    const headers = [...said];
    if (!reason) {
      headers.push({ name: 'Reason', value: q850Reason(ending.q850, ending.code.replaceAll('_', ' ')) });
    }
    if (ending.status >= 300) {
      const text = reasonPhrase(ending.status);
      headers.push({ name: 'Reason', value: formatReason('SIP', ending.status, text) });
    }
    return headers;
  }

  /** Digits that name the session of an answer which holds (RFC 8866 §5.2). */
  #sessionId(): string {
    return String(1 + Math.floor(this.#options.random() * 4_000_000_000));
  }

  #cpsKey(rule: PaceRule): string {
    return this.#facts.trunk?.cpsKey ?? rule.key;
  }

  #roleOf(side: Side): Role {
    const { first } = this.#options;
    return side === 'offerer' ? first : first === 'agent' ? 'callee' : 'agent';
  }

  #sideOfRole(role: Role): Side {
    return role === this.#options.first ? 'offerer' : 'answerer';
  }

  #partyOf(leg: InnerLeg): Party {
    const { agent, callee } = this.#parties;
    return agent.leg === leg ? agent : callee;
  }

  #sideOf(leg: InnerLeg): Side {
    return this.#sideOfRole(this.#partyOf(leg).role);
  }

  #leg(side: Side): InnerLeg | null {
    return this.#parties[this.#roleOf(side)].leg;
  }
}

/** A place in line that was refused or lost before anybody was called, or while the agent was. */
function endingOfRefusal(why: PaceRefusal): Ending {
  const code: ReasonCode =
    why === 'queue_timeout' ? 'held_too_long' : why === 'queue_full' ? 'queue_full' : 'draining';
  return { by: 'gateway', status: REASONS[code].status, code, q850: 42, detail: REASONS[code].meaning };
}
