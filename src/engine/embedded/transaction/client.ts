/**
 * The two client machines (RFC 3261 §17.1, with the Accepted state of RFC 6026). Each function below is a row of
 * their figures; timers are named as in table 4.
 */
import type { SipResponse } from '#sip/message.js';
import type { Octets } from '#sip/octets.js';
import type { Source } from '../../engine.js';
import type { EngineFault } from '../../faults.js';
import type { Outlet } from '../transport/transport.js';
import { ClientMachine, isDue, type MachineHost } from './machine.js';
import { clientKey } from './matching.js';
import { ackOctets, cancelOctets, viaLine } from './request.js';
import type { ClientTransaction, ClientUser, RequestHead } from './transaction.js';

/** A long request that goes over a stream instead of UDP (§18.1.1), and how to send it over UDP after all. */
export interface Detour {
  readonly datagrams: Outlet;
  /** The request before and after its Via. */
  readonly start: Octets;
  readonly tail: Octets;
}

/** The stream was not to be had, rather than we are at a bound or stopping. */
function isRefusal(fault: EngineFault): boolean {
  return fault.kind !== 'capacity' && fault.kind !== 'engine-down';
}

type InviteState = 'calling' | 'proceeding' | 'completed' | 'accepted' | 'terminated';

export class InviteClient extends ClientMachine implements ClientTransaction {
  readonly branch: string;
  state: InviteState = 'calling';
  readonly #owner: MachineHost;
  /** Undefined once a 2xx has come. */
  #head: RequestHead | undefined;
  #outlet: Outlet | null;
  #user: ClientUser | null;
  #detour: Detour | null;
  /** The INVITE while it may have to go out again, then the ACK of a final non-2xx. */
  #octets: Octets;
  /** Timer B, or the 64·T1 after a CANCEL. */
  #deadline = 0;
  /** Timer A's last interval. */
  #interval = 0;
  /** Header lines of a CANCEL that is wanted. */
  #cancelLines: Octets | undefined;

  constructor(
    owner: MachineHost,
    branch: string,
    head: RequestHead,
    octets: Octets,
    outlet: Outlet,
    detour: Detour | null,
    user: ClientUser,
  ) {
    super(branch, 'INVITE');
    this.branch = branch;
    this.#owner = owner;
    this.#head = head;
    this.#octets = octets;
    this.#outlet = outlet;
    this.#detour = detour;
    this.#user = user;
  }

  start(): void {
    this.#deadline = this.#owner.clock.now() + 64 * this.#owner.timers.t1;
    this.#sendFirst();
  }

  #sendFirst(): void {
    const outlet = this.#outlet!;
    outlet.send(this.#octets, this);
    // §17.1.1.2: "If an unreliable transport is being used, the client transaction MUST start timer A with a value
    // of T1. If a reliable transport is being used, the client transaction SHOULD NOT start timer A".
    this.#interval = outlet.reliable ? 64 * this.#owner.timers.t1 : this.#owner.timers.t1;
    this.#armWithin(this.#interval);
  }

