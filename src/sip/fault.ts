/** What the parser says instead of a message: what is wrong, and which answer it deserves. */
import type { Headers } from './message.js';

/** As much of a faulty request as an answer without state needs: Via, From, To, Call-ID, CSeq, when they are there. */
export interface FaultyRequest {
  readonly method: string;
  /** Free of CR, LF and NUL, also where the message was not. */
  readonly headers: Headers;
}

export interface ParseFault {
  readonly kind: 'fault';
  /** The answer it deserves; 0: none, because it is a response, an ACK, or nothing that could be answered. */
  readonly status: number;
  /** Phrase for `status`, '' when that is 0. */
  readonly reason: string;
  /** What is wrong. ASCII, free of the peer's text. */
  readonly detail: string;
  /** Present whenever `status` is not 0. */
  readonly request: FaultyRequest | undefined;
}

/** A fault before it is known whom to answer. */
export interface Wrong {
  readonly kind: 'wrong';
  readonly status: number;
  readonly detail: string;
}

export function wrong(status: number, detail: string): Wrong {
  return { kind: 'wrong', status, detail };
}
