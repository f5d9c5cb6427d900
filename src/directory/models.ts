/** From fields that `schema.ts` has found valid to the objects that the directory keeps. */
import type * as z from 'zod';
import type { Agent, AgentSipRegistration } from './agent.js';
import { addressKey, type Cidr, parseCidr } from './cidr.js';
import type { NumberInput } from './draft.js';
import type { Organization } from './organization.js';
import type {
  agentSchema,
  numberSchema,
  organizationSchema,
  sipRegistrationSchema,
  trunkSchema,
} from './schema.js';
import type { HostPort, ObjectSource, Trunk } from './trunk.js';

/** The trunk of validated fields, every field in its place so that all trunks have one shape. */
export function toTrunk(
  input: z.output<typeof trunkSchema>,
  source: ObjectSource,
  providerId?: string,
): Trunk {
  return {
    id: input.id,
    organizationId: input.organizationId,
    description: input.description,
    source,
    providerId,
    server: input.server,
    transport: input.transport,
    outboundProxy: input.outboundProxy,
    authUser: input.authUser,
    authUsername: input.authUsername,
    authPassword: input.authPassword,
    domain: input.domain,
    fromUser: input.fromUser,
    fromDomain: input.fromDomain,
    callerIdMode: input.callerIdMode,
    numberFormat: input.numberFormat,
    country: input.country,
    techPrefix: input.techPrefix,
    userPhone: input.userPhone,
    privacy: input.privacy,
    cpsLimit: input.cpsLimit,
    cpsKey: input.cpsKey ?? input.id,
    cpsBurst: input.cpsBurst,
    cpsCountsChallenges: input.cpsCountsChallenges,
    allowedAddresses:
      input.allowedAddresses ?? (input.inboundAuth === undefined ? ownAddress(input.server) : []),
    inboundAuth: input.inboundAuth,
    didSource: input.didSource,
    headers: input.headers,
    relayHeaders: input.relayHeaders,
    tls: {
      verify: input.tls.verify,
      ca: input.tls.ca,
      clientCert: input.tls.clientCert,
      clientKey: input.tls.clientKey,
      serverName: input.tls.serverName,
      minVersion: input.tls.minVersion,
    },
    optionsPing: input.optionsPing,
    maxConcurrentCalls: input.maxConcurrentCalls,
    callsPerDay: input.callsPerDay,
    destinations: input.destinations,
    ringTimeoutSeconds: input.ringTimeoutSeconds,
    maxDurationSeconds: input.maxDurationSeconds,
    failoverStatuses: input.failoverStatuses,
    delayedOffer: input.delayedOffer,
  };
}

/** A provider named by an address calls from it, until told otherwise. */
function ownAddress(server: HostPort): Cidr[] {
  const own = addressKey(server.host) === undefined ? undefined : parseCidr(server.host);
  return own === undefined || typeof own === 'string' ? [] : [own];
}

/** The number of validated fields; its id is the number unless it has one. */
export function toNumber(input: z.output<typeof numberSchema>, source: ObjectSource): NumberInput {
  return {
    id: input.id ?? input.phoneNumber,
    organizationId: input.organizationId,
    source,
    phoneNumber: input.phoneNumber,
    credentialsId: input.credentialsId,
    inboundAgentId: input.inboundAgentId,
    transferTrunkId: input.transferTrunkId,
    displayName: input.displayName,
    description: input.description,
    registration: input.registration,
  };
}

/** The agent of validated fields. */
export function toAgent(input: z.output<typeof agentSchema>, source: ObjectSource): Agent {
  return {
    id: input.id,
    organizationId: input.organizationId,
    source,
    name: input.name ?? input.id,
    enabled: input.enabled,
    platform: input.platform,
    endpoints: input.endpoints,
    headers: input.headers,
    outboundNumberId: input.outboundNumberId,
    fallbackNumberIds: input.fallbackNumberIds,
    callerPrivacy: input.callerPrivacy,
    originate: input.originate,
    inboundAuth: input.inboundAuth,
    allowedAddresses: input.allowedAddresses,
    ringTimeoutSeconds: input.ringTimeoutSeconds,
    sipRegistration:
      input.sipRegistration === undefined ? undefined : toSipRegistration(input.sipRegistration),
  };
}

function toSipRegistration(input: z.output<typeof sipRegistrationSchema>): AgentSipRegistration {
  return {
    domain: input.domain,
    username: input.username,
    password: input.password,
    authUsername: input.authUsername,
    proxy: input.proxy,
    port: input.port,
    transport: input.transport,
    subscribe: input.subscribe,
    did: input.did,
    callerIdMode: input.callerIdMode,
    xDestUser: input.xDestUser,
  };
}

/** The organisation of validated fields. */
export function toOrganization(
  input: z.output<typeof organizationSchema>,
  source: ObjectSource,
): Organization {
  const { destinations, maxConcurrentCalls, callsPerDay, maxDurationSeconds } = input.limits;
  return {
    id: input.id,
    source,
    name: input.name ?? input.id,
    limits: { destinations, maxConcurrentCalls, callsPerDay, maxDurationSeconds },
  };
}
