/** Relays as the portal lists them, and when it is asked for others (TN-104). */
import { after, type Instant, type Log, type SocketAddress } from "../base/index.ts";
import type { Connections, RelayEntry, StreamPlace } from "../connections/index.ts";
import type { RelayEntry as ListedRelay } from "../portal/protocol/index.ts";

/** Wire compatibility: the portal's protocol carries no realm (RL §2). */
const RELAY_REALM = "firezone";

/** The shell connects to the portal anew: its `init` lists relays (PT-20). */
export interface RelaysWanted {
  readonly kind: "relays-wanted";
}

/** Between two reconnects for the sake of relays; it doubles (TN-104). */
const ASK_FIRST_MS = 5_000;
const ASK_LAST_MS = 300_000;

export interface RelayWish {
  /** The portal's latest selection had a relay: asking for others may help. */
  hasSelection: boolean;
  /** When the portal is asked, unless relays come before. */
  askAt: Instant | undefined;
  /** Not before. */
  notBefore: Instant | undefined;
  pauseMs: number;
  hasSaidNone: boolean;
}

/** Of either end, what relays concern. */
interface RelayEnd {
  readonly wish: RelayWish;
  readonly connections: Pick<Connections, "updateRelays">;
  readonly log: Log;
}

export function createRelayWish(): RelayWish {
  return {
    hasSelection: false,
    askAt: undefined,
    notBefore: undefined,
    pauseMs: ASK_FIRST_MS,
    hasSaidNone: false,
  };
}

/** A complete selection, from `init` or `relays_presence` (PT-53, PT-54). */
export function takeRelays(
  end: RelayEnd,
  now: Instant,
  { gone, listed }: { readonly gone: readonly string[]; readonly listed: readonly ListedRelay[] },
): void {
  const { wish, connections, log } = end;
  wish.hasSelection = listed.length > 0;
  if (wish.hasSelection) wish.askAt = undefined;
  else if (!wish.hasSaidNone) {
    wish.hasSaidNone = true;
    // A relay is a fall-back: no reason to complain (SN-138).
    log.info?.("the portal lists no relays: only direct paths are tried");
  }
  connections.updateRelays(now, { remove: gone, add: joinFamilies(listed) });
}

/** The portal lists the IPv4 and the IPv6 address of a relay as two entries of one id (RL Part B). */
function joinFamilies(listed: readonly ListedRelay[]): readonly RelayEntry[] {
  const byId = new Map<string, RelayEntry>();
  for (const relay of listed) {
    const { id, address, username, password } = relay;
    const family = familyOf(address);
    const entry = byId.get(id) ?? { id, username, password, realm: RELAY_REALM };
    const streams = placesOf(relay).reduce(withPlace, entry.streams ?? []);
    byId.set(id, {
      ...entry,
      [family]: entry[family] ?? address,
      ...(streams.length > 0 && { streams }),
    });
  }
  return [...byId.values()];
}

/** TLS comes first. */
function placesOf({ tls, tcp }: ListedRelay): readonly StreamPlace[] {
  return [
    ...(tls ? [{ transport: "tls", addresses: [tls.address], name: tls.name } as const] : []),
    ...(tcp ? [{ transport: "tcp", addresses: [tcp.address] } as const] : []),
  ];
}

/** The same stream at the address of the other family is one place. */
function withPlace(places: readonly StreamPlace[], place: StreamPlace): readonly StreamPlace[] {
  const isSame = ({ transport, name }: StreamPlace): boolean =>
    transport === place.transport && name === place.name;
  if (!places.some(isSame)) return [...places, place];
  return places.map((known) =>
    isSame(known) ? { ...known, addresses: [...known.addresses, ...place.addresses] } : known,
  );
}

function familyOf({ address }: SocketAddress): "v4" | "v6" {
  return address.length === 4 ? "v4" : "v6";
}

/** The last relay is gone, or a connection could not be made for want of one. */
export function wantRelays(end: RelayEnd, now: Instant): void {
  const { wish } = end;
  if (!wish.hasSelection) return;
  wish.askAt = wish.notBefore !== undefined && wish.notBefore > now ? wish.notBefore : now;
}

/** A relay has answered: the next loss is another story. */
export function noteRelayAnswered({ wish }: RelayEnd): void {
  wish.askAt = undefined;
  wish.notBefore = undefined;
  wish.pauseMs = ASK_FIRST_MS;
}

/** Whether the portal is to be asked now; asked at all, it is asked once. */
export function isTimeToAsk({ wish, log }: RelayEnd, now: Instant): boolean {
  if (wish.askAt === undefined || now < wish.askAt) return false;
  wish.askAt = undefined;
  wish.notBefore = after(now, wish.pauseMs);
  log.info?.("no relay is left: the portal is asked for others", { againNotBeforeMs: wish.pauseMs });
  wish.pauseMs = Math.min(2 * wish.pauseMs, ASK_LAST_MS);
  return true;
}

export function pollRelayTimeout({ wish }: RelayEnd): Instant | undefined {
  return wish.askAt;
}