  #armWithin(delay: number): void {
    const clock = this.#owner.clock;
    clock.arm(this, Math.min(delay, this.#deadline - clock.now()));
  }

  override fire(): void {
    switch (this.state) {
      case 'calling':
        if (isDue(this.#deadline, this.#owner.clock.now())) {
          // A stream that was taken instead of UDP and stayed silent: the next long request tries UDP.
          if (this.#detour !== null) this.#owner.avoidStream(this.#detour.datagrams.target);
          this.#fail({ kind: 'timeout', heard: false, detail: 'no response to INVITE (timer B)' });
          return;
        }
        // Timer A: "the client transaction MUST retransmit the request […] and MUST reset the timer with a value
        // of 2*T1", and so on.
        this.#outlet!.send(this.#octets, this);
        this.#interval *= 2;
        this.#armWithin(this.#interval);
        return;
      case 'proceeding':
        // §9.1: "If there is no final response for the original request in 64*T1 seconds […] the client SHOULD then
        // consider the original transaction cancelled".
        this.#fail({
          kind: 'timeout',
          heard: true,
          detail: 'no final response to INVITE 64*T1 after CANCEL',
        });
        return;
      default:
        // Timers D and M.
        this.#terminate();
    }
  }

  override receive(response: SipResponse, source: Source): void {
    const status = response.status;
    if (this.state === 'calling' || this.state === 'proceeding') {
      if (status < 200) this.#provisional(response, source);
      else if (status < 300) this.#accepted(response, source);
      else this.#rejected(response, source);
    } else if (this.state === 'accepted') {
      // RFC 6026 §7.2: further 2xx, repeated or of other forks, are passed up; anything else is not.
      if (status >= 200 && status < 300) this.#user!.onResponse(response, source);
    } else if (this.state === 'completed' && status >= 300) {
      // §17.1.1.2: "Any retransmissions of the final response that are received while in the 'Completed' state MUST
      // cause the ACK to be re-passed to the transport layer".
      this.#outlet!.send(this.#octets, null);
    }
  }

  #provisional(response: SipResponse, source: Source): void {
    if (this.state === 'calling') {
      this.state = 'proceeding';
      this.#owner.clock.disarm(this);
      this.#octets = '';
      this.#detour = null;
      // §9.1: CANCEL waits for a provisional response, and this is it.
      if (this.#cancelLines !== undefined) this.#sendCancel();
    }
    this.#user!.onResponse(response, source);
  }

  #accepted(response: SipResponse, source: Source): void {
    this.state = 'accepted';
    this.#outlet!.forget(this);
    this.#outlet = null;
    this.#head = undefined;
    this.#octets = '';
    this.#detour = null;
    // RFC 6026 §7.2: timer M, 64*T1.
    this.#owner.clock.arm(this, 64 * this.#owner.timers.t1);
    this.#user!.onResponse(response, source);
  }

  #rejected(response: SipResponse, source: Source): void {
    const user = this.#user!;
    const outlet = this.#outlet!;
    this.state = 'completed';
    this.#octets = ackOctets(
      this.#head!,
      viaLine(outlet, this.branch),
      response.headers.get('to') ?? this.#head!.to,
    );
    this.#head = undefined;
    this.#detour = null;
    this.#user = null;
    outlet.send(this.#octets, null);
    outlet.forget(this);
    // Timer D: at least 32 s, which is the peer's timer H, for unreliable transports; 0 for reliable ones.
    if (outlet.reliable) this.#terminate();
    else this.#owner.clock.arm(this, 64 * this.#owner.timers.t1);
    user.onResponse(response, source);
  }

  cancel(lines: Octets): void {
    if (this.#cancelLines !== undefined) return;
    if (this.state !== 'calling' && this.state !== 'proceeding') return;
    this.#cancelLines = lines;
    // §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent".
    if (this.state === 'proceeding') this.#sendCancel();
  }

  #sendCancel(): void {
    const outlet = this.#outlet!;
    const octets = cancelOctets(this.#head!, viaLine(outlet, this.branch), this.#cancelLines!);
    const cancel = new NonInviteClient(this.#owner, this.branch, 'CANCEL', octets, outlet, null, null);
    this.#owner.adoptClient(cancel);
    cancel.start();
    this.#deadline = this.#owner.clock.now() + 64 * this.#owner.timers.t1;
    this.#owner.clock.arm(this, 64 * this.#owner.timers.t1);
  }

  override sendFailed(fault: EngineFault): void {
    if (this.state === 'calling' && this.#detour !== null && fault.kind !== 'engine-down') {
      // §18.1.1: "if the attempt to establish the connection generates either an ICMP Protocol Not Supported, or
      // results in a TCP reset, the element SHOULD retry the request, using UDP."
      const { datagrams, start, tail } = this.#detour;
      if (isRefusal(fault)) this.#owner.avoidStream(datagrams.target);
      this.#detour = null;
      this.#outlet = datagrams;
      this.#octets = start + viaLine(datagrams, this.branch) + tail;
      this.#sendFirst();
      return;
    }
    if (this.state === 'calling' || this.state === 'proceeding') this.#fail(fault);
  }

  override abandon(fault: EngineFault): void {
    if (this.state === 'calling' || this.state === 'proceeding') this.#fail(fault);
    else this.#terminate();
  }

  #fail(fault: EngineFault): void {
    const user = this.#user!;
    this.#outlet!.forget(this);
    this.#terminate();
    user.onFault(fault);
  }

  #terminate(): void {
    this.state = 'terminated';
    this.#owner.clock.disarm(this);
    this.#owner.dropClient(this);
    this.#head = undefined;
    this.#user = null;
    this.#outlet = null;
    this.#detour = null;
    this.#octets = '';
  }
}

type NonInviteState = 'trying' | 'proceeding' | 'completed' | 'terminated';

