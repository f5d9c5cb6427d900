/** The thread that has the database: `thread.ts` starts it and asks. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Desk } from './desk.js';
import type { FirstWord, Reply, Request, ThreadData } from './wire.js';

/** Requests that are done together at most. */
const TOGETHER = 512;

if (parentPort === null) throw new Error('this is run as a thread');
const port = parentPort;
const say = (word: FirstWord | readonly Reply[]): void => port.postMessage(word);

function openDesk(): Desk | undefined {
  try {
    return new Desk(workerData as ThreadData);
  } catch (error) {
    say({ opened: false, fault: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

const desk = openDesk();
if (desk === undefined) port.close();
else {
  /** null: it is to close, when everything before is done. */
  port.on('message', (first: readonly Request[] | null) => {
    let next: readonly Request[] | null = first;
    while (next !== null) {
      const requests = [...next];
      next = [];
      while (requests.length < TOGETHER) {
        const more = receiveMessageOnPort(port) as
          | { readonly message: readonly Request[] | null }
          | undefined;
        if (more === undefined) break;
        next = more.message;
        if (next === null) break;
        requests.push(...next);
      }
      desk.perform(requests, say);
      if (next !== null) return;
    }
    desk.close();
    port.close();
  });
  say({ opened: true });
}
