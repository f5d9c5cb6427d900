/**
 * Whose call it is, where trunks of several organisations take calls from its source: a carrier's addresses are the same
 * for all its customers. It is the organisation's that has the number that was called, and no block, however narrow, makes
 * it another's.
 *
 * Where an INVITE names numbers of two (one in the Request-URI, one from which the call was diverted), the place that
 * says most directly what was called decides, in the order of `DID_SOURCES`, whatever order a trunk prefers: else an
 * organisation could put another's calls to itself by its own settings. For the same reason a telephone number in any
 * place goes before a name or a short code in any other: those are not unique to anybody.
 */
import type { PhoneNumber } from '#directory/number.js';
import type { Snapshot } from '#directory/snapshot.js';
import { DID_SOURCES, type Trunk } from '#directory/trunk.js';
import type { Octets } from '#sip/octets.js';
import { unescapeUser } from '#sip/uri.js';
import type { DidReader } from './did.js';

export type Whose =
  | { readonly organizationId: string }
  /** No trunk around has the number. */
  | 'nobody'
  /** Two read the same text as a number of theirs, which the directory refuses where it can be seen beforehand. */
  | 'several';

/** Fewer digits are a short code or an extension (ITU-T E.164 has no number in full with less). */
const TELEPHONE_NUMBER = /^\+?\d{7,15}$/;

/** True also of none. */
export function ofOneOrganization(trunks: readonly Trunk[]): boolean {
  const first = trunks[0]?.organizationId;
  for (let at = 1; at < trunks.length; at++) if (trunks[at]!.organizationId !== first) return false;
  return true;
}

/** @param trunks all that take calls from the source */
export function whoseCall(
  snapshot: Pick<Snapshot, 'plan' | 'number'>,
  read: DidReader,
  trunks: readonly Trunk[],
): Whose {
  let named: Whose = 'nobody';
  for (const place of DID_SOURCES) {
    const asking = trunks.filter(({ didSource }) => didSource.includes(place));
    if (asking.length === 0) continue;
    for (const did of read.from(place)) {
      const found = numbersOf(snapshot, asking, did);
      if (found.length === 0) continue;
      const numbers = found.filter(({ normalised }) => TELEPHONE_NUMBER.test(normalised));
      if (numbers.length > 0) return ownerOf(numbers);
      if (named === 'nobody') named = ownerOf(found);
    }
  }
  return named;
}

function numbersOf(
  snapshot: Pick<Snapshot, 'plan' | 'number'>,
  trunks: readonly Trunk[],
  did: Octets,
): PhoneNumber[] {
  const user = unescapeUser(did);
  const found: PhoneNumber[] = [];
  for (const { id } of trunks) {
    const plan = snapshot.plan(id);
    const number = plan === undefined ? undefined : snapshot.number(id, plan.normalise(user));
    if (number !== undefined) found.push(number);
  }
  return found;
}

/** What stands in the configuration file goes before what the API wrote, as everywhere. */
function ownerOf(found: readonly PhoneNumber[]): Whose {
  const config = found.filter(({ source }) => source === 'config');
  const first = (config.length > 0 ? config : found)[0]!;
  const alone = (config.length > 0 ? config : found).every(
    ({ organizationId }) => organizationId === first.organizationId,
  );
  return alone ? { organizationId: first.organizationId } : 'several';
}
