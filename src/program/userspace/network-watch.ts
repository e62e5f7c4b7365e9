/**
 * Watches for other addresses of ours (PG-142) and for standstills of this process (PG-74), where no netlink tells
 * anything: by looking every 5 s.
 */
import { after, equalValues, type Instant, type IpAddress } from "../../base/index.ts";
import { createSuspendWatch } from "../../host/index.ts";

export interface NetworkWatchOptions {
  /** Our addresses as they are. */
  readonly find: () => readonly IpAddress[];
  /** Counts suspend. */
  readonly now: () => Instant;
  readonly onAddresses: () => void;
  /** The process stood still for that long at least, and our addresses are the same. */
  readonly onStandstill: (stillMs: number) => void;
}

export interface NetworkWatch {
  close(): void;
}

export const LOOK_EVERY_MS = 5_000;

export function watchOwnNetwork({ find, now, onAddresses, onStandstill }: NetworkWatchOptions): NetworkWatch {
  const suspend = createSuspendWatch();
  let known = find();
  let timer: NodeJS.Timeout;
  /** Told as soon as there is an address: a resumed host takes some seconds to have its network again. */
  let owedMs: number | undefined;

  function look(): void {
    const stillMs = suspend.stoodStillMs(now()) ?? owedMs;
    const found = find();
    // Without an address there is nothing to connect to.
    owedMs = found.length > 0 ? undefined : stillMs;
    if (found.length > 0) {
      const isChanged = !equalValues(found, known);
      known = found;
      if (isChanged) onAddresses();
      else if (stillMs !== undefined) onStandstill(stillMs);
    }
    sleep();
  }

  function sleep(): void {
    suspend.sleepUntil(after(now(), LOOK_EVERY_MS));
    timer = setTimeout(look, LOOK_EVERY_MS).unref();
  }

  sleep();
  return { close: () => clearTimeout(timer) };
}