/** Every request but INVITE and ACK. Without a user: the CANCEL of an INVITE, whose own answer nobody awaits. */
export class NonInviteClient extends ClientMachine implements ClientTransaction {
  readonly branch: string;
  state: NonInviteState = 'trying';
  readonly #owner: MachineHost;
  #outlet: Outlet | null;
  #user: ClientUser | null;
  #detour: Detour | null;
  #octets: Octets;
  /** Timer F. */
  #deadline = 0;
  /** Timer E's last interval. */
  #interval = 0;

  constructor(
    owner: MachineHost,
    branch: string,
    method: string,
    octets: Octets,
    outlet: Outlet,
    detour: Detour | null,
    user: ClientUser | null,
  ) {
    super(clientKey(branch, method), method);
    this.branch = branch;
    this.#owner = owner;
    this.#octets = octets;
    this.#outlet = outlet;
    this.#detour = detour;
    this.#user = user;
  }

  start(): void {
    this.#deadline = this.#owner.clock.now() + 64 * this.#owner.timers.t1;
    this.#sendFirst();
  }

  #sendFirst(): void {
    const outlet = this.#outlet!;
    outlet.send(this.#octets, this);
    // §17.1.2.2: "If an unreliable transport is in use, the client transaction MUST set timer E to fire in T1".
    this.#interval = outlet.reliable ? 64 * this.#owner.timers.t1 : this.#owner.timers.t1;
    this.#armWithin(this.#interval);
  }

  #armWithin(delay: number): void {
    const clock = this.#owner.clock;
    clock.arm(this, Math.min(delay, this.#deadline - clock.now()));
  }

  override fire(): void {
    if (this.state === 'completed') {
      // Timer K.
      this.#terminate();
      return;
    }
    if (isDue(this.#deadline, this.#owner.clock.now())) {
      const heard = this.state === 'proceeding';
      if (this.#detour !== null) this.#owner.avoidStream(this.#detour.datagrams.target);
      this.#fail({ kind: 'timeout', heard, detail: `no final response to ${this.method} (timer F)` });
      return;
    }
    this.#outlet!.send(this.#octets, this);
    // §17.1.2.2: MIN(2*interval, T2) in "Trying", T2 in "Proceeding".
    const t2 = this.#owner.timers.t2;
    this.#interval = this.state === 'proceeding' ? t2 : Math.min(2 * this.#interval, t2);
    this.#armWithin(this.#interval);
  }

  override receive(response: SipResponse, source: Source): void {
    if (this.state !== 'trying' && this.state !== 'proceeding') return;
    const user = this.#user;
    if (response.status < 200) {
      this.state = 'proceeding';
      this.#detour = null;
    } else {
      const outlet = this.#outlet!;
      this.state = 'completed';
      outlet.forget(this);
      this.#release();
      // Timer K: T4 for unreliable transports, 0 for reliable ones.
      if (outlet.reliable) this.#terminate();
      else this.#owner.clock.arm(this, this.#owner.timers.t4);
    }
    user?.onResponse(response, source);
  }

  /** §9.1: "A CANCEL request SHOULD NOT be sent to cancel a request other than INVITE." */
  cancel(_lines: Octets): void {
    return;
  }

  override sendFailed(fault: EngineFault): void {
    if (this.state === 'trying' && this.#detour !== null && fault.kind !== 'engine-down') {
      const { datagrams, start, tail } = this.#detour;
      if (isRefusal(fault)) this.#owner.avoidStream(datagrams.target);
      this.#detour = null;
      this.#outlet = datagrams;
      this.#octets = start + viaLine(datagrams, this.branch) + tail;
      this.#sendFirst();
      return;
    }
    if (this.state === 'trying' || this.state === 'proceeding') this.#fail(fault);
  }

  override abandon(fault: EngineFault): void {
    if (this.state === 'trying' || this.state === 'proceeding') this.#fail(fault);
    else this.#terminate();
  }

  #fail(fault: EngineFault): void {
    const user = this.#user;
    this.#outlet!.forget(this);
    this.#terminate();
    user?.onFault(fault);
  }

  #terminate(): void {
    this.state = 'terminated';
    this.#owner.clock.disarm(this);
    this.#owner.dropClient(this);
    this.#release();
  }

  #release(): void {
    this.#user = null;
    this.#outlet = null;
    this.#detour = null;
    this.#octets = '';
  }
}
