/**
 * One registration as a pure machine: (state, event) → (state, actions). It knows neither sockets nor targets; times
 * are given to it, and chance too.
 *
 * Three promises hold whatever a registrar answers. It never stops: every state that is wanted has a request under
 * way or a time to try again. It never storms: between two attempts there is a second for each REGISTER sent. It
 * keeps rejected credentials apart from failures that pass, since trying them often gets an address blocked.
 */
import type { RegistrationState } from './registration-view.js';

export interface RegistrationPolicy {
  /** Seconds that a binding is asked to last. */
  readonly expirySeconds: number;
}

export interface Machine {
  readonly state: RegistrationState;
  /** `paused`: waits until it may send again. `queued`: waits for its turn among others of the same server. */
  readonly activity: 'none' | 'paused' | 'queued' | 'sent';
  readonly wanted: boolean;
  /** What was asked for while a REGISTER was under way: nothing, another one, or one whatever the first brings. */
  readonly again: 'no' | 'renew' | 'force';
  /** Rounds over all targets that failed in a row. */
  readonly failures: number;
  /** 423s in a row. */
  readonly briefs: number;
  /** Connections in a row that did not last. */
  readonly flaps: number;
  /** Seconds to ask for, raised by 423. */
  readonly askSeconds: number;
  /** Outbound (RFC 5626) is offered, until a 439. */
  readonly outbound: boolean;
  /** The next attempt goes on in the list of targets. */
  readonly nextTarget: boolean;
  /** On the clock: until when the binding lives; 0: there is none. */
  readonly expiresAt: number;
  /** On the clock: nothing is sent earlier. */
  readonly notBefore: number;
}

/** What the driver made of an answer or fault. */
export type Outcome =
  | { readonly kind: 'registered'; readonly grantedSeconds: number }
  | { readonly kind: 'brief'; readonly minSeconds: number | undefined }
  /** 439, or 420 to our `Supported`. */
  | { readonly kind: 'no-outbound' }
  /** The connection that was in use is dead, which says nothing about the server yet. */
  | { readonly kind: 'flow-dead' }
  /** This target did not answer or cannot serve now. `more`: there are others to try. */
  | { readonly kind: 'unavailable'; readonly more: boolean; readonly retryAfterMs: number | undefined }
  | { readonly kind: 'auth-rejected' }
  /** It said no for a reason that waiting will hardly change. */
  | { readonly kind: 'refused'; readonly retryAfterMs: number | undefined };

export type RegistrationEvent =
  /** Somebody wants it. */
  | { readonly kind: 'want' }
  /** Nobody wants it any more. */
  | { readonly kind: 'unwant' }
  /** The timer fired. */
  | { readonly kind: 'due' }
  /** Its turn has come. */
  | { readonly kind: 'turn' }
  /**
   * The binding may be gone (a flow lost, the server back). `force`: a person or a changed password asks. `flowMs`: the
   * flow has just closed, and had lasted so long.
   */
  | { readonly kind: 'urge'; readonly force: boolean; readonly flowMs?: number | undefined }
  /** `sent`: REGISTERs that the attempt took. */
  | { readonly kind: 'outcome'; readonly outcome: Outcome; readonly sent: number };

export type RegistrationAction =
  /** Wait for a turn. */
  | { readonly kind: 'queue' }
  | { readonly kind: 'send'; readonly expirySeconds: number; readonly nextTarget: boolean }
  | { readonly kind: 'arm'; readonly delayMs: number }
  /** It is over: nothing is armed, queued or under way. */
  | { readonly kind: 'drop' };

export interface Moment {
  /** On the clock. */
  readonly now: number;
  /** Uniform in [0, 1). */
  readonly random: number;
}

export interface Transition {
  readonly machine: Machine;
  readonly action: RegistrationAction | null;
}

/** Between two attempts, for each REGISTER that the first one took. */
const SPACING_MS = 1_000;
const RETRY_FIRST_MS = 30_000;
/** With the jitter on top no wait is longer than 1,800 s. */
const RETRY_LONGEST_MS = 1_500_000;
const REFUSED_FIRST_MS = 300_000;
/** For a password that is wrong: it will not mend itself, and providers block whoever insists. */
const REJECTED_MS = 1_500_000;
const RETRY_AFTER_LONGEST_MS = 3_600_000;
const BRIEFS_MAX = 3;
const LONGEST_ASKED_SECONDS = 86_400;
/** A binding that is failing to be refreshed is tried for more often than the back-off says, but not below this. */
const RESCUE_SHORTEST_MS = 5_000;
/** A flow that lasts so long was a good one (RFC 5626 §4.5); others that close are opened at once only so often. */
const FLOW_PROVEN_MS = 120_000;
const FLAPS_FREE = 3;

