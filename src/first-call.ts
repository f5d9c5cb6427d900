/** What a newcomer may try, part of the composition root. */
import type { Snapshot } from '#directory/snapshot.js';
import type { Listener } from '#engine/engine.js';

/** Commands for a first call, where the directory has a number that can be called from this machine. */
export function firstCall(snapshot: Snapshot, listeners: readonly Listener[]): string[] {
  const listener = listeners.find(({ transport, host }) => transport === 'udp' && host === '127.0.0.1');
  if (listener === undefined) return [];
  for (const number of snapshot.numbers()) {
    const agent = number.inboundAgentId === undefined ? undefined : snapshot.agent(number.inboundAgentId);
    const port = /^sip:(?:[^@]*@)?127\.0\.0\.1:(\d+)$/.exec(agent?.endpoints[0]?.uri ?? '')?.[1];
    const local = snapshot.trunksBySource('127.0.0.1').some(({ id }) => id === number.credentialsId);
    if (port === undefined || !local || agent?.enabled !== true) continue;
    return [
      `a first call, with SIPp: the agent  sipp -sn uas -i 127.0.0.1 -p ${port}`,
      `and in another terminal: the caller  sipp -sn uac -i 127.0.0.1 -p 5080 -s ${number.phoneNumber} -m 1 127.0.0.1:${listener.port}`,
    ];
  }
  return [];
}
