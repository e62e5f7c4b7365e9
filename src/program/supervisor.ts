/**
 * What systemd is told of a running program: that it is ready, how it is, that it stops, and that it is alive
 * (sd_notify(3), PG-81).
 */
import { errnoName, type Kernel, openKernel, sendUnixDatagram } from "../../bindings/linux/index.ts";
import type { Log } from "../base/index.ts";
import type { SupervisorAddress } from "./io.ts";

export interface Supervised {
  /** How it is, in a line. */
  readonly statusLine: () => string;
  /** Asked before each sign of life. */
  readonly isAlive: () => boolean;
}

export interface Supervisor {
  /** From now on it is told how the program is. */
  ready(program: Supervised): void;
  stopping(): void;
}

/** A changed status is told at most so often. */
const STATUS_EVERY_MS = 10_000;

export const NO_SUPERVISOR: Supervisor = { ready: () => {}, stopping: () => {} };

/** Sends text to the service manager; returns why that failed. */
export type SendText = (text: string) => string | undefined;

export function createSupervisor(address: SupervisorAddress | undefined, log: Log): Supervisor {
  if (address === undefined) return NO_SUPERVISOR;
  const send = openSender(address.socket);
  return superviseBy((text) => {
    const reason = send(text);
    // Whoever supervises us will do without: the program itself is well.
    if (reason !== undefined) log.debug?.("cannot tell the service manager", { reason });
  }, address.watchdogMs);
}

function openSender(socket: string): SendText {
  let kernel: Kernel | undefined;
  return (text) => {
    try {
      kernel ??= openKernel();
      const errno = sendUnixDatagram(kernel, socket, new TextEncoder().encode(text));
      return errno === 0 ? undefined : errnoName(errno);
    } catch (error) {
      // A runtime without system calls.
      return error instanceof Error ? error.message : String(error);
    }
  };
}

/** The order of what is sent, whoever sends it. */
export function superviseBy(send: (text: string) => void, watchdogMs: number | undefined): Supervisor {
  const timers: NodeJS.Timeout[] = [];
  let told = "";
  const every = (ms: number, act: () => void): void => {
    timers.push(setInterval(act, ms).unref());
  };
  return {
    ready({ statusLine, isAlive }) {
      told = oneLine(statusLine());
      send(`READY=1\nSTATUS=${told}`);
      every(STATUS_EVERY_MS, () => {
        const status = oneLine(statusLine());
        if (status !== told) send(`STATUS=${status}`);
        told = status;
      });
      if (watchdogMs === undefined) return;
      // Half the time, as sd_watchdog_enabled(3) has it: one that is late is no loss.
      every(watchdogMs / 2, () => {
        if (isAlive()) send("WATCHDOG=1");
      });
    },
    stopping() {
      for (const timer of timers) clearInterval(timer);
      send("STOPPING=1");
    },
  };
}

/** Workers live while they work, or wait for work (PG-81). */
export function livenessOf(
  read: () => readonly { readonly epoch: number; readonly isParked: boolean }[],
): () => boolean {
  let before: readonly number[] = [];
  return () => {
    const workers = read();
    const isAlive = workers.every(({ epoch, isParked }, i) => isParked || epoch !== before[i]);
    before = workers.map(({ epoch }) => epoch);
    return isAlive;
  };
}

/** A new line would begin another message. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}
