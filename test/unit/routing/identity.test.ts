/** What providers see of who calls whom, byte for byte. */
import { describe, expect, it } from 'vitest';
import type { OutboundQuestion } from '#routing/outbound-decision.js';
import { toText } from '#sip/octets.js';
import type { Described } from '../../kit/directory.js';
import { ask, bound, onlyRoute, wire } from './outbound-kit.js';

type TrunkFields = NonNullable<Described['sipCredentials']>[number];
type NumberFields = NonNullable<Described['phoneNumbers']>[number];

/** One trunk, one number, one agent. */
function directory(
  trunk: Omit<TrunkFields, 'id' | 'server'> & { server?: string },
  number: Partial<NumberFields> = {},
  agent: object = {},
): Described {
  return {
    sipCredentials: [{ id: 'carrier', server: 'sip.example.com', ...trunk }],
    phoneNumbers: [{ id: 'line', phoneNumber: '+14155550100', credentialsId: 'carrier', ...number }],
    agents: [{ id: 'sales', outboundNumberId: 'line', ...agent }],
  };
}

const invite = (described: Described, question: Partial<OutboundQuestion> = {}, standing = bound('')) =>
  wire(
    onlyRoute(
      ask(
        described,
        question,
        standing.kind === 'bound' && standing.binding.aor !== ''
          ? { bindings: { bindingOf: () => standing } }
          : {},
      ),
    ),
  );

describe('providers', () => {
  it('Twilio: E.164 everywhere, the termination URI as host', () => {
    const twilio = directory(
      {
        server: 'acme.pstn.twilio.com',
        transport: 'tls',
        authUser: 'acme',
        authPassword: 'secret',
        numberFormat: 'e164',
        country: 'US',
      },
      { displayName: 'Acme' },
    );
    expect(invite(twilio, { to: '(415) 555-0199' })).toEqual([
      'INVITE sip:+14155550199@acme.pstn.twilio.com SIP/2.0',
      'From: "Acme" <sip:+14155550100@acme.pstn.twilio.com>',
      'To: <sip:+14155550199@acme.pstn.twilio.com>',
    ]);
    // What Twilio asks for in calls without a caller ID.
    expect(invite(twilio, { privacy: true })).toEqual([
      'INVITE sip:+14155550199@acme.pstn.twilio.com SIP/2.0',
      'From: "Anonymous" <sip:anonymous@anonymous.invalid>',
      'To: <sip:+14155550199@acme.pstn.twilio.com>',
      'P-Asserted-Identity: "Acme" <sip:+14155550100@acme.pstn.twilio.com>',
      'Privacy: id',
    ]);
  });

  it('Vonage: digits without plus, the API key in From, the number in P-Asserted-Identity', () => {
    const vonage = directory({
      server: 'sip.nexmo.com',
      authUser: 'a1b2c3d4',
      authPassword: 'secret',
      fromUser: 'a1b2c3d4',
      callerIdMode: 'pai',
      numberFormat: 'plain',
    });
    expect(invite(vonage, { to: '+442071234567' })).toEqual([
      'INVITE sip:442071234567@sip.nexmo.com SIP/2.0',
      'From: <sip:a1b2c3d4@sip.nexmo.com>',
      'To: <sip:442071234567@sip.nexmo.com>',
      'P-Asserted-Identity: <sip:14155550100@sip.nexmo.com>',
    ]);
  });

  it('voip.ms: a registered sub-account, ten digits, 011 abroad, Remote-Party-ID and X-Dest-User', () => {
    const voipms = directory(
      {
        server: 'atlanta1.voip.ms:5080',
        domain: 'atlanta1.voip.ms',
        authUser: '100000_desk',
        authPassword: 'secret',
        fromUser: '100000_desk',
        callerIdMode: 'rpid',
        numberFormat: 'national',
        country: 'US',
      },
      { registration: true, displayName: 'Acme' },
    );
    const standing = bound('sip:100000_desk@atlanta1.voip.ms');
    expect(invite(voipms, { xDestUser: '100000_desk' }, standing)).toEqual([
      'INVITE sip:4155550199@atlanta1.voip.ms SIP/2.0',
      'From: "Acme" <sip:100000_desk@atlanta1.voip.ms>',
      'To: <sip:4155550199@atlanta1.voip.ms>',
      'Remote-Party-ID: "Acme" <sip:4155550100@atlanta1.voip.ms>;party=calling;screen=yes;privacy=off',
      'X-Dest-User: 100000_desk',
    ]);
    expect(invite(voipms, { to: '+44 20 7123 4567' }, standing)[0]).toBe(
      'INVITE sip:011442071234567@atlanta1.voip.ms SIP/2.0',
    );
  });

  it('sipgate: the SIP ID in From, the number in P-Preferred-Identity, user=phone', () => {
    const sipgate = directory(
      {
        server: 'sipconnect.sipgate.de',
        authUser: '8501234t0',
        authPassword: 'secret',
        fromUser: '8501234t0',
        callerIdMode: 'ppi',
        numberFormat: 'e164',
        country: 'DE',
        userPhone: true,
      },
      { phoneNumber: '+49211300100', displayName: 'Müller "& Söhne"' },
    );
    expect(invite(sipgate, { to: '030 1234567' }).map(toText)).toEqual([
      'INVITE sip:+49301234567@sipconnect.sipgate.de;user=phone SIP/2.0',
      'From: "Müller \\"& Söhne\\"" <sip:8501234t0@sipconnect.sipgate.de>',
      'To: <sip:+49301234567@sipconnect.sipgate.de;user=phone>',
      'P-Preferred-Identity: "Müller \\"& Söhne\\"" <sip:+49211300100@sipconnect.sipgate.de;user=phone>',
    ]);
  });
});

