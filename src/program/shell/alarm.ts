/** What calls for a control loop's next turn. */

/** Longest wait that a runtime's timer takes. */
const TIMER_MAX_MS = 0x7fffffff;

export interface Alarm {
  /** The last that was set counts; `undefined`: none. */
  ringIn(ms: number | undefined): void;
  /** As soon as others had their turn. */
  ringSoon(): void;
  stop(): void;
}

export function createAlarm(ring: () => void): Alarm {
  let timer: NodeJS.Timeout | undefined;
  let soon: NodeJS.Immediate | undefined;
  let isStopped = false;
  return {
    ringIn(ms) {
      clearTimeout(timer);
      timer = undefined;
      if (ms !== undefined && !isStopped) timer = setTimeout(ring, Math.min(TIMER_MAX_MS, ms));
    },
    ringSoon() {
      soon ??= setImmediate(() => {
        soon = undefined;
        ring();
      });
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
      clearImmediate(soon);
    },
  };
}