/** @param outbound RFC 5626 is offered */
export function newMachine(policy: RegistrationPolicy, outbound: boolean): Machine {
  return {
    state: 'idle',
    activity: 'none',
    wanted: false,
    again: 'no',
    failures: 0,
    briefs: 0,
    flaps: 0,
    askSeconds: policy.expirySeconds,
    outbound,
    nextTarget: false,
    expiresAt: 0,
    notBefore: 0,
  };
}

/** The next state, and the one thing that the driver has to do. */
export function transition(machine: Machine, event: RegistrationEvent, at: Moment): Transition {
  switch (event.kind) {
    case 'want':
      return want(machine, at);
    case 'unwant':
      return unwant(machine, at);
    case 'due':
      return machine.activity === 'paused' || machine.activity === 'none'
        ? attempt(machine, at)
        : stay(machine);
    case 'turn':
      return turn(machine, at);
    case 'urge':
      return event.flowMs === undefined
        ? urge(machine, event.force, at)
        : flowClosed(machine, event.flowMs, at);
    case 'outcome':
      return settle(machine, event.outcome, event.sent, at);
  }
}

function stay(machine: Machine, action: RegistrationAction | null = null): Transition {
  return { machine, action };
}

function want(machine: Machine, at: Moment): Transition {
  if (machine.wanted) return stay(machine);
  const wanted: Machine = { ...machine, wanted: true, again: 'no' };
  // An un-REGISTER on its way takes the binding off: register behind it.
  if (machine.activity === 'sent') return stay({ ...wanted, again: 'force' });
  return attempt(wanted, at);
}

function unwant(machine: Machine, at: Moment): Transition {
  if (!machine.wanted) return stay(machine);
  const unwanted: Machine = { ...machine, wanted: false, again: 'no', nextTarget: false };
  if (machine.activity === 'sent') return stay(unwanted);
  return leave(unwanted, at);
}

/** Takes the binding off, if there is one. */
function leave(machine: Machine, at: Moment): Transition {
  if (machine.expiresAt > at.now) return attempt(machine, at);
  return stay({ ...machine, state: 'unregistered', activity: 'none', expiresAt: 0 }, { kind: 'drop' });
}

/** As soon as it may be. */
function attempt(machine: Machine, at: Moment): Transition {
  if (machine.activity === 'sent' || machine.activity === 'queued') return stay(machine);
  const delayMs = machine.notBefore - at.now;
  if (delayMs > 0) return stay({ ...machine, activity: 'paused' }, { kind: 'arm', delayMs });
  return stay({ ...machine, activity: 'queued' }, { kind: 'queue' });
}

function turn(machine: Machine, at: Moment): Transition {
  if (machine.activity !== 'queued') return stay(machine);
  const bound = machine.expiresAt > at.now;
  // It expired while it waited for its turn to be removed.
  if (!machine.wanted && !bound) return leave(machine, at);
  const state = machine.wanted ? (bound ? 'refreshing' : 'registering') : 'unregistering';
  const { nextTarget } = machine;
  return stay(
    { ...machine, state, activity: 'sent', again: 'no', nextTarget: false, notBefore: at.now + SPACING_MS },
    { kind: 'send', expirySeconds: machine.wanted ? machine.askSeconds : 0, nextTarget },
  );
}

function urge(machine: Machine, force: boolean, at: Moment): Transition {
  if (!machine.wanted) return stay(machine);
  if (machine.activity === 'sent') {
    const again = force || machine.again === 'force' ? 'force' : 'renew';
    return stay({ ...machine, again });
  }
  const given = machine.state === 'auth_rejected' || machine.state === 'failed';
  if (given && !force) return stay(machine);
  return attempt({ ...machine, nextTarget: false }, at);
}

/** RFC 5626 §4.5: whose flows keep closing waits longer and longer before the next one. */
function flowClosed(before: Machine, flowMs: number, at: Moment): Transition {
  const machine: Machine = { ...before, flaps: flowMs < FLOW_PROVEN_MS ? before.flaps + 1 : 0 };
  const waits = machine.activity === 'none' || machine.activity === 'paused';
  if (machine.flaps <= FLAPS_FREE || !machine.wanted || !waits || machine.state !== 'registered') {
    return urge(machine, false, at);
  }
  const left = machine.expiresAt - at.now;
  const delayMs = Math.min(
    backoffMs(RETRY_FIRST_MS, machine.flaps - FLAPS_FREE, at.random),
    Math.max(left / 2, RESCUE_SHORTEST_MS),
  );
  return stay({ ...machine, activity: 'paused' }, { kind: 'arm', delayMs });
}

function settle(before: Machine, outcome: Outcome, sent: number, at: Moment): Transition {
  if (before.activity !== 'sent') return stay(before);
  const machine: Machine = {
    ...before,
    activity: 'none',
    again: 'no',
    notBefore: at.now + SPACING_MS * Math.max(1, sent),
  };
  if (before.state === 'unregistering') return unregistered(machine, at);
  if (!machine.wanted) {
    // The answer to the last REGISTER of a registration that is no longer wanted.
    return leave(outcome.kind === 'registered' ? bound(machine, outcome.grantedSeconds, at) : machine, at);
  }
  const next = outcomeOf(machine, outcome, at);
  const renew = before.again === 'force' || (before.again === 'renew' && outcome.kind === 'registered');
  return renew ? attempt({ ...next.machine, nextTarget: false }, at) : next;
}

