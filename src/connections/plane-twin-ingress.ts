/** The twin's way from the sockets to the TUN device (D-9, WG-47). */
import {
  contains,
  copyOf,
  equalSocketAddress,
  type Instant,
  type IpAddress,
  type SocketAddress,
} from "../base/index.ts";
import { isControlEvent } from "../packet/index.ts";
import {
  addressesOf,
  noteReceived,
  openMessage,
  TAG_BYTES,
  TRANSPORT_HEADER_BYTES,
  type TwinPeer,
  type TwinSession,
} from "./plane-twin-peer.ts";
import { drop, isOwn, permitsOf, routeOf, type TwinState } from "./plane-twin-state.ts";

const STUN_COOKIE = 0x2112a442;

export interface TwinDatagram {
  readonly bytes: Uint8Array;
  readonly from: SocketAddress;
  readonly local: SocketAddress;
}

/** A datagram from the network (D-9). */
export function handleDatagram(twin: TwinState, now: Instant, { bytes, from, local }: TwinDatagram): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const type = bytes.length >= 4 ? view.getUint32(0, true) : 0;
  if (type === 4) {
    openData(twin, now, view, bytes, { from, local: local.address });
    return;
  }
  const isStun = bytes.length >= 20 && (bytes[0] ?? 255) <= 3 && view.getUint32(4) === STUN_COOKIE;
  const kind = isStun ? "stun" : type >= 1 && type <= 3 ? "handshake" : "other";
  twin.events.push({ kind, bytes: copyOf(bytes), from, local });
}

/** Opens a transport message: index, life, counter, replay window, tag, in this order (WG-47). */
function openData(
  twin: TwinState,
  now: Instant,
  view: DataView,
  bytes: Uint8Array,
  tuple: { readonly from: SocketAddress; readonly local: IpAddress },
): void {
  if (bytes.length < TRANSPORT_HEADER_BYTES + TAG_BYTES) return drop(twin, "wg_malformed");
  const index = view.getUint32(4, true);
  const peer = twin.peers.get(twin.slotsById.get(index >>> 8) ?? -1);
  const session = peer?.sessions.get(index);
  if (peer === undefined || session === undefined) return drop(twin, "wg_unknown_index");
  if (now >= session.recvUntil) return drop(twin, "wg_expired_session");
  const counter = view.getBigUint64(8, true);
  if (counter >= twin.rejectAfterMessages) return drop(twin, "wg_counter_limit");
  if (!session.window.isNew(counter)) return drop(twin, "wg_replay");
  const plaintext = openMessage(session, counter, bytes.subarray(TRANSPORT_HEADER_BYTES));
  if (plaintext === undefined) return drop(twin, "wg_bad_tag");
  session.window.mark(counter);
  session.received++;
  twin.events.push(...noteReceived(peer, now, bytes.length, plaintext.length > 0));
  confirm(twin, peer, session);
  if (twin.isPlain) noteRoaming(twin, peer, tuple);
  if (plaintext.length > 0) deliver(twin, peer, plaintext);
}

function confirm(twin: TwinState, peer: TwinPeer, session: TwinSession): void {
  if (session.isInitiator) return;
  if (peer.current !== undefined && peer.current.generation >= session.generation) return;
  peer.current = session;
  twin.events.push({ kind: "confirmed", slot: peer.slot, generation: session.generation });
}

/** WG-62: reported once, until control sets the path. */
function noteRoaming(
  twin: TwinState,
  peer: TwinPeer,
  { from, local }: { readonly from: SocketAddress; readonly local: IpAddress },
): void {
  const known = peer.path?.destination;
  if (peer.hasRoamed || (known !== undefined && equalSocketAddress(known, from))) return;
  peer.hasRoamed = true;
  twin.events.push({ kind: "roamed", slot: peer.slot, from, local });
}

function deliver(twin: TwinState, peer: TwinPeer, plaintext: Uint8Array): void {
  const addresses = addressesOf(plaintext);
  if (addresses === undefined) return drop(twin, "ip-length");
  const packet = plaintext.slice(0, addresses.lengthBytes);
  const { slot } = peer;
  if (isControlEvent(packet)) {
    twin.punts.push({ reason: "control-event", slot, packet });
    return;
  }
  const refusal = twin.isPlain
    ? judgePlain(twin, slot, addresses.source)
    : judgeTunnel(twin, slot, addresses);
  if (refusal === undefined) twin.packets.push({ slot, packet });
  else if (refusal === "refuse") twin.punts.push({ reason: "refused", slot, packet });
  else drop(twin, refusal);
}

/** WG-58: the inner source must lead to the peer that sent it. */
function judgePlain(twin: TwinState, slot: number, source: IpAddress): string | undefined {
  const target = routeOf(twin, source);
  return target?.kind === "peer" && target.slot === slot ? undefined : "wg_disallowed_source";
}

/** Why a decrypted packet may not go on to the TUN device, if so (TN-38, TN-61). */
function judgeTunnel(
  twin: TwinState,
  slot: number,
  { source, destination }: { readonly source: IpAddress; readonly destination: IpAddress },
): string | undefined {
  const permits = permitsOf(twin, slot);
  const isFrom = permits?.sources.some((prefix) => contains(prefix, source)) ?? false;
  if (permits === undefined || !isFrom) return "not-allowed-source";
  if (!isOwn(twin, destination)) return "bad-destination";
  const { destinations, refuseDestination } = permits;
  if (destinations === undefined || destinations.some((prefix) => contains(prefix, destination))) {
    return undefined;
  }
  return refuseDestination ? "refuse" : "bad-destination";
}
