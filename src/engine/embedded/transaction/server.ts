/**
 * The two server machines (RFC 3261 §17.2, with the Accepted state of RFC 6026 and the restraint of RFC 4320). A
 * stranger's transaction is answered once and gone: nobody can make us remember, or repeat, by forging an address.
 */
import type { SipRequest } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { Source } from '../../engine.js';
import { isDue, isStatus, type MachineHost, ServerMachine } from './machine.js';

/** §17.2.1: "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will generate a provisional or final response within 200 ms". */
const TRYING_DELAY_MS = 200;

type InviteState = 'proceeding' | 'completed' | 'confirmed' | 'accepted' | 'terminated';

export class InviteServer extends ServerMachine {
  state: InviteState = 'proceeding';
  /** The To tag of the final response, which an ACK from an element of RFC 2543 must carry. */
  finalTag = '';
  #cancelled = false;
  /**
   * The last provisional response, then the final one while it may be asked for again. It is
   * in one piece, so it keeps no slice of the request alive.
   */
  #last: Octets = '';
  /** Timer H. */
  #deadline = 0;
  /** Timer G's last interval. */
  #interval = 0;

  /** Called once the user has seen the request. */
  awaitResponse(): void {
    if (this.state === 'proceeding' && this.#last === '' && this.standing === 'known') {
      this.owner.clock.arm(this, TRYING_DELAY_MS);
    }
  }

  override respond(
    status: number,
    reason: string,
    lines: Octets,
    body: Octets,
    toTag?: string,
    fewer?: Octets,
  ): Octets {
    if (this.answered || this.state !== 'proceeding') return '';
    if (!isStatus(status)) return this.respond(500, 'Server Internal Error', '', '', toTag);
    if (status < 200) return this.#provisional(status, reason, lines, body, toTag);
    this.answered = true;
    if (status >= 300 && this.standing === 'stranger') {
      const octets = this.buildFitting(status, reason, lines, body, toTag, fewer);
      this.reply(octets);
      this.#terminate();
      return octets;
    }
    this.standing = 'known';
    const octets = this.build(status, reason, lines, body, toTag);
    this.finalTag = this.request.to.tag ?? toTag ?? this.localTag;
    if (status < 300) this.#accept();
    else this.#complete(octets);
    this.reply(octets);
    return octets;
  }

