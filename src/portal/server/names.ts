/** What ids are called, for people who read the log (PG-93, PT-194). */
import type { Core } from "./core.ts";
import { idOf, type PeerSocket } from "./sockets.ts";

type Fields = Readonly<Record<string, string | undefined>>;

export function peerFields(core: Core, socket: PeerSocket): Fields {
  const { kind } = socket;
  if (kind === "relay") return { kind };
  const peer = core.store.peers[kind].facts(socket.peerId);
  const owner =
    kind === "client" ? { actor: actorName(core, peer?.ownerId) } : { site: siteName(core, peer?.ownerId) };
  return { kind, ...idOf(socket), name: peer?.name, externalId: peer?.externalId, ...owner };
}

/** Who wants what, through whom. */
export function accessFields(
  core: Core,
  { cid, gid, rid }: { readonly cid: string; readonly gid?: string; readonly rid: string },
): Fields {
  const device = core.store.peers.client.facts(cid);
  const gateway = gid === undefined ? {} : { gid, gateway: core.store.peers.gateway.facts(gid)?.name };
  return {
    cid,
    client: device?.name,
    actor: actorName(core, device?.ownerId),
    ...gateway,
    rid,
    resource: core.model.resources.get(rid)?.name,
  };
}

function actorName({ model }: Core, id: string | undefined): string | undefined {
  return id === undefined ? undefined : model.actors.get(id)?.name;
}

function siteName({ model }: Core, id: string | undefined): string | undefined {
  return id === undefined ? undefined : model.sites.get(id)?.name;
}
