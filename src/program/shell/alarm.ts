/** What calls for a control loop's next turn. */

/** Longest wait that a runtime's timer takes. */
const TIMER_MAX_MS = 0x7fffffff;

export interface Alarm {
  /** At the latest then; `undefined`: not. What was set before for an earlier time still rings, once. */
  ringIn(ms: number | undefined): void;
  /** As soon as others had their turn. */
  ringSoon(): void;
  stop(): void;
}

export function createAlarm(ring: () => void): Alarm {
  let timer: NodeJS.Timeout | undefined;
  /** When `timer` rings. */
  let timerAt = 0;
  let soon: NodeJS.Immediate | undefined;
  let isStopped = false;
  const rung = (): void => {
    timer = undefined;
    ring();
  };
  return {
    ringIn(ms) {
      const at = performance.now() + Math.min(TIMER_MAX_MS, ms ?? 0);
      // A turn too many now and then costs less than a timer set anew behind each.
      if (timer !== undefined && ms !== undefined && timerAt <= at) return;
      clearTimeout(timer);
      timer = undefined;
      if (ms === undefined || isStopped) return;
      timerAt = at;
      timer = setTimeout(rung, Math.min(TIMER_MAX_MS, ms));
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