  #provisional(
    status: number,
    reason: string,
    lines: Octets,
    body: Octets,
    toTag: string | undefined,
  ): Octets {
    this.standing = 'known';
    this.owner.clock.disarm(this);
    const all = status === 100 ? this.timestampLine(0) + lines : lines;
    this.#last = this.build(status, reason, all, body, toTag);
    this.reply(this.#last);
    return this.#last;
  }

  #accept(): void {
    this.state = 'accepted';
    this.#last = '';
    this.user = null;
    this.letGo();
    // RFC 6026 §7.1: timer L, 64*T1 whatever the transport. The user repeats the 2xx itself.
    this.owner.clock.arm(this, 64 * this.owner.timers.t1);
  }

  #complete(octets: Octets): void {
    this.state = 'completed';
    this.#last = octets;
    this.letGo();
    this.owner.dropMerge(this);
    // §17.2.1: "For unreliable transports, timer G is set to fire in T1 seconds, and is not set to fire for reliable
    // transports." "[T]imer H MUST be set to fire in 64*T1 seconds for all transports."
    const { t1 } = this.owner.timers;
    this.#deadline = this.owner.clock.now() + 64 * t1;
    this.#interval = t1;
    this.owner.clock.arm(this, this.reliable ? 64 * t1 : t1);
  }

  override resend(octets: Octets): void {
    if (this.state === 'proceeding' || this.state === 'accepted') this.reply(octets);
  }

  override repeated(): void {
    // "Proceeding": the most recent provisional response; "Completed": the final one. Absorbed in "Confirmed" and,
    // since the 2xx is the user's to repeat, in "Accepted" (RFC 6026 §7.1).
    if (this.state === 'proceeding' || this.state === 'completed') this.reply(this.#last);
  }

  /** An ACK that matched. True: it ended here. False: it is the ACK of a 2xx, for the user. */
  acknowledged(): boolean {
    if (this.state === 'accepted') return false;
    if (this.state === 'completed') {
      this.state = 'confirmed';
      this.#last = '';
      this.user = null;
      // Timer I: T4 for unreliable transports, 0 for reliable ones.
      if (this.reliable) this.#terminate();
      else this.owner.clock.arm(this, this.owner.timers.t4);
    }
    return true;
  }

  /** A CANCEL that matched. §9.2: it has an effect only before a final response. */
  cancelled(cancel: SipRequest): void {
    if (this.answered || this.#cancelled) return;
    this.#cancelled = true;
    if (this.user === null) this.respond(487, 'Request Terminated', '', '');
    else this.user.onCancel(cancel);
  }

  override fire(): void {
    const { clock, timers } = this.owner;
    switch (this.state) {
      case 'proceeding':
        // §8.2.6.2 lets a 100 do without To tag.
        this.#last = this.build(100, 'Trying', this.timestampLine(TRYING_DELAY_MS), '', '');
        this.reply(this.#last);
        return;
      case 'completed': {
        const now = clock.now();
        if (isDue(this.#deadline, now)) {
          this.#lose('final response never acknowledged (timer H)');
          return;
        }
        // Timer G: MIN(2*interval, T2).
        this.reply(this.#last);
        this.#interval = Math.min(2 * this.#interval, timers.t2);
        clock.arm(this, Math.min(this.#interval, this.#deadline - now));
        return;
      }
      default:
        // Timers I and L.
        this.#terminate();
    }
  }

  override abandon(detail: string): void {
    if (this.state === 'proceeding' || this.state === 'completed') this.#lose(detail);
    else this.#terminate();
  }

  #lose(detail: string): void {
    const user = this.user;
    this.#terminate();
    user?.onLost(detail);
  }

  #terminate(): void {
    this.state = 'terminated';
    this.answered = true;
    this.#last = '';
    this.user = null;
    this.letGo();
    this.owner.clock.disarm(this);
    this.owner.dropServer(this);
  }
}

type NonInviteState = 'trying' | 'proceeding' | 'completed' | 'terminated';

export class NonInviteServer extends ServerMachine {
  state: NonInviteState = 'trying';
  #last: Octets = '';
  readonly #arrived: number;
  readonly #tryingDelay: number;

  constructor(
    owner: MachineHost,
    key: string,
    mergeKey: string,
    request: SipRequest,
    source: Source,
    standing: 'known' | 'stranger',
    bytes: number,
  ) {
    super(owner, key, mergeKey, request, source, standing, bytes);
    this.#arrived = owner.clock.now();
    this.#tryingDelay = untilT2(owner.timers.t1, owner.timers.t2);
  }

  /** Called once the user has seen the request. */
  awaitResponse(): void {
    if (this.state !== 'trying') return;
    this.owner.clock.arm(this, this.standing === 'known' ? this.#tryingDelay : 64 * this.owner.timers.t1);
  }

  override respond(status: number, reason: string, lines: Octets, body: Octets, toTag?: string): Octets {
    if (this.answered || (this.state !== 'trying' && this.state !== 'proceeding')) return '';
    if (!isStatus(status)) return this.respond(500, 'Server Internal Error', '', '', toTag);
    // RFC 4320 §4.1: "An SIP element MUST NOT send any provisional response with a Status-Code other than 100 to a
    // non-INVITE request", and a 100 not before timer E has reached T2: that one is sent by `fire`.
    if (status < 200) return '';
    this.answered = true;
    // RFC 4320 §4.2 forbids a 408 to anything but INVITE: the client has given up, and a late 408 only harms the
    // proxies on the way. The transaction stays silent until it is over.
    if (status === 408) {
      this.#wait(64 * this.owner.timers.t1);
      return '';
    }
    if (this.standing === 'stranger') {
      const octets = this.buildFitting(status, reason, lines, body, toTag);
      this.reply(octets);
      this.#terminate();
      return octets;
    }
    const octets = this.build(status, reason, lines, body, toTag);
    this.#last = octets;
    if (status >= 300) this.owner.dropMerge(this);
    // Timer J: 64*T1 for unreliable transports, 0 for reliable ones.
    if (this.reliable) this.#terminate();
    else this.#wait(64 * this.owner.timers.t1);
    this.reply(octets);
    return octets;
  }

  #wait(ms: number): void {
    this.state = 'completed';
    this.user = null;
    this.letGo();
    this.owner.clock.arm(this, ms);
  }

  /** Only INVITE has responses that are repeated by the user. */
  override resend(_octets: Octets): void {
    return;
  }

  override repeated(): void {
    // §17.2.2: "Once in the "Trying" state, any further request retransmissions are discarded." Later the last
    // response again, if there was one.
    if (this.state === 'proceeding' || this.state === 'completed') this.reply(this.#last);
  }

  override fire(): void {
    const { clock, timers } = this.owner;
    if (this.state === 'completed') {
      // Timer J.
      this.#terminate();
      return;
    }
    const deadline = this.#arrived + 64 * timers.t1;
    const now = clock.now();
    if (isDue(deadline, now)) {
      // The client's timer F has fired, so an answer would come too late for anybody (RFC 4320 §4.2).
      this.#lose('not answered within 64*T1');
      return;
    }
    // RFC 4320 §4.1: "an SIP element MUST respond to a non-INVITE request with a Status-Code of 100 if it has not
    // otherwise responded after the amount of time it takes a client transaction's Timer E to be reset to T2."
    this.state = 'proceeding';
    this.#last = this.build(100, 'Trying', this.timestampLine(this.#tryingDelay), '', '');
    this.reply(this.#last);
    clock.arm(this, deadline - now);
  }

  override abandon(detail: string): void {
    if (this.state === 'completed') this.#terminate();
    else this.#lose(detail);
  }

  #lose(detail: string): void {
    const user = this.user;
    this.#terminate();
    user?.onLost(detail);
  }

  #terminate(): void {
    this.state = 'terminated';
    this.answered = true;
    this.#last = '';
    this.user = null;
    this.letGo();
    this.owner.clock.disarm(this);
    this.owner.dropServer(this);
  }
}

/** Milliseconds until a client's timer E is set to T2: T1 + 2·T1 + … while below T2 (3.5 s by default). */
function untilT2(t1: number, t2: number): number {
  let sum = 0;
  for (let interval = t1; interval < t2; interval *= 2) sum += interval;
  return sum;
}
