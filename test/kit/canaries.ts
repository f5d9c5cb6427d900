/** Secrets with marks, and where they were seen: in the clear, in base64, in hexadecimal or percent-encoded. */

/** Shortest piece of an encoded secret that counts: less would be found by chance. */
const SHORTEST = 12;

export class Canaries {
  /** Form of a secret → what it is. */
  readonly #forms = new Map<string, string>();
  readonly #seen = new Set<string>();
  /** Places that were looked at. */
  readonly places = new Set<string>();

  /**
   * A secret that is looked for from now on.
   * @returns it
   */
  add(name: string, secret: string): string {
    for (const [how, form] of formsOf(secret)) this.#forms.set(form, `${name} (${how})`);
    return secret;
  }

  /** Looks for every secret; what is found is in `seen`. */
  look(place: string, content: string | Buffer): void {
    this.places.add(place);
    const text = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
    for (const [form, name] of this.#forms) {
      const at = text.indexOf(form);
      if (at < 0) continue;
      const before = text.subarray(Math.max(0, at - 60), at).toString('latin1');
      this.#seen.add(`${place}: ${name}, after ${JSON.stringify(before)}`);
    }
  }

  /** `place: secret (form), after "…"`, of everything that was found so far. */
  get seen(): readonly string[] {
    return [...this.#seen];
  }
}

function* formsOf(secret: string): Iterable<readonly [how: string, form: string]> {
  if (secret.length < SHORTEST) throw new Error(`too short to be looked for: ${secret}`);
  yield ['in the clear', secret];
  yield ['percent-encoded', encodeURIComponent(secret)];
  yield ['as a form', new URLSearchParams({ '': secret }).toString().slice(1)];
  yield ['in JSON', JSON.stringify(secret).slice(1, -1)];
  yield ['in hexadecimal', Buffer.from(secret).toString('hex')];
  // Behind any number of octets, as `user:password` of Basic authentication has it: the groups of three shift.
  for (const shift of [0, 1, 2]) {
    const octets = Buffer.from(`${'x'.repeat(shift)}${secret}`);
    for (const alphabet of ['base64', 'base64url'] as const) {
      const encoded = octets.toString(alphabet).replace(/=+$/, '');
      // The first and the last character also hold bits of what stands beside the secret.
      yield [alphabet, encoded.slice(shift === 0 ? 0 : shift + 1, -1)];
    }
  }
}
