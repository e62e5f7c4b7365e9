/** Watches the host's network: own addresses (PG-142) and changes of the way out (PG-72 to PG-74). */
import { openNetlinkEvents } from "../../../bindings/linux/index.ts";
import { after, type IpAddress, type Log } from "../../base/index.ts";
import {
  createBurstWatch,
  createSuspendWatch,
  equalAddresses,
  networkFingerprint,
  readNetwork,
  selectOwnAddresses,
  synchroniseLinkRoutes,
} from "../../host/index.ts";
import type { PlaneHost } from "../shell/index.ts";

export interface NetworkMonitor {
  ownAddresses(): readonly IpAddress[];
  close(): void;
}

export interface NetworkListeners {
  readonly onAddresses: (addresses: readonly IpAddress[]) => void;
  /** The way into the internet is another one, or was away for a while: everything is connected anew (PG-75). */
  readonly onReset: (reason: string) => void;
}

/** No runtime polls a netlink descriptor, so the events are asked for. One system call each time. */
const DRAIN_EVERY_MS = 1_000;

export function watchNetwork(host: PlaneHost, listeners: NetworkListeners, log: Log): NetworkMonitor {
  const events = openNetlinkEvents(host.kernel);
  const burst = createBurstWatch(host.tun.index);
  const suspend = createSuspendWatch();
  let addresses = selectOwnAddresses(readNetwork(host.rtnetlink), host.tun.index);
  let fingerprint = networkFingerprint(host.rtnetlink);
  // What comes later is told by events (PG-34); what is there already is not.
  synchroniseLinkRoutes(host.rtnetlink, host.tun.index, log);

  function look(): void {
    if (suspend.hasResumed(host.now())) listeners.onReset("resume from suspend");
    burst.handleEvents(host.now(), events.drain());
    if (!burst.handleTimeout(host.now())) return;
    synchroniseLinkRoutes(host.rtnetlink, host.tun.index, log);
    const present = networkFingerprint(host.rtnetlink);
    const isChanged = present !== fingerprint;
    fingerprint = present;
    if (isChanged) {
      log.info?.("network changed", { route: present });
      listeners.onReset("network change");
    }
    const found = selectOwnAddresses(readNetwork(host.rtnetlink), host.tun.index);
    if (equalAddresses(found, addresses) && !isChanged) return;
    addresses = found;
    listeners.onAddresses(found);
  }

  let timer: NodeJS.Timeout | undefined;
  function sleep(): void {
    suspend.sleepUntil(after(host.now(), DRAIN_EVERY_MS));
    timer = setTimeout(() => {
      look();
      sleep();
    }, DRAIN_EVERY_MS);
  }

  sleep();
  return {
    ownAddresses: () => addresses,
    close() {
      clearTimeout(timer);
      events.close();
    },
  };
}