describe('the name', () => {
  const named = directory({}, { displayName: 'Acme' });
  const from = (displayName: string | undefined) => invite(named, { displayName })[1];

  it('is the number’s where the call gives none, none where it is empty, else the call’s', () => {
    expect(from(undefined)).toBe('From: "Acme" <sip:+14155550100@sip.example.com>');
    expect(from('')).toBe('From: <sip:+14155550100@sip.example.com>');
    expect(from('Sales')).toBe('From: "Sales" <sip:+14155550100@sip.example.com>');
    expect(invite(directory({}))[1]).toBe('From: <sip:+14155550100@sip.example.com>');
  });

  it('cannot break out, and is cut where no display shows it', () => {
    expect(from('a"\r\nVia: x')).toBe('From: "a\\"  Via: x" <sip:+14155550100@sip.example.com>');
    expect(from('😀'.repeat(300))).toHaveLength(
      'From: "" <sip:+14155550100@sip.example.com>'.length + 256 * 4,
    );
  });
});

describe('the number', () => {
  it.each([
    ['asIs', undefined, '+14155550199', '+14155550199'],
    ['asIs', 'US', '(415) 555-0199', '4155550199'],
    ['asIs', undefined, '+44 (0)20 7123 4567', '+442071234567'],
    ['asIs', undefined, 'echo', 'echo'],
    ['e164', 'GB', '020 7123 4567', '+442071234567'],
    ['e164', undefined, '4155550199', '4155550199'],
    ['e164', 'US', '911', '911'],
    ['plain', undefined, '+14155550199', '14155550199'],
    ['plain', 'US', '415-555-0199', '14155550199'],
    ['plain', undefined, '0301234567', '0301234567'],
    ['national', 'US', '+14155550199', '4155550199'],
    ['national', 'DE', '+49301234567', '0301234567'],
    ['national', 'DE', '+14155550199', '0014155550199'],
    ['national', 'IT', '+390612345678', '0612345678'],
    ['national', 'US', 'echo', 'echo'],
  ] as const)('in format %s with country %s: %s is dialled %s', (numberFormat, country, to, dialled) => {
    const route = onlyRoute(ask(directory({ numberFormat, country }), { to }));
    expect(route.dialled).toBe(dialled);
    expect(route.uri).toBe(`sip:${dialled}@sip.example.com`);
  });

  it('gets a prefix where it is dialled, and nowhere else', () => {
    const described = directory({ techPrefix: '99#', numberFormat: 'plain' });
    expect(invite(described)).toEqual([
      'INVITE sip:99%2314155550199@sip.example.com SIP/2.0',
      'From: <sip:14155550100@sip.example.com>',
      'To: <sip:99%2314155550199@sip.example.com>',
    ]);
    expect(invite(described, { to: 'echo' })[0]).toBe('INVITE sip:echo@sip.example.com SIP/2.0');
  });

  it('is marked as a telephone number in every URI that has one', () => {
    expect(invite(directory({ userPhone: true, callerIdMode: 'diversion' }))).toEqual([
      'INVITE sip:+14155550199@sip.example.com;user=phone SIP/2.0',
      'From: <sip:+14155550100@sip.example.com;user=phone>',
      'To: <sip:+14155550199@sip.example.com;user=phone>',
      'Diversion: <sip:+14155550100@sip.example.com;user=phone>;reason=unconditional',
    ]);
    expect(invite(directory({ userPhone: true }), { to: 'echo' })[0]).toBe(
      'INVITE sip:echo@sip.example.com SIP/2.0',
    );
  });

  it.each([
    ['sip:+14155550199@anywhere.example;user=phone', '+14155550199'],
    ['tel:+1-415-555-0199;ext=5', '+14155550199'],
    ['+14155550199;npdi', '+14155550199'],
    ['sip:a%40b@x', 'a%40b'],
    ['bob@example.com', 'bob'],
    ['  +14155550199 ', '+14155550199'],
    ['a b:c<d>"e"', 'a%20b%3Ac%3Cd%3E%22e%22'],
    ['日本', '%E6%97%A5%E6%9C%AC'],
  ])('%s is dialled as %s', (to, user) => {
    expect(onlyRoute(ask(directory({}), { to })).uri).toBe(`sip:${user}@sip.example.com`);
  });
});

