/** The life of an allocation once it is made: owner, channels, end (RL-23 to RL-29). */
import {
  after,
  earliest,
  formatSocketAddress,
  type Instant,
  type SocketAddress,
  unreachable,
} from "../base/index.ts";
import type { IpFamily, RelayBinding } from "../plane/index.ts";
import { CHANNEL_COOLING_MS, CHANNEL_LIFE_MS } from "../turn/index.ts";
import { endReservation } from "./ports.ts";
import { type Allocation, type ChannelBinding, familyOf, type ServerState } from "./state.ts";

/** Why an allocation ended, for people. */
export type AllocationEnd =
  | "expired"
  | "deleted by its client"
  | "replaced by a newer one of its user"
  | "its stream ended";

/** Prolongs families of an allocation; `until` of all of them is the same afterwards. */
export function setExpiry(
  { timers }: ServerState,
  allocation: Allocation,
  families: Iterable<IpFamily>,
  until: Instant,
): void {
  for (const family of families) allocation.expiry.set(family, until);
  timers.set(allocation, earliest(...allocation.expiry.values()));
}

export function setOwner(state: ServerState, allocation: Allocation, salt: string): void {
  if (allocation.owner === salt) return;
  forgetOwner(state, allocation);
  allocation.owner = salt;
  noteOwner(state, allocation);
}

export function noteOwner({ byOwner }: ServerState, allocation: Allocation): void {
  const all = byOwner.get(allocation.owner) ?? new Set();
  byOwner.set(allocation.owner, all.add(allocation));
}

function forgetOwner({ byOwner }: ServerState, allocation: Allocation): void {
  const all = byOwner.get(allocation.owner);
  all?.delete(allocation);
  if (all?.size === 0) byOwner.delete(allocation.owner);
}

/** Ends families of an allocation with their channels, and with the last family the allocation itself. */
export function endFamilies(
  state: ServerState,
  allocation: Allocation,
  families: readonly IpFamily[],
  reason: AllocationEnd,
): void {
  for (const binding of [...allocation.byChannel.values()]) {
    if (families.includes(familyOf(binding.record.peer.address))) endBinding(state, binding);
  }
  for (const family of families) allocation.expiry.delete(family);
  state.commands.push({ kind: "free-port", port: allocation.port, families });
  state.timers.set(allocation, earliest(...allocation.expiry.values()));
  const { client, port } = allocation;
  if (allocation.expiry.size > 0) {
    state.log.info?.("family of an allocation ended", { client, port, families, reason });
    return;
  }
  state.allocations.delete(formatSocketAddress(client));
  state.usedPorts.delete(port);
  forgetOwner(state, allocation);
  state.log.info?.("allocation ended", { client, port, reason });
}

/** Makes a binding, or prolongs it, whether bound or cooling (RL-28). */
export function bind(
  state: ServerState,
  now: Instant,
  allocation: Allocation,
  record: RelayBinding,
): ChannelBinding {
  const known = allocation.byChannel.get(record.channel);
  const binding: ChannelBinding = known ?? {
    kind: "binding",
    allocation,
    record,
    stage: "cooling",
    dueAt: undefined,
    place: -1,
  };
  if (known === undefined) {
    allocation.byChannel.set(record.channel, binding);
    allocation.byPeer.set(formatSocketAddress(record.peer), binding);
    state.cooling += 1;
  }
  if (binding.stage === "cooling") {
    binding.stage = "bound";
    state.cooling -= 1;
    state.bound += 1;
    publish(state, binding, record);
  } else if (isOtherWay(binding.record, record)) publish(state, binding, record);
  state.timers.set(binding, after(now, CHANNEL_LIFE_MS));
  return binding;
}

function publish(state: ServerState, binding: ChannelBinding, record: RelayBinding): void {
  binding.record = record;
  state.commands.push({ kind: "add-binding", binding: record });
}

/** Whether the client asks another address of ours than before. */
function isOtherWay(before: RelayBinding, record: RelayBinding): boolean {
  const [a, b] = [before.local, record.local];
  return a?.length !== b?.length || (a ?? []).some((byte, i) => byte !== b?.[i]);
}

/** Everything whose time has come by `now`, each as if at its own time. */
export function expire(state: ServerState, now: Instant): void {
  const { timers } = state;
  for (let first = timers.first(); first?.dueAt !== undefined && first.dueAt <= now; first = timers.first()) {
    switch (first.kind) {
      case "allocation":
        endFamilies(state, first, dueFamilies(first, now), "expired");
        break;
      case "binding":
        if (first.stage === "bound") cool(state, first, first.dueAt);
        else endBinding(state, first);
        break;
      case "reservation":
        endReservation(state, first);
        break;
      default:
        unreachable(first);
    }
  }
}

function dueFamilies({ expiry }: Allocation, now: Instant): readonly IpFamily[] {
  return [...expiry].filter(([, until]) => until <= now).map(([family]) => family);
}

/** No data any more, but number and peer stay reserved for each other (RL-29). */
function cool(state: ServerState, binding: ChannelBinding, at: Instant): void {
  state.commands.push({ kind: "remove-binding", binding: binding.record });
  binding.stage = "cooling";
  state.bound -= 1;
  state.cooling += 1;
  state.timers.set(binding, after(at, CHANNEL_COOLING_MS));
}

function endBinding(state: ServerState, binding: ChannelBinding): void {
  const { allocation, record, stage } = binding;
  if (stage === "bound") {
    state.commands.push({ kind: "remove-binding", binding: record });
    state.bound -= 1;
  } else state.cooling -= 1;
  allocation.byChannel.delete(record.channel);
  allocation.byPeer.delete(formatSocketAddress(record.peer));
  state.timers.set(binding, undefined);
}

/** The allocation's binding of that channel or that peer, bound or cooling. */
export function bindingsOf(
  { byChannel, byPeer }: Allocation,
  channel: number,
  peer: SocketAddress,
): { readonly ofChannel: ChannelBinding | undefined; readonly ofPeer: ChannelBinding | undefined } {
  return { ofChannel: byChannel.get(channel), ofPeer: byPeer.get(formatSocketAddress(peer)) };
}
