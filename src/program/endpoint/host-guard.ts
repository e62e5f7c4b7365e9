/** Keeps packets for networks behind the tunnel from leaving by another device (PG-154). */
import { isShortage } from "../../../bindings/linux/index.ts";
import { type Log, PosternError, type Prefix } from "../../base/index.ts";
import { createGuard, type Guard } from "../../host/index.ts";
import type { PlaneHost, UndoStack } from "../shell/index.ts";

export interface HostGuard {
  /** Never throws for want of something: a host without nftables works without it. */
  want(networks: readonly Prefix[]): void;
  /** Sets what the kernel was too short of something for. */
  catchUp(): void;
}

export interface HostGuardOptions {
  readonly host: Pick<PlaneHost, "kernel" | "tun">;
  readonly undo: UndoStack;
  readonly log: Log;
}

export const NO_GUARD: HostGuard = { want: () => {}, catchUp: () => {} };

export function createHostGuard({ host, undo, log }: HostGuardOptions): HostGuard {
  let guard: Guard | undefined;
  let isSet = false;
  let isOff = false;
  let owed: readonly Prefix[] | undefined;
  undo.add("guard", close);

  /** Once: the number of its socket may be another one's by the second time. */
  function close(): void {
    guard?.close();
    guard = undefined;
  }

  function want(networks: readonly Prefix[]): void {
    owed = undefined;
    try {
      guard ??= createGuard(host.kernel, host.tun.name);
      guard.want(networks);
      isSet = true;
    } catch (error) {
      if (!(error instanceof PosternError)) throw error;
      const { message: reason } = error;
      if (isShortage(error)) {
        // What the table holds by now stays meanwhile: it may stop too much for a moment, never too little.
        owed = networks;
        log.warn?.("packets may leave past the tunnel: tried again", { reason });
        return;
      }
      // A table that nobody can change would stop what leaves directly later on.
      close();
      isOff = true;
      const tell = isSet ? log.warn : log.info;
      tell?.("packets are not kept from leaving past the tunnel", { reason });
    }
  }

  return {
    want(networks) {
      if (!isOff) want(networks);
    },
    catchUp() {
      if (owed !== undefined) want(owed);
    },
  };
}