describe('the host', () => {
  const callers = (trunk: object, aor = '') => invite(directory(trunk), {}, bound(aor)).slice(0, 3);

  it('is the server, with its port in the Request-URI only', () => {
    expect(callers({ server: '192.0.2.1:5080' })).toEqual([
      'INVITE sip:+14155550199@192.0.2.1:5080 SIP/2.0',
      'From: <sip:+14155550100@192.0.2.1>',
      'To: <sip:+14155550199@192.0.2.1>',
    ]);
    expect(callers({ server: '[2001:db8::1]:5080' })).toEqual([
      'INVITE sip:+14155550199@[2001:db8::1]:5080 SIP/2.0',
      'From: <sip:+14155550100@[2001:db8::1]>',
      'To: <sip:+14155550199@[2001:db8::1]>',
    ]);
  });

  it('is the domain in From and To, and in the Request-URI of a trunk that is registered', () => {
    const trunk = { server: 'edge.example:5080', domain: 'provider.example' };
    expect(callers(trunk)).toEqual([
      'INVITE sip:+14155550199@edge.example:5080 SIP/2.0',
      'From: <sip:+14155550100@provider.example>',
      'To: <sip:+14155550199@provider.example>',
    ]);
    expect(callers(trunk, 'sip:acme@provider.example')).toEqual([
      'INVITE sip:+14155550199@provider.example SIP/2.0',
      'From: <sip:+14155550100@provider.example>',
      'To: <sip:+14155550199@provider.example>',
    ]);
  });

  it('of From is what the trunk says', () => {
    const trunk = { fromDomain: 'acme.example', fromUser: 'acme', callerIdMode: 'pai' };
    expect(invite(directory(trunk as object))).toEqual([
      'INVITE sip:+14155550199@sip.example.com SIP/2.0',
      'From: <sip:acme@acme.example>',
      'To: <sip:+14155550199@sip.example.com>',
      'P-Asserted-Identity: <sip:+14155550100@acme.example>',
    ]);
  });
});

