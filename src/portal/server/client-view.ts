/**
 * What a client is shown: `init` once, then exactly the differences (PT-76, PT-80, PT-90, PT-92).
 */
import { earliest, type Instant } from "../../base/index.ts";
import type { RelayEntry } from "../protocol/index.ts";
import { connectableResources } from "./access.ts";
import { type Core, pushToClient, subjectOf } from "./core.ts";
import type { ConfiguredResource } from "./model.ts";
import type { PeerSocket, ShownResource } from "./sockets.ts";
import type { StoredPeer } from "./stored-state.ts";
import { clientInterfaceOf, clientResourceOf, shownResourceOf } from "./view.ts";

/**
 * Pushes `init` to a client. What was rejected while it was away follows as deleted and created, so
 * that it asks anew instead of sending to a gateway that refuses (PT-92).
 * Returns when the passing of time alone will change the set.
 */
export function pushClientInit(
  core: Core,
  now: Instant,
  socket: PeerSocket,
  relays: readonly RelayEntry[],
): Instant | undefined {
  const device = core.store.get("client", socket.peerId);
  if (device === undefined) return undefined;
  const { resources, changesAt } = resourcesOf(core, now, socket, device);
  socket.shown = shownOf(core, resources);
  pushToClient(core, socket, {
    kind: "init",
    interface: clientInterfaceOf(core.model, device),
    resources: resources.map((resource) => clientResourceOf(core.model, resource)),
    relays,
  });
  const rejections = core.store.rejections.takeOf(device.id, core.clock.wallNow(now));
  if (rejections.length > 0) core.store.commit();
  for (const { rid } of rejections) {
    const resource = resources.find(({ id }) => id === rid);
    if (resource === undefined) continue;
    pushToClient(core, socket, { kind: "resource-deleted", rid });
    pushResource(core, socket, resource);
  }
  return changesAt;
}

/** Pushes what has changed since, deletions first; returns as `pushClientInit`. */
export function refreshClient(core: Core, now: Instant, socket: PeerSocket): Instant | undefined {
  const device = core.store.get("client", socket.peerId);
  if (device === undefined) return undefined;
  const { resources, changesAt } = resourcesOf(core, now, socket, device);
  const before = socket.shown;
  socket.shown = shownOf(core, resources);
  for (const [rid, { identity }] of before) {
    if (socket.shown.get(rid)?.identity !== identity) {
      pushToClient(core, socket, { kind: "resource-deleted", rid });
    }
  }
  for (const resource of resources) {
    if (socket.shown.get(resource.id)?.text !== before.get(resource.id)?.text) {
      pushResource(core, socket, resource);
    }
  }
  return changesAt;
}

/** All clients past their `init`; the earliest time at which one of them changes by itself. */
export function refreshClients(core: Core, now: Instant): Instant | undefined {
  let changesAt: Instant | undefined;
  for (const socket of core.sockets.all()) {
    if (socket.kind !== "client" || socket.stage !== "ready") continue;
    changesAt = earliest(changesAt, refreshClient(core, now, socket));
  }
  return changesAt;
}

export function pushInterface(core: Core, socket: PeerSocket): void {
  const device = core.store.get("client", socket.peerId);
  if (device === undefined) return;
  pushToClient(core, socket, { kind: "config-changed", interface: clientInterfaceOf(core.model, device) });
}

function resourcesOf(
  core: Core,
  now: Instant,
  socket: PeerSocket,
  device: StoredPeer,
): { readonly resources: readonly ConfiguredResource[]; readonly changesAt: Instant | undefined } {
  const subject = subjectOf(core, device, socket.token, now);
  if (subject === undefined) return { resources: [], changesAt: undefined };
  const { resources, changesAt } = connectableResources(core.model, subject);
  return { resources, changesAt: changesAt === undefined ? undefined : core.clock.instantOf(changesAt) };
}

function shownOf(core: Core, resources: readonly ConfiguredResource[]): Map<string, ShownResource> {
  return new Map(resources.map((resource) => [resource.id, shownResourceOf(core.model, resource)]));
}

function pushResource(core: Core, socket: PeerSocket, resource: ConfiguredResource): void {
  pushToClient(core, socket, {
    kind: "resource-created-or-updated",
    resource: clientResourceOf(core.model, resource),
  });
}
