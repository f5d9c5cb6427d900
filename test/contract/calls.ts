/** Calls made ready for a test: answered, acknowledged, with both halves of the dialog at hand. */
import type { Dialog, OutgoingInviteOptions, TransportName } from '#engine/engine.js';
import { type HeaderLines, Message, SDP } from '../kit/sip-message.js';
import { hopByHop, PeerDialog, type Received, type SipPeer, type Way } from '../kit/sip-peer.js';
import { type DialogRecord, HOST, type IncomingRecord, type Rig } from './rig.js';

/** A call of either direction after its ACK. */
export interface LiveCall {
  readonly peer: SipPeer;
  /** Sends to the engine the way that the peer's requests go. */
  readonly way: Way;
  readonly dialog: Dialog;
  readonly events: DialogRecord;
  readonly remote: PeerDialog;
  /** The INVITE that made it. */
  readonly invite: Message;
}

export interface IncomingOptions {
  readonly transport?: TransportName;
  readonly peer?: SipPeer;
  readonly headers?: HeaderLines;
  readonly contact?: string;
  readonly body?: string;
}

/** Sends an INVITE of the peer and waits until the engine's user has it. */
export async function incoming(
  rig: Rig,
  options: IncomingOptions = {},
): Promise<{ peer: SipPeer; way: Way; invite: Message; record: IncomingRecord }> {
  const peer = options.peer ?? (await rig.peer(options.transport));
  const to = rig.at(peer.transport, peer.host.includes(':') ? peer.host : HOST);
  const way = await peer.way(to);
  const octets = peer.request({
    method: 'INVITE',
    to,
    body: options.body ?? SDP,
    ...(options.headers === undefined ? {} : { headers: options.headers }),
    ...(options.contact === undefined ? {} : { contact: options.contact }),
  });
  way.send(octets);
  return { peer, way, invite: new Message(octets), record: await rig.invites.next() };
}

/** An incoming call, accepted and acknowledged. */
export async function answeredIncoming(rig: Rig, options: IncomingOptions = {}): Promise<LiveCall> {
  const { peer, way, invite, record } = await incoming(rig, options);
  const { dialog, events } = rig.accept(record, { body: SDP });
  const answer = await peer.expect('200 INVITE');
  const remote = PeerDialog.ofCaller(peer, invite, answer);
  way.send(remote.request('ACK', { cseq: invite.cseq }));
  await events.acks.next();
  return { peer, way, dialog, events, remote, invite };
}

/** An outgoing call, answered and acknowledged. */
export async function answeredOutgoing(
  rig: Rig,
  options: {
    readonly transport?: TransportName;
    readonly peer?: SipPeer;
    readonly invite?: Partial<OutgoingInviteOptions>;
    readonly contact?: string;
    readonly headers?: HeaderLines;
  } = {},
): Promise<LiveCall & { readonly received: Received; readonly ack: Received }> {
  const peer = options.peer ?? (await rig.peer(options.transport));
  const record = rig.call(peer, { body: SDP, ...options.invite });
  const received = await peer.expect('INVITE');
  peer.respond(received, 200, 'OK', {
    contact: options.contact ?? peer.contact,
    headers: options.headers,
    body: SDP,
  });
  const answer = await record.answers.next();
  answer.ack();
  const ack = await peer.expect('ACK');
  return {
    peer,
    way: { send: (octets) => peer.answer(received, octets) },
    dialog: answer.dialog,
    events: record.dialog,
    remote: PeerDialog.ofCallee(peer, received),
    invite: received,
    received,
    ack,
  };
}

/** Our final answer other than 2xx gets its ACK. */
export function acknowledge(way: Way, invite: Message, final: Received): void {
  way.send(hopByHop('ACK', invite, final.header('To')));
}
