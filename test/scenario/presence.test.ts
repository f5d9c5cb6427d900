/** A running gateway registers an agent's account at a PBX, and follows its presence there. */
import { afterEach, expect, it } from 'vitest';
import type { PresenceView } from '#registration/presence/presence-view.js';
import type { RegistrationView } from '#registration/registration-view.js';
import { Gateway } from '../kit/gateway.js';
import { until } from '../kit/processes.js';
import { SipPeer } from '../kit/sip-peer.js';

let gateway: Gateway | undefined;
let pbx: SipPeer | undefined;
afterEach(async () => {
  await gateway?.stop();
  await pbx?.close();
});

interface AgentRegistration {
  readonly registration: RegistrationView | null;
  readonly state: string;
  readonly presence: PresenceView | null;
}

const info = (version: number, state: string, inside: string): string =>
  `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="${version}" state="${state}" entity="sip:200@pbx.test">${inside}</dialog-info>`;

it('subscribes after registering, tells what NOTIFYs say, and takes both off at the end', async () => {
  const peer = await SipPeer.open('udp');
  pbx = peer;
  peer.intercept = (message) => {
    const expires: readonly [string, string] = ['Expires', message.header('Expires')];
    if (message.method === 'OPTIONS') peer.respond(message, 200, 'OK');
    if (message.method === 'REGISTER') {
      const contact: readonly [string, string] = ['Contact', message.header('Contact')];
      peer.respond(message, 200, 'OK', { headers: [expires, contact] });
    }
    if (message.method === 'SUBSCRIBE') {
      const served = message.header('Event') === 'dialog';
      if (served) peer.respond(message, 200, 'OK', { headers: [expires], contact: peer.contact });
      else peer.respond(message, 489, 'Bad Event');
    }
    return false;
  };
  const running = await Gateway.start({
    config: {
      agents: [
        {
          id: 'desk',
          sipRegistration: {
            domain: 'pbx.test',
            proxy: peer.hostPort,
            username: '200',
            password: 'secret',
            subscribe: true,
          },
        },
      ],
    },
  });
  gateway = running;

  const dialog = await peer.expect(
    (message) => message.method === 'SUBSCRIBE' && message.header('Event') === 'dialog',
  );
  expect(dialog.uri).toBe('sip:200@pbx.test');

  const status = async (): Promise<AgentRegistration> => {
    const response = await running.get('/api/v1/agents/desk/sip-registration');
    return (await response.json()) as AgentRegistration;
  };
  const notify = async (version: number, state: string, inside: string): Promise<void> => {
    const way = await peer.way({ host: '127.0.0.1', port: running.port });
    way.send(
      peer
        .request({
          method: 'NOTIFY',
          to: { host: '127.0.0.1', port: running.port },
          uri: dialog.contactUri,
          fromUri: 'sip:200@pbx.test',
          toUri: 'sip:200@pbx.test',
          fromTag: 'uas',
          toTag: dialog.tag('From'),
          callId: dialog.callId,
          cseq: version + 1,
          headers: [
            ['Event', 'dialog'],
            ['Subscription-State', 'active;expires=3600'],
            ['Content-Type', 'application/dialog-info+xml'],
          ],
          // Without the type that a request of the peer has otherwise.
          body: '',
        })
        .replace('Content-Length: 0\r\n\r\n', () => {
          const body = info(version, state, inside);
          return `Content-Length: ${body.length}\r\n\r\n${body}`;
        }),
    );
    await peer.expect(
      (message) => message.status === 200 && message.header('CSeq') === `${version + 1} NOTIFY`,
    );
  };
  await notify(0, 'full', '');
  expect((await status()).presence).toMatchObject({ busy: false, dialogs: [] });
  await notify(1, 'partial', '<dialog id="c1" direction="recipient"><state>confirmed</state></dialog>');
  const shown = await status();
  expect(shown).toMatchObject({
    state: 'registered',
    presence: {
      busy: true,
      dialogs: [{ id: 'c1', state: 'confirmed', direction: 'recipient', remote: null }],
    },
  });
  expect(shown.presence?.subscriptions.map(({ package: kind, state }) => [kind, state])).toEqual([
    ['dialog', 'active'],
    ['presence', 'unsupported'],
  ]);
  const metrics = await (await running.get('/metrics')).text();
  expect(metrics).toContain('trunkline_presence_subscriptions{state="active"} 1');
  expect(metrics).toContain('trunkline_registrations{state="registered"} 1');
  expect(metrics).toContain('trunkline_presence_notifies_total{outcome="taken"} 2');

  await running.stop();
  await until('SUBSCRIBE and REGISTER with Expires 0', async () => {
    const last = (method: string): string =>
      peer.received
        .findLast((message) => message.method === method && message.header('Event') !== 'presence')
        ?.header('Expires') ?? '';
    return last('SUBSCRIBE') === '0' && last('REGISTER') === '0';
  });
});
