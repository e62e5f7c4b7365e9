/** Network resets one after the other (PG-75), those within a second as one (PG-76). */

/** Resets that are asked for while one runs, or so soon after its beginning, become one that follows it. */
export const MERGE_MS = 1000;

export interface Resets {
  request(reason: string): void;
  /** Lets a running reset finish; none begins afterwards. */
  stop(): Promise<void>;
}

/** @param fail called when `reset` rejects; no reset follows then */
export function createResets(
  reset: (reason: string) => Promise<void>,
  fail: (error: unknown) => void,
): Resets {
  let state: "ready" | "busy" | "stopped" = "ready";
  let waiting: string | undefined;
  let running = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  function begin(reason: string): void {
    state = "busy";
    // From its beginning: how long the sockets take says nothing about the network.
    const pause = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, MERGE_MS);
    });
    running = reset(reason).then(() => void pause.then(rest), fail);
  }

  function rest(): void {
    if (state !== "busy") return;
    state = "ready";
    const reason = waiting;
    waiting = undefined;
    if (reason !== undefined) begin(reason);
  }

  return {
    request(reason) {
      if (state === "ready") begin(reason);
      else waiting = reason;
    },
    async stop() {
      state = "stopped";
      clearTimeout(timer);
      await running;
    },
  };
}
