/** Settings that make scenarios wait less than telephones do; nothing that a scenario proves depends on them. */
export const QUICK = {
  sip: { timers: { t1: 200 } },
};
