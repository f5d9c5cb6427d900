/**
 * Settings that make scenarios wait less than telephones do. Nothing that a scenario proves depends on them: they
 * shorten the silence after which a transaction, or a whole call, is over.
 */
export const QUICK = {
  sip: { timers: { t1: 200, t4: 1_000 } },
  calls: { attemptTimeoutSeconds: 1 },
};
