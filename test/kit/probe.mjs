/**
 * Looks into a running gateway without being part of it: loaded with `node --expose-gc --import`, it answers each
 * IPC message with the memory that is left after a full collection and with what keeps the event loop busy.
 */
process.on('message', () => {
  // The second collection frees what only finalisers of the first let go.
  globalThis.gc?.();
  setImmediate(() => {
    globalThis.gc?.();
    const resources = {};
    for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
    process.send?.({ memory: process.memoryUsage(), resources });
  });
});
// A listener must not keep a gateway alive that has stopped.
process.channel?.unref();
