/** From the configuration to what each room of the gateway is given, part of the composition root. */
import type { CallSettings } from '#call/settings.js';
import type { Config } from '#config/schema.js';
import { formatPath } from '#directory/issues.js';
import { DrachtioEngine } from '#engine/drachtio/engine.js';
import { EmbeddedEngine } from '#engine/embedded/engine.js';
import type { OwnService } from '#engine/embedded/transport/own-services.js';
import type { WireTap } from '#engine/engine.js';
import type { ScreenSettings } from '#ingress/screen.js';
import type { Clock } from '#lib/clock.js';
import type { Ids } from '#lib/ids.js';
import type { systemClock } from '#lib/wheel.js';
import { CdrLog } from '#observe/cdr.js';
import type { Log } from '#observe/log.js';
import type { RegistrationSettings } from '#registration/registrations.js';
import { WireTrace } from '#trace/wire-trace.js';

/** Throws an Error that says what to mend. */
export function openRecords(config: Config, clock: Clock, log: Log): CdrLog | null {
  const { path } = config.cdr;
  if (path === null) return null;
  try {
    return new CdrLog({ path, clock, log: log.logger });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`call records cannot be written to ${path} (${formatPath(['cdr', 'path'])}): ${why}`, {
      cause: error,
    });
  }
}

/** Undefined: no messages are kept. */
export function openTrace({ sip, trace }: Config, clock: Clock): WireTrace | undefined {
  if (trace.megabytes === 0 || sip.engine === 'drachtio') return undefined;
  return new WireTrace({ clock, bytes: trace.megabytes * 1_048_576 });
}

/** Binds nothing yet. */
export function createEngine(
  config: Config,
  clock: ReturnType<typeof systemClock>,
  ids: Ids,
  tap: WireTap | undefined,
  ownServices: () => readonly OwnService[],
): EmbeddedEngine | DrachtioEngine {
  const { sip } = config;
  if (sip.engine === 'drachtio') {
    if (sip.drachtio === undefined) throw new Error('sip.engine drachtio needs sip.drachtio');
    const { dialogs, transactions } = sip.limits;
    return new DrachtioEngine({
      servers: [sip.drachtio, ...sip.drachtio.more].map(({ host, port, secret, tls }) => ({
        host,
        port,
        secret: secret.reveal(),
        tls,
      })),
      unverifiedTls: sip.drachtio.unverifiedTls,
      clock,
      ids,
      t1: sip.timers.t1,
      limits: { dialogs, transactions },
    });
  }
  return new EmbeddedEngine({
    listen: sip.listen.map((listener) => ({
      ...listener,
      externalAddress: listener.externalAddress ?? sip.externalAddress ?? undefined,
    })),
    clock,
    ids,
    limits: sip.limits,
    timers: sip.timers,
    udpToTcpBytes: sip.udpToTcpBytes,
    tap,
    ownServices,
  });
}

/**
 * What listens beside the gateway and belongs to it.
 * @param redisAddress where Redis was found; undefined: it was not yet, and then nobody else finds it either
 */
export function ownServices({ http, redis }: Config, redisAddress: string | undefined): OwnService[] {
  const services = [{ name: 'API', address: http.host, port: http.port }];
  if (redis.url !== null && redisAddress !== undefined) {
    services.push({ name: 'Redis', address: redisAddress, port: Number(new URL(redis.url).port || 6379) });
  }
  return services;
}

/** Seconds of the configuration are milliseconds of the call room. */
export function callSettings({ calls }: Config): Partial<CallSettings> {
  return {
    ringTimeoutMs: calls.ringTimeoutSeconds * 1000,
    setupTimeoutMs: calls.setupTimeoutSeconds * 1000,
    attemptTimeoutMs: calls.attemptTimeoutSeconds * 1000,
    calleeRingTimeoutMs: calls.calleeRingTimeoutSeconds * 1000,
    queueTimeoutMs: calls.queueTimeoutSeconds * 1000,
    maxQueued: calls.maxQueued,
    maxAttempts: calls.maxAttempts,
    maxChallenges: calls.maxChallenges,
    heedPaceRefusals: calls.heedCpsRefusals,
    acceptRefer: calls.refer === 'accept',
    maxDurationMs: (calls.maxDurationSeconds ?? 0) * 1000,
    failoverStatuses: calls.failoverStatuses,
    maxConcurrentCalls: calls.maxConcurrentCalls,
    maxForwards: calls.maxForwards,
    endedKept: calls.endedKept,
  };
}

/** Rate and expiry of REGISTERs. */
export function registrationSettings({ registrations }: Config): RegistrationSettings {
  return { perSecond: registrations.perSecond, expirySeconds: registrations.expirySeconds };
}

/** What happens to calls of unknown sources. */
export function screenSettings({ sip }: Config): Partial<ScreenSettings> {
  return { unknownSources: sip.unknownSources === 'drop' ? 'drop' : 'refuse' };
}