describe('privacy', () => {
  it.each([
    ['from', 'P-Asserted-Identity: <sip:+14155550100@sip.example.com>'],
    ['pai', 'P-Asserted-Identity: <sip:+14155550100@sip.example.com>'],
    ['ppi', 'P-Preferred-Identity: <sip:+14155550100@sip.example.com>'],
    ['rpid', 'Remote-Party-ID: <sip:+14155550100@sip.example.com>;party=calling;screen=yes;privacy=full'],
    ['diversion', 'Diversion: <sip:+14155550100@sip.example.com>;reason=unconditional;privacy=full'],
  ] as const)('in mode %s keeps the number from From', (callerIdMode, field) => {
    expect(invite(directory({ callerIdMode, fromUser: 'acme' }), { privacy: true }).slice(1)).toEqual([
      'From: "Anonymous" <sip:anonymous@anonymous.invalid>',
      'To: <sip:+14155550199@sip.example.com>',
      field,
      'Privacy: id',
    ]);
  });

  it('names the domain that the provider insists on', () => {
    const trunk = { fromDomain: 'acme.example', privacy: true };
    expect(invite(directory(trunk))[1]).toBe('From: "Anonymous" <sip:anonymous@acme.example>');
  });

  it.each([
    ['nobody', {}, {}, {}, false],
    ['the trunk', { privacy: true }, {}, {}, true],
    ['the agent', {}, { callerPrivacy: true }, {}, true],
    ['the call', {}, {}, { privacy: true }, true],
    ['the call, against the agent', {}, { callerPrivacy: true }, { privacy: false }, false],
    ['from: anonymous', {}, {}, { from: 'Anonymous' }, true],
  ])('is asked for by %s', (_, trunk, agent, question, withheld) => {
    const lines = invite(directory(trunk, {}, agent), question);
    expect(lines.includes('Privacy: id')).toBe(withheld);
    expect(lines[1]!.includes('anonymous')).toBe(withheld);
  });
});

describe('header fields', () => {
  const described = directory({
    headers: { 'X-Account': 'trunk', 'X-Dest-User': 'trunk', 'X-Own': 'trunk' },
  });

  it('of the call go before the trunk’s', () => {
    const headers = new Map([['x-account', 'call']]);
    expect(invite(described, { headers, xDestUser: 'desk' }).slice(3)).toEqual([
      'X-Dest-User: desk',
      'x-account: call',
      'X-Own: trunk',
    ]);
  });

  it('have X-Dest-User only where it is set', () => {
    expect(invite(directory({}), { xDestUser: '' })).toHaveLength(3);
  });

  it('do not double what says who calls', () => {
    const trunk = { callerIdMode: 'pai', headers: { 'P-Asserted-Identity': '<sip:other@x>' } } as const;
    expect(invite(directory(trunk)).slice(3)).toEqual([
      'P-Asserted-Identity: <sip:+14155550100@sip.example.com>',
    ]);
  });
});

describe('an agent’s own account', () => {
  const registration = {
    domain: 'pbx.example',
    username: '1001',
    password: 'secret',
    port: 5070,
    proxy: 'proxy.example',
  };
  const own = (fields: object): Described => ({
    agents: [{ id: 'sales', sipRegistration: { ...registration, ...fields } }],
  });
  const standing = bound('sip:1001@pbx.example');

  it('is named by its user, at its domain', () => {
    expect(invite(own({}), { to: '200' }, standing)).toEqual([
      'INVITE sip:200@pbx.example SIP/2.0',
      'From: <sip:1001@pbx.example>',
      'To: <sip:200@pbx.example>',
    ]);
  });

  it('shows its did, as callerIdMode says, and its X-Dest-User', () => {
    const fields = { did: '+15551234567', callerIdMode: 'ppi', xDestUser: 'routing.user+1@example' };
    expect(invite(own(fields), {}, standing).slice(1)).toEqual([
      'From: <sip:+15551234567@pbx.example>',
      'To: <sip:+14155550199@pbx.example>',
      'P-Preferred-Identity: <sip:+15551234567@pbx.example>',
      'X-Dest-User: routing.user+1@example',
    ]);
    expect(invite(own(fields), { xDestUser: 'other' }, standing).at(-1)).toBe('X-Dest-User: other');
  });
});
