/** Where requests land that start no known transaction (RFC 3261 §8.2, §12.2.2): new calls, dialogs, the rest. */
import type { SipRequest } from '#sip/message.js';
import { reasonPhrase } from '#sip/status.js';
import type { EngineHandlers, EngineNotice, Source } from '../../engine.js';
import type { ServerTransaction, TransactionUser } from '../transaction/transaction.js';
import type { DialogContext } from './context.js';
import { IncomingInviteCall } from './incoming-invite.js';
import { IncomingTransactionRequest } from './incoming-request.js';

const NO_HANDLERS: EngineHandlers = {
  screen: () => 'drop',
  onInvite: () => undefined,
  onRequest: () => undefined,
  onNotice: () => undefined,
};

export class UserAgentCore implements TransactionUser {
  handlers: EngineHandlers = NO_HANDLERS;
  /** New INVITEs are answered 503. */
  draining = false;
  #context: DialogContext | null = null;

  /** The transaction layer needs the core and the core's context needs the transaction layer, so it comes second. */
  attach(context: DialogContext): void {
    this.#context = context;
  }

  screen(source: Source): 'known' | 'stranger' | 'drop' {
    return this.handlers.screen(source);
  }

  onRequest(transaction: ServerTransaction): void {
    const context = this.#context!;
    const request = transaction.request;
    const toTag = request.to.tag;
    if (toTag !== undefined) {
      const tenant = context.dialogs.find(toTag);
      if (tenant !== undefined) tenant.onDialogRequest(transaction, request, toTag);
      // RFC 5407 §3.2.1: a BYE that crosses ours is answered 200; the peer has done nothing wrong.
      else if (request.method === 'BYE' && context.dialogs.crosses(toTag, request.callId))
        transaction.respond(200, reasonPhrase(200), '', '');
      else transaction.respond(481, reasonPhrase(481), '', '');
      return;
    }
    if (request.method === 'INVITE') this.#onInvite(context, transaction);
    else this.handlers.onRequest(new IncomingTransactionRequest(transaction));
  }

  onAck(ack: SipRequest, source: Source): void {
    const toTag = ack.to.tag;
    if (toTag !== undefined) this.#context!.dialogs.find(toTag)?.onDialogAck(ack, source);
  }

  onNotice(notice: EngineNotice): void {
    this.handlers.onNotice(notice);
  }

  #onInvite(context: DialogContext, transaction: ServerTransaction): void {
    const full = context.dialogs.size >= context.limits.dialogs;
    if (this.draining || full) {
      if (full) this.onNotice({ kind: 'limit', limit: 'dialogs', source: transaction.source });
      transaction.respond(503, reasonPhrase(503), 'Retry-After: 5\r\n', '');
      return;
    }
    this.handlers.onInvite(new IncomingInviteCall(context, transaction));
  }
}
