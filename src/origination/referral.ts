/**
 * A transfer that the agent asks for in its dialog: REFER (RFC 3515), as far as a gateway between two networks can serve
 * it. Who its Refer-To names is called; what becomes of that the agent hears by NOTIFY, until it is released with BYE.
 */
import type { Dialog, InDialogRequest } from '#engine/engine.js';
import type { SipRequest } from '#sip/message.js';
import { parseNameAddrList } from '#sip/name-addr.js';
import { type Octets, toText } from '#sip/octets.js';
import { reasonPhrase } from '#sip/status.js';
import { parseUri } from '#sip/uri.js';
import type { TransferListener } from './transferred-call.js';

/** What a REFER asks for, or the answer that it deserves. */
export type Referral =
  | { readonly kind: 'referral'; readonly to: string; readonly notifies: boolean }
  | { readonly kind: 'refused'; readonly status: number; readonly reason: string };

/** The part of Refer-To before the header fields that the new request is to have. */
const HEADERS = '?';
/** RFC 3891: the other party of another dialog, which is not the gateway's to replace. */
const REPLACES = /(?:^|&)replaces=/i;

/** What a REFER asks for (RFC 3515 §2.4), or the status that it is refused with. */
export function readRefer({ headers }: SipRequest): Referral {
  const addresses: Octets[] = [];
  for (const value of headers.all('refer-to')) {
    const list = parseNameAddrList(value);
    if (list === undefined) return refused(400, 'Bad Refer-To');
    addresses.push(...list.map(({ uri }) => uri));
  }
  const [address, ...more] = addresses;
  // §2.4.1: "A REFER request MUST contain exactly one Refer-To header field value."
  if (address === undefined || more.length > 0) return refused(400, 'One Refer-To Is Needed');
  const uri = parseUri(address);
  if (uri === undefined) return refused(400, 'Bad Refer-To');
  if (uri.scheme !== 'sip' && uri.scheme !== 'sips' && uri.scheme !== 'tel') {
    return refused(416, reasonPhrase(416));
  }
  const method = uri.params.get('method')?.toUpperCase() ?? 'INVITE';
  if (method !== 'INVITE' || REPLACES.test(uri.headers ?? '')) return refused(603, reasonPhrase(603));
  return {
    kind: 'referral',
    to: toText(address.split(HEADERS, 1)[0]!),
    // RFC 4488 §4: "Refer-Sub: false" asks for no subscription.
    notifies: headers.get('refer-sub')?.trim().toLowerCase() !== 'false',
  };
}

const refused = (status: number, reason: string): Referral => ({ kind: 'refused', status, reason });

/** How long the agent is to believe in the subscription, whatever becomes of it: longer than anything rings. Seconds. */
const EXPIRES_SECONDS = 3_600;
const SIPFRAG = { name: 'Content-Type', value: 'message/sipfrag;version=2.0' } as const;

/** The subscription that a REFER has made (RFC 3515 §2.4.4), in the dialog that it came in. */
export class ReferSubscription implements TransferListener {
  readonly #dialog: Pick<Dialog, 'request'>;
  /** §2.4.6: the CSeq number of the REFER tells one subscription from another. */
  readonly #event: string;
  #last = 0;
  #over = false;

  constructor(dialog: Pick<Dialog, 'request'>, { request }: InDialogRequest) {
    this.#dialog = dialog;
    this.#event = `refer;id=${request.cseq.number}`;
  }

  /** §2.4.5: the first NOTIFY comes at once. */
  begin(): void {
    this.progressed(100);
  }

  progressed(status: number): void {
    if (status !== this.#last) this.#notify(status, `active;expires=${EXPIRES_SECONDS}`);
  }

  ended(status: number): void {
    this.#notify(status, 'terminated;reason=noresource');
    this.#over = true;
  }

  #notify(status: number, state: string): void {
    if (this.#over) return;
    this.#last = status;
    this.#dialog.request(
      {
        method: 'NOTIFY',
        headers: [
          { name: 'Event', value: this.#event },
          { name: 'Subscription-State', value: state },
          SIPFRAG,
        ],
        body: `SIP/2.0 ${status} ${reasonPhrase(status)}\r\n`,
      },
      (outcome) => {
        // Nobody wants to hear (481), or nobody is there. The transfer goes on without.
        if (outcome.kind === 'fault' || outcome.response.status >= 300) this.#over = true;
      },
    );
  }
}
