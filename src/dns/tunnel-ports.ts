/** Local ports of queries through the tunnel (DN-68). */
import { after, type Instant, type IpAddress, randomBelow, type SocketAddress } from "../base/index.ts";
import type { Flight, ResolverState } from "./resolver-state.ts";

/** Outside of Linux's default range for programs. */
const PORT_FIRST = 61_000;
const PORT_LAST = 65_535;
const LATE_MS = 30_000;
/** Ports that wait for late answers; beyond it the oldest is free again. */
const LINGERING_MAX = 2_048;

/** @param of `flight`: whose port it is; a connection is nobody's */
export function openTunnelPort(
  state: ResolverState,
  of: {
    readonly protocol: "udp" | "tcp";
    readonly address: IpAddress;
    readonly remote: SocketAddress;
    readonly flight?: Flight;
  },
): number | undefined {
  const { protocol, address, remote, flight } = of;
  if (state.ports.size > PORT_LAST - PORT_FIRST) return undefined;
  for (;;) {
    const port = PORT_FIRST + randomBelow(state.random, PORT_LAST - PORT_FIRST + 1);
    if (state.ports.has(port)) continue;
    const flow = { protocol, local: { address, port }, remote } as const;
    state.ports.set(port, { flow, flight });
    return port;
  }
}

/** Late answers are not for the host, which knows nothing of the port. */
export function closeTunnelPort(state: ResolverState, now: Instant, port: number): void {
  const open = state.ports.get(port);
  if (open === undefined) return;
  open.flight = undefined;
  state.lingering.set(port, after(now, LATE_MS));
  const [oldest] = state.lingering.keys();
  if (state.lingering.size > LINGERING_MAX && oldest !== undefined) freePort(state, oldest);
}

export function handleLingerTimeouts(state: ResolverState, now: Instant): void {
  for (const [port, until] of state.lingering) {
    if (until > now) return;
    freePort(state, port);
  }
}

/** The first one to be forgotten: all wait for the same time. */
export function pollLingerTimeout({ lingering }: ResolverState): Instant | undefined {
  const [first] = lingering.values();
  return first;
}

function freePort(state: ResolverState, port: number): void {
  state.lingering.delete(port);
  state.ports.delete(port);
}
