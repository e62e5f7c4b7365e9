/** Binding the sockets again, also where there are none to be had for a while (PG-41, PG-66). */
import { type Log, PosternError } from "../../base/index.ts";

const REBIND_MS_FIRST = 1_000;
const REBIND_MS_MAX = 30_000;

export interface Rebinding {
  /**
   * Binds, and calls `onBound` once in any case: the portal is needed without sockets, too. While there are none
   * another attempt is asked for after 1, 2, 4 … 30 s; whoever runs one before takes its place.
   */
  run(onBound: () => void): Promise<void>;
  stop(): void;
}

export interface RebindingOptions {
  /** Rejects with PosternError `host` where there is no socket. */
  readonly rebind: (onBound: () => void) => Promise<void>;
  /** Asks for another attempt. */
  readonly retry: () => void;
  readonly log: Log;
}

export function createRebinding({ rebind, retry, log }: RebindingOptions): Rebinding {
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  return {
    async run(onBound) {
      clearTimeout(timer);
      let isTold = false;
      try {
        await rebind(() => {
          isTold = true;
          onBound();
        });
        if (failures > 0) log.info?.("UDP sockets are there again", { failures });
        failures = 0;
      } catch (error) {
        if (!(error instanceof PosternError) || error.code !== "host") throw error;
        failures++;
        if (failures === 1) log.error?.("no UDP sockets available", { reason: error.message });
        // The sockets may be bound, and only what works on them could not be started.
        if (!isTold) onBound();
        const waitMs = Math.min(REBIND_MS_MAX, REBIND_MS_FIRST * 2 ** (failures - 1));
        if (!isStopped) timer = setTimeout(retry, waitMs);
      }
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
