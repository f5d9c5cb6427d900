/**
 * An agent's own account, seen as what routing and calls know: a trunk that only this agent uses, with one number.
 * Neither is listed among trunks and numbers.
 */
import type { Agent, AgentSipRegistration } from './agent.js';
import type { PhoneNumber } from './number.js';
import type { Trunk } from './trunk.js';

export interface AgentAccount {
  readonly trunk: Trunk;
  readonly number: PhoneNumber;
}

/** @param relayHeaders what every trunk relays */
export function accountOf(
  agent: Agent,
  registration: AgentSipRegistration,
  relayHeaders: readonly string[],
): AgentAccount {
  const id = `agent:${agent.id}`;
  const trunk: Trunk = {
    id,
    organizationId: agent.organizationId,
    description: undefined,
    source: agent.source,
    providerId: undefined,
    server: { host: registration.domain, port: registration.port },
    transport: registration.transport,
    outboundProxy: registration.proxy,
    authUser: registration.username,
    authUsername: registration.authUsername,
    authPassword: registration.password,
    domain: registration.domain,
    fromUser: undefined,
    fromDomain: undefined,
    callerIdMode: registration.callerIdMode,
    numberFormat: 'asIs',
    country: undefined,
    techPrefix: undefined,
    userPhone: false,
    privacy: false,
    cpsLimit: undefined,
    cpsKey: id,
    cpsBurst: 1,
    cpsCountsChallenges: false,
    allowedAddresses: [],
    inboundAuth: undefined,
    didSource: ['to', 'x-dest-user'],
    headers: new Map(),
    relayHeaders,
    tls: {
      verify: undefined,
      ca: undefined,
      clientCert: undefined,
      clientKey: undefined,
      serverName: undefined,
      minVersion: undefined,
    },
    optionsPing: undefined,
    maxConcurrentCalls: undefined,
    callsPerDay: undefined,
    destinations: { allow: [], deny: [] },
    ringTimeoutSeconds: undefined,
    maxDurationSeconds: undefined,
    failoverStatuses: undefined,
    delayedOffer: false,
  };
  const phoneNumber = registration.did ?? registration.username;
  const number: PhoneNumber = {
    id,
    organizationId: agent.organizationId,
    source: agent.source,
    phoneNumber,
    normalised: phoneNumber,
    credentialsId: id,
    inboundAgentId: agent.id,
    transferTrunkId: undefined,
    displayName: undefined,
    description: undefined,
    registration: true,
  };
  return { trunk, number };
}
