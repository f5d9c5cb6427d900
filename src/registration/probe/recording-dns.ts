/** A DNS port that notes what was asked and answered, so that the probe can show the records. */
import type { AddressRecord, Dns, NaptrRecord, SrvRecord } from '#targets/dns.js';
import type { Fact } from './report.js';

/** An answer with more records than this is cut in the report. */
const SHOWN_MAX = 20;

export class RecordingDns implements Dns {
  readonly #dns: Dns;
  /** In the order of the questions. */
  readonly questions: { readonly type: string; readonly name: string; answer: Fact }[] = [];

  constructor(dns: Dns) {
    this.#dns = dns;
  }

  resolveNaptr(name: string): Promise<readonly NaptrRecord[]> {
    return this.#note('NAPTR', name, this.#dns.resolveNaptr(name), (record) => {
      const { order, preference, flags, service, replacement } = record;
      return `${order} ${preference} "${flags}" "${service}" ${replacement}`;
    });
  }

  resolveSrv(name: string): Promise<readonly SrvRecord[]> {
    return this.#note('SRV', name, this.#dns.resolveSrv(name), (record) => {
      return `${record.priority} ${record.weight} ${record.port} ${record.name}`;
    });
  }

  resolve4(name: string): Promise<readonly AddressRecord[]> {
    return this.#note('A', name, this.#dns.resolve4(name), ({ address }) => address);
  }

  resolve6(name: string): Promise<readonly AddressRecord[]> {
    return this.#note('AAAA', name, this.#dns.resolve6(name), ({ address }) => address);
  }

  lookup(name: string): Promise<readonly { readonly address: string; readonly family: number }[]> {
    return this.#note('hosts', name, this.#dns.lookup(name), ({ address }) => address);
  }

  async #note<T>(
    type: string,
    name: string,
    asked: Promise<readonly T[]>,
    show: (record: T) => string,
  ): Promise<readonly T[]> {
    const question: RecordingDns['questions'][number] = { type, name: printed(name), answer: 'no answer' };
    this.questions.push(question);
    try {
      const records = await asked;
      question.answer = records.slice(0, SHOWN_MAX).map((record) => printed(show(record)));
      return records;
    } catch (error) {
      question.answer = error instanceof Error && 'code' in error ? String(error.code) : 'failed';
      throw error;
    }
  }
}

/** Names come from the DNS, where any octet may stand in a label. */
function printed(text: string): string {
  return text.slice(0, 300).replace(/[^\x20-\x7e]/g, '?');
}
