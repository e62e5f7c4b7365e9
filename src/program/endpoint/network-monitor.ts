/** Watches the host's network: own addresses (PG-142) and changes of the way out (PG-72 to PG-74). */
import { type NetworkEvent, openNetlinkEvents } from "../../../bindings/linux/index.ts";
import {
  after,
  createWallClock,
  earliest,
  type IpAddress,
  type Log,
  PosternError,
  unixMs,
} from "../../base/index.ts";
import {
  createBurstWatch,
  createSuspendWatch,
  equalAddresses,
  NO_NETWORK,
  networkFingerprint,
  readNetwork,
  selectOwnAddresses,
  synchroniseLinkRoutes,
} from "../../host/index.ts";
import { FLOCK_MS, type PlaneHost } from "../shell/index.ts";

export interface NetworkMonitor {
  ownAddresses(): readonly IpAddress[];
  close(): void;
}

export interface NetworkListeners {
  /** What the kernel told since the last turn, at least every 5 s; nothing, mostly. */
  readonly onEvents: (events: readonly NetworkEvent[]) => void;
  /** Links, addresses or routes of the host have changed, and rest for a moment. */
  readonly onNetwork: () => void;
  readonly onAddresses: (addresses: readonly IpAddress[]) => void;
  /** The wall clock was set (TN-53). */
  readonly onClockStep: () => void;
  /** The process stood still for that long at least; the way out is there, and the same (PG-74). */
  readonly onStandstill: (stillMs: number) => void;
  /** The way into the internet is another one: everything is connected anew (PG-75). */
  readonly onReset: (reason: string) => void;
}

/**
 * The longest sleep. A turn that is 5 s late tells of a process that stood still (PG-74), so a stop of 10 s is
 * noticed for sure. Each wake-up costs an idle process up to a millisecond and a half where others use the
 * processor's caches (G-13).
 */
const SLEEP_MS_MAX = 5_000;

/** @throws PosternError `host` when the kernel gives no netlink socket, or does not tell of the network */
export function watchNetwork(
  host: PlaneHost,
  device: string | undefined,
  listeners: NetworkListeners,
  log: Log,
): NetworkMonitor {
  const { rtnetlink, tun } = host;
  const events = openNetlinkEvents(host.kernel);
  const burst = createBurstWatch(tun.index);
  const suspend = createSuspendWatch();
  const clock = createWallClock(host.now(), unixMs(Date.now()));
  const way = orElse(events, () => createWayWatch(host, device, listeners, log));
  let timer: NodeJS.Timeout | undefined;
  let isWoken = false;
  /** The kernel did not tell of the network when it was to be looked at (PG-210). */
  let owed: { readonly stillMs: number | undefined } | undefined;
  // What comes later is told by events (PG-34); what is there already is not.
  orElse(events, () => synchroniseLinkRoutes(rtnetlink, tun.index, log));

  function look(): void {
    if (clock.follow(host.now(), unixMs(Date.now()))) listeners.onClockStep();
    const stillMs = suspend.stoodStillMs(host.now()) ?? owed?.stillMs;
    const told = events.drain();
    listeners.onEvents(told);
    burst.handleEvents(host.now(), told);
    const isDue = burst.handleTimeout(host.now()) || owed !== undefined;
    // Also before the burst of events ends: what happened to the network decides, not that we hear of it late.
    if (isDue || stillMs !== undefined) lookAtWay(stillMs);
  }

  function lookAtWay(stillMs: number | undefined): void {
    owed = undefined;
    try {
      const found = way.look();
      if (found === "same" && stillMs !== undefined) listeners.onStandstill(stillMs);
    } catch (error) {
      if (!(error instanceof PosternError)) throw error;
      owed = { stillMs };
      log.warn?.("the host's network cannot be read: tried again", { reason: error.message });
    }
  }

  function sleep(forMs: number): void {
    clearTimeout(timer);
    suspend.sleepUntil(after(host.now(), forMs));
    timer = setTimeout(() => {
      isWoken = false;
      look();
      const now = host.now();
      const due = earliest(burst.pollTimeout(), after(now, SLEEP_MS_MAX)) ?? now;
      sleep(Math.max(0, due - now));
    }, forMs);
  }

  events.onReadable(() => {
    if (!isWoken) sleep(FLOCK_MS);
    isWoken = true;
  });
  sleep(SLEEP_MS_MAX);
  return {
    ownAddresses: way.addresses,
    close() {
      clearTimeout(timer);
      events.close();
    },
  };
}

/** Does something else; closes `opened` if that fails. */
function orElse<T>(opened: { close(): void }, act: () => T): T {
  try {
    return act();
  } catch (error) {
    opened.close();
    throw error;
  }
}

interface WayWatch {
  /** Whether the way out is the one that it was; tells the listeners what has changed. */
  look(): "same" | "changed" | "none";
  addresses(): readonly IpAddress[];
}

function createWayWatch(
  { rtnetlink, tun }: PlaneHost,
  device: string | undefined,
  listeners: NetworkListeners,
  log: Log,
): WayWatch {
  let addresses = selectOwnAddresses(readNetwork(rtnetlink), tun.index, device);
  let fingerprint = networkFingerprint(rtnetlink, device);

  function look(): ReturnType<WayWatch["look"]> {
    synchroniseLinkRoutes(rtnetlink, tun.index, log);
    listeners.onNetwork();
    const present = networkFingerprint(rtnetlink, device);
    const isChanged = present !== fingerprint;
    fingerprint = present;
    if (isChanged) {
      log.info?.("network changed", { route: present });
      // Without a way out there is nothing to connect to; the way that comes is a change in any case.
      if (present !== NO_NETWORK) listeners.onReset("network change");
    }
    const found = selectOwnAddresses(readNetwork(rtnetlink), tun.index, device);
    if (isChanged || !equalAddresses(found, addresses)) {
      addresses = found;
      listeners.onAddresses(found);
    }
    if (present === NO_NETWORK) return "none";
    return isChanged ? "changed" : "same";
  }

  return { look, addresses: () => addresses };
}
