/** What is wrong with sockets and packets, told by the log instead of swallowed (PG-46, PG-47). */
import { errnoName } from "../../../bindings/linux/index.ts";
import type { Log } from "../../base/index.ts";

/** The workers count failed calls by error number, so that no line is written per datagram. */
export interface SocketCounters {
  readonly egress: { readonly sendErrnos: Readonly<Record<number, number>> };
  readonly ingress: {
    readonly receiveErrnos: Readonly<Record<number, number>>;
    readonly counters: { readonly checksum_mismatch: number };
  };
}

export interface SocketErrorsOptions {
  readonly read: () => SocketCounters;
  /** Of our sockets: what has to be open in a firewall. */
  readonly port: () => number | undefined;
  readonly log: Log;
}

export interface SocketErrors {
  /** Looks every 10 s from now on. */
  start(): void;
  look(): void;
  /** A local firewall refused a datagram. */
  blocked(): void;
  stop(): void;
}

/** An idle process is to cost nothing (G-13), and an error that stays is told soon enough. */
const LOOK_EVERY_MS = 10_000;
/** Others' networks come and go: no news for an operator. */
const UNREACHABLE = ["ENETUNREACH", "EHOSTUNREACH", "EHOSTDOWN", "ENETDOWN", "ECONNREFUSED"];
const BLOCKED = ["EPERM", "EACCES"];

export function createSocketErrors({ read, port, log }: SocketErrorsOptions): SocketErrors {
  const seen = new Map<number, number>();
  let isBlockedSaid = false;
  let mismatches = 0;
  let timer: NodeJS.Timeout | undefined;

  function blocked(): void {
    if (isBlockedSaid) return;
    isBlockedSaid = true;
    const open = port();
    log.info?.("outbound UDP is blocked by a local firewall; allow STUN, TURN and WireGuard", {
      ...(open === undefined ? {} : { fromPort: open }),
    });
  }

  function look(): void {
    const { egress, ingress } = read();
    for (const [number, times] of Object.entries(ingress.receiveErrnos)) {
      const errno = Number(number);
      const more = times - (seen.get(errno) ?? 0);
      seen.set(errno, times);
      if (more === 0) continue;
      const name = errnoName(errno);
      const tell = UNREACHABLE.includes(name) ? log.debug : log.warn;
      tell?.("cannot receive on the transport socket", { errno: name, times: more });
    }
    const more = ingress.counters.checksum_mismatch - mismatches;
    mismatches += more;
    if (more > 0) log.warn?.("packets out of the tunnel have a wrong checksum", { packets: more });
    const isRefused = Object.keys(egress.sendErrnos).some((number) =>
      BLOCKED.includes(errnoName(Number(number))),
    );
    if (isRefused) blocked();
  }

  return {
    start() {
      timer ??= setInterval(look, LOOK_EVERY_MS).unref();
    },
    look,
    blocked,
    stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}