/** Whatever was answered: a binding that could not be removed expires by itself. */
function unregistered(machine: Machine, at: Moment): Transition {
  const free: Machine = { ...machine, expiresAt: 0 };
  return machine.wanted ? attempt({ ...free, state: 'idle' }, at) : leave(free, at);
}

function bound(machine: Machine, grantedSeconds: number, at: Moment): Machine {
  return { ...machine, state: 'registered', expiresAt: at.now + grantedSeconds * 1_000 };
}

function outcomeOf(machine: Machine, outcome: Outcome, at: Moment): Transition {
  switch (outcome.kind) {
    case 'registered': {
      const { grantedSeconds } = outcome;
      // A registrar that grants nothing has not registered us.
      if (grantedSeconds <= 0) return failed({ ...machine, expiresAt: 0 }, undefined, at);
      const fresh = bound({ ...machine, failures: 0, briefs: 0 }, grantedSeconds, at);
      return stay(fresh, { kind: 'arm', delayMs: refreshMs(grantedSeconds, at.random) });
    }
    case 'brief':
      return brief(machine, outcome.minSeconds, at);
    case 'no-outbound':
      if (machine.outbound) return attempt({ ...machine, outbound: false }, at);
      return refused(machine, undefined, at);
    case 'flow-dead':
      return attempt({ ...machine, state: 'retrying' }, at);
    case 'unavailable':
      if (outcome.more) return attempt({ ...machine, nextTarget: true }, at);
      return failed(machine, outcome.retryAfterMs, at);
    case 'auth-rejected':
      return stay(
        { ...machine, state: 'auth_rejected', failures: machine.failures + 1, briefs: 0 },
        { kind: 'arm', delayMs: jittered(REJECTED_MS, at.random) },
      );
    case 'refused':
      return refused(machine, outcome.retryAfterMs, at);
  }
}

/** §10.2.8: "the UA […] MAY retry the registration after making the expiration interval […] equal to or greater". */
function brief(machine: Machine, minSeconds: number | undefined, at: Moment): Transition {
  const sensible =
    minSeconds !== undefined && minSeconds > machine.askSeconds && minSeconds <= LONGEST_ASKED_SECONDS;
  if (!sensible || machine.briefs >= BRIEFS_MAX) return failed({ ...machine, briefs: 0 }, undefined, at);
  return attempt({ ...machine, briefs: machine.briefs + 1, askSeconds: minSeconds }, at);
}

function failed(machine: Machine, retryAfterMs: number | undefined, at: Moment): Transition {
  const failures = machine.failures + 1;
  let delayMs = backoffMs(RETRY_FIRST_MS, failures, at.random);
  const left = machine.expiresAt - at.now;
  // While a binding lives there is something to save.
  if (left > 0) delayMs = Math.min(delayMs, Math.max(left / 2, RESCUE_SHORTEST_MS));
  if (retryAfterMs !== undefined) delayMs = waitFor(retryAfterMs, at.random);
  return stay({ ...machine, state: 'retrying', failures }, { kind: 'arm', delayMs });
}

function refused(machine: Machine, retryAfterMs: number | undefined, at: Moment): Transition {
  const failures = machine.failures + 1;
  const delayMs =
    retryAfterMs === undefined
      ? backoffMs(REFUSED_FIRST_MS, failures, at.random)
      : waitFor(retryAfterMs, at.random);
  return stay({ ...machine, state: 'failed', failures, briefs: 0 }, { kind: 'arm', delayMs });
}

/** 30 s, 60 s, 120 s…, each a fifth up or down. */
function backoffMs(firstMs: number, failures: number, random: number): number {
  return jittered(Math.min(firstMs * 2 ** Math.min(failures - 1, 30), RETRY_LONGEST_MS), random);
}

function jittered(ms: number, random: number): number {
  return ms * (0.8 + 0.4 * random);
}

/** Never sooner than asked, and not all at once. */
function waitFor(retryAfterMs: number, random: number): number {
  const ms = Math.min(Math.max(retryAfterMs, SPACING_MS), RETRY_AFTER_LONGEST_MS);
  return ms * (1 + 0.1 * random);
}

/** A share of what was granted, so that there is time to try again; spread, so that a start does not repeat itself. */
function refreshMs(grantedSeconds: number, random: number): number {
  const ms = Math.min(grantedSeconds, LONGEST_ASKED_SECONDS) * 1_000;
  return Math.max(ms * (0.7 + 0.2 * random), SPACING_MS);
}
