/** Connections: ours, and those that a router's clients want, which wait for an answer from outside (PG-129). */
import { after, copyOf, type Instant, type SocketAddress } from "../base/index.ts";
import type { Refusal } from "../packet/index.ts";
import { type Admission, type TcpEvent, VNET_HEADER_BYTES } from "../tcp/index.ts";
import { type Asked, isOwn, keyOf, ownAddress, refuse, type StackState } from "./state.ts";

/** Connections that wait for an answer, and for the client's once they have it. */
export const ASKED_MAX = 4_096;
/** Nobody waits longer for a connection. */
const ASKED_MS = 120_000;

export function connect(state: StackState, now: Instant, remote: SocketAddress): number | undefined {
  const address = ownAddress(state, remote.address.length === 4 ? 4 : 6);
  if (address === undefined) return undefined;
  const id = state.tcp.connect(now, { address, port: 0 }, remote);
  if (id !== undefined) state.connections.set(id, undefined);
  return id;
}

/** @param frame becomes the TCP host's */
export function handleTcp(state: StackState, now: Instant, frame: Uint8Array): void {
  state.incoming = { now, frame };
  state.tcp.handleFrame(now, frame);
  state.incoming = undefined;
  takeEvents(state, now);
}

/** The TCP host asks: a router's connections wait until somebody knows whether there is a way on. */
export function admit(state: StackState, local: SocketAddress, remote: SocketAddress): Admission {
  const { incoming } = state;
  if (isOwn(state, local.address)) return state.tcpPorts.has(local.port) ? "accept" : "refuse";
  if (!state.isRouter || incoming === undefined) return "refuse";
  const key = keyOf(local, remote);
  const known = state.askedByKey.get(key);
  if (known !== undefined) {
    if (known.answer === "refuse") forget(state, known);
    return known.answer ?? "ignore";
  }
  if (state.asked.size >= ASKED_MAX) {
    state.counters.stack_drop_asked_full++;
    return "ignore";
  }
  const asked = state.nextAsked++;
  const frame = copyOf(incoming.frame);
  const entry: Asked = { asked, key, frame, until: after(incoming.now, ASKED_MS), answer: undefined };
  state.asked.set(asked, entry);
  state.askedByKey.set(key, entry);
  state.events.push({ kind: "tcp-asked", asked, local, remote });
  return "ignore";
}

export function decide(
  state: StackState,
  now: Instant,
  asked: number,
  answer: "accept" | "refuse" | Refusal,
): void {
  const entry = state.asked.get(asked);
  if (entry === undefined || entry.answer !== undefined) return;
  if (answer !== "accept" && answer !== "refuse") {
    forget(state, entry);
    return refuse(state, entry.frame.subarray(VNET_HEADER_BYTES), answer);
  }
  entry.answer = answer;
  handleTcp(state, now, copyOf(entry.frame));
}

function forget(state: StackState, { asked, key }: Asked): void {
  state.asked.delete(asked);
  state.askedByKey.delete(key);
}

/** Who asked and was not answered, or was answered and never came, has gone. */
export function forgetAsked(state: StackState, now: Instant): void {
  for (const entry of state.asked.values()) {
    if (entry.until > now) return;
    forget(state, entry);
    state.events.push({ kind: "tcp-forgotten", asked: entry.asked });
  }
}

export function nextAskedEnd({ asked }: StackState): Instant | undefined {
  for (const { until } of asked.values()) return until;
  return undefined;
}

export function takeEvents(state: StackState, now: Instant): void {
  for (let event = state.tcp.pollEvent(); event !== undefined; event = state.tcp.pollEvent()) {
    takeEvent(state, now, event);
  }
}

function takeEvent(state: StackState, now: Instant, event: TcpEvent): void {
  const { events, connections } = state;
  const { id } = event;
  switch (event.kind) {
    case "opened":
      return takeOpened(state, event);
    case "data":
      events.push({ kind: "tcp-data", id, bytes: event.bytes });
      return;
    case "writable":
      events.push({ kind: "tcp-writable", id });
      return;
    case "ended":
      events.push({ kind: "tcp-ended", id });
      return;
    case "soft-error":
      // Nobody but the gateway, or who is behind it, can say so (PG-124).
      if (event.error !== "prohibited") return;
      connections.set(id, event.error);
      return state.tcp.abort(now, id);
    case "closed": {
      // One that never opened is forgotten with what was asked.
      if (!connections.has(id)) return;
      const reason = connections.get(id) ?? event.reason;
      connections.delete(id);
      events.push({ kind: "tcp-closed", id, reason });
    }
  }
}

function takeOpened(state: StackState, { id, local, remote }: Extract<TcpEvent, { kind: "opened" }>): void {
  const entry = state.connections.has(id) ? undefined : state.askedByKey.get(keyOf(local, remote));
  state.connections.set(id, undefined);
  if (entry !== undefined) forget(state, entry);
  state.events.push({ kind: "tcp-opened", id, local, remote, ...(entry && { asked: entry.asked }) });
}
