/** Header fields whose value is a list (RFC 3261 §7.3.1), and `;name=value` parameters (§25.1 generic-param). */
import {
  BACKSLASH,
  BLANK,
  bytesOf,
  COMMA,
  DQUOTE,
  GREATER,
  LESS,
  ParamCursor,
  SEMICOLON,
  skip,
  trim,
  trimEnd,
} from './grammar.js';
import type { SipMessage } from './message.js';
import type { Octets } from './octets.js';

/** The comma-separated values, trimmed; commas inside quotes and angle brackets divide nothing. Empty ones are left out. */
export function splitList(value: Octets): Octets[] {
  const list: Octets[] = [];
  const add = (start: number, end: number): void => {
    const one = trim(value.slice(start, end));
    if (one !== '') list.push(one);
  };
  let start = 0;
  if (value.includes(',')) {
    let quoted = false;
    let bracketed = false;
    for (let i = 0; i < value.length; i++) {
      const c = value.charCodeAt(i);
      if (quoted) {
        if (c === BACKSLASH) i++;
        else if (c === DQUOTE) quoted = false;
      } else if (c === DQUOTE) quoted = true;
      else if (c === LESS) bracketed = true;
      else if (c === GREATER) bracketed = false;
      else if (c === COMMA && !bracketed) {
        add(start, i);
        start = i + 1;
      }
    }
  }
  add(start, value.length);
  return list;
}

/** A value with the parameters that follow it. */
export interface Parameterised {
  /** What stands before the first semicolon, trimmed. */
  readonly value: Octets;
  /** Names in lower case, values unquoted, '' for a flag. */
  readonly params: ReadonlyMap<string, Octets>;
}

/** `value;name=content;flag` (Event, Content-Type, Session-Expires, Reason…); undefined when a parameter is malformed. */
export function parseParams(text: Octets): Parameterised | undefined {
  const bytes = bytesOf(text);
  const end = trimEnd(bytes, 0, text.length);
  const start = skip(bytes, 0, end, BLANK);
  const semicolon = text.indexOf(';', start);
  const valueEnd = semicolon < 0 ? end : semicolon;
  const params = new Map<string, Octets>();
  const param = new ParamCursor();
  for (param.at = valueEnd; param.at < end; ) {
    if (bytes[param.at] !== SEMICOLON || !param.next(bytes, end)) return undefined;
    const name = text.slice(param.nameStart, param.nameEnd).toLowerCase();
    if (!params.has(name)) params.set(name, param.value(text));
  }
  return { value: text.slice(start, trimEnd(bytes, start, valueEnd)), params };
}

/** Option tags of Require, Supported, Unsupported, Proxy-Require (§19.2) over all fields, in lower case. */
export function optionTags(values: readonly Octets[]): string[] {
  const tags: string[] = [];
  for (const value of values) for (const tag of splitList(value)) tags.push(tag.toLowerCase());
  return tags;
}

/** Whether a message names an option tag (§19.2), given in lower case. */
export function hasOptionTag(message: SipMessage, header: 'supported' | 'require', tag: string): boolean {
  return message.headers.has(header) && optionTags(message.headers.all(header)).includes(tag);
}
