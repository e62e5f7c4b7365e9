/** Two ends that reach each other through relays alone, or not only. */
import { equalIp } from "../../src/base/index.ts";
import type { RelayEntry } from "../../src/connections/index.ts";
import { createDuo, type Duo, type DuoOptions, type End } from "./duo.ts";
import { addRelay, type SimulatedRelay } from "./relay.ts";
import { createWorld, type World } from "./world.ts";

export interface RelayedDuo {
  readonly world: World;
  readonly duo: Duo;
  readonly relays: readonly SimulatedRelay[];
}

const RELAY_ADDRESSES = [
  ["203.0.113.1", "2001:db8:7::1"],
  ["203.0.113.2", "2001:db8:7::2"],
] as const;

/** A world with two relays and two ends. `isApart`: no datagram passes between the ends directly. */
export function relayedDuo(
  seed: number,
  options: DuoOptions & { readonly isApart?: boolean; readonly latencyMs?: number } = {},
): RelayedDuo {
  const world = createWorld(seed);
  const relays = RELAY_ADDRESSES.map((addresses, i) =>
    addRelay(world, `relay-${i + 1}`, { addresses, link: { latencyMs: options.latencyMs ?? 5 } }),
  );
  const duo = createDuo(world, options);
  if (options.isApart !== false) keepApart(duo);
  return { world, duo, relays };
}

/** Two firewalls that let nothing but traffic with relays through. */
export function keepApart({ client, gateway }: Duo): void {
  client.host.swallows = ({ destination }) => isAddressOf(gateway, destination.address);
  gateway.host.swallows = ({ destination }) => isAddressOf(client, destination.address);
}

/** Both firewalls are open from now on. */
export function letMeet({ client, gateway }: Duo): void {
  client.host.swallows = () => false;
  gateway.host.swallows = () => false;
}

function isAddressOf({ host }: End, address: Uint8Array): boolean {
  return host.addresses.some((own) => equalIp(own, address));
}

/** What the portal says of relays, to one end. */
export function updateRelays(
  world: World,
  end: End,
  { add = [], remove = [] }: { readonly add?: readonly RelayEntry[]; readonly remove?: readonly string[] },
): void {
  end.machine.apply(world.now(), (connections) => connections.updateRelays(world.now(), { add, remove }));
  world.flush(end.host);
}

/** The portal lists these relays to both ends, each with its own credentials. */
export function listRelays({ world, duo }: RelayedDuo, relays: readonly SimulatedRelay[]): void {
  for (const end of [duo.client, duo.gateway]) {
    updateRelays(world, end, { add: relays.map((relay) => relay.entryFor(end.role)) });
  }
}

/** Packets one after the other; how long the longest gap was in which none arrived, in milliseconds. */
export function stream(
  { world, duo }: RelayedDuo,
  from: End,
  { count, everyMs }: { readonly count: number; readonly everyMs: number },
): number {
  const to = from === duo.client ? duo.gateway : duo.client;
  let longest = 0;
  let last = world.now();
  let before = to.received.length;
  for (let sequence = 0; sequence < count; sequence++) {
    duo.send(from, 1_000 + sequence);
    world.run(everyMs);
    if (to.received.length > before) {
      longest = Math.max(longest, world.now() - last);
      last = world.now();
      before = to.received.length;
    }
  }
  return Math.max(longest, world.now() - last);
}
