/** Keeps a host as it was set up, where nothing else of the network is of interest (PG-153). */
import { openNetlinkEvents } from "../../../bindings/linux/index.ts";
import type { Log } from "../../base/index.ts";
import type { WantedHost } from "../../host/index.ts";
import { createHostKeeper } from "./host-keeper.ts";
import type { PlaneHost } from "./plane-host.ts";

export interface HostWatch {
  stop(): void;
}

/** Without any event. */
const LOOK_EVERY_MS = 30_000;
/** Events come in flocks; they are taken together (PG-152). */
export const FLOCK_MS = 20;

/** @throws PosternError `host` when the kernel gives no netlink socket */
export function watchHost(host: PlaneHost, wanted: WantedHost, log: Log): HostWatch {
  const events = openNetlinkEvents(host.kernel);
  const keeper = createHostKeeper(host, log);
  let flock: NodeJS.Timeout | undefined;
  function look(): void {
    flock = undefined;
    keeper.look(events.drain());
  }
  keeper.want(wanted);
  events.onReadable(() => {
    flock ??= setTimeout(look, FLOCK_MS);
  });
  const timer = setInterval(look, LOOK_EVERY_MS);
  return {
    stop() {
      keeper.stop();
      clearInterval(timer);
      clearTimeout(flock);
      events.close();
    },
  };
}
