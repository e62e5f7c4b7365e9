/**
 * The DNS resource NAT of the client: whether a gateway knows the proxy addresses of a name (TN-45 to TN-49).
 *
 * A pure machine with one state per gateway, name and resource, and the table of TN-46 as its switches. It has
 * no timer: what is lost is sent again when a query or a packet comes.
 */
import { after, type Instant, unreachable } from "../base/index.ts";
import { NAT_SETUP_PACKETS, NAT_SETUP_RETRY_MS } from "./constants.ts";
import { keepPacket } from "./waiting-packets.ts";

/** A name of a resource, as one gateway serves it. */
export interface NatKey {
  readonly gid: string;
  readonly rid: string;
  /** Presentation text of the folded name (DN-1). */
  readonly domain: string;
}

export type NatState =
  /** The gateway was told. `held`: packets that wait for its answer; absent: they pass meanwhile. */
  | { readonly kind: "pending"; readonly sentAt: Instant; readonly held?: Uint8Array[] }
  /** To be told again with the next query, whatever its name. */
  | { readonly kind: "recreating"; readonly isHolding: boolean }
  | { readonly kind: "confirmed" }
  | { readonly kind: "failed" };

export type NatChange =
  | { readonly kind: "none" }
  /** Packets must not pass any more until the gateway has answered: known flows end (TN-84). */
  | { readonly kind: "holds" }
  /** What waited goes on, in this order. */
  | { readonly kind: "released"; readonly packets: readonly Uint8Array[] };

export interface DnsNat {
  /** U: any query, or access was granted (TN-47). */
  update(now: Instant, key: NatKey): NatChange;
  /** U for every state that it can change. */
  updateAll(now: Instant): readonly NatKey[];
  /** R: a query for this very name, before U. */
  query(key: NatKey): void;
  /** P: a packet for a proxy address of the name. Held ones are copied. */
  packet(now: Instant, key: NatKey, packet: Uint8Array): "passes" | "held";
  /** The gateway's *domain status*. */
  status(key: NatKey, isActive: boolean): NatChange;
  /** The connection is gone (TN-34). */
  clearGateway(gid: string): void;
  /** The resource is gone (TN-26). */
  clearResource(rid: string): void;
  /** The network is another one (TN-35). */
  clear(): void;
  stateOf(key: NatKey): NatState | undefined;
  /** Names that a gateway is to be told of now: one *assigned IPs* event each. */
  pollSend(): NatKey | undefined;
  /** Packets that were pushed out of a full buffer, since the start. */
  droppedPackets(): number;
}

interface Entry {
  readonly key: NatKey;
  state: NatState;
}

interface State {
  readonly entries: Map<string, Entry>;
  /** Those that U can change: what keeps every query from walking through all names. */
  readonly open: Set<Entry>;
  readonly sends: NatKey[];
  dropped: number;
}

const NOTHING: NatChange = { kind: "none" };
const HOLDS: NatChange = { kind: "holds" };

export function createDnsNat(): DnsNat {
  const nat: State = { entries: new Map(), open: new Set(), sends: [], dropped: 0 };
  return {
    update: (now, key) => update(nat, now, key),
    updateAll: (now) =>
      [...nat.open].filter((entry) => updateEntry(nat, now, entry).kind === "holds").map(({ key }) => key),
    query: (key) => query(nat, key),
    packet: (now, key, packet) => handlePacket(nat, now, key, packet),
    status: (key, isActive) => handleStatus(nat, key, isActive),
    clearGateway: (gid) => clearWhere(nat, (key) => key.gid === gid),
    clearResource: (rid) => clearWhere(nat, (key) => key.rid === rid),
    clear: () => clearWhere(nat, () => true),
    stateOf: (key) => nat.entries.get(textOf(key))?.state,
    pollSend: () => nat.sends.shift(),
    droppedPackets: () => nat.dropped,
  };
}

function update(nat: State, now: Instant, key: NatKey): NatChange {
  const entry = nat.entries.get(textOf(key));
  if (entry !== undefined) return updateEntry(nat, now, entry);
  begin(nat, now, key);
  return HOLDS;
}

function updateEntry(nat: State, now: Instant, entry: Entry): NatChange {
  const { state } = entry;
  switch (state.kind) {
    case "pending":
      resend(nat, now, entry, state);
      return NOTHING;
    case "recreating":
      send(nat, entry.key);
      set(nat, entry, { kind: "pending", sentAt: now, ...(state.isHolding && { held: [] }) });
      return state.isHolding ? HOLDS : NOTHING;
    case "confirmed":
    case "failed":
      // Unrelated queries leave a name alone that does not resolve: retries end (TN-48).
      return NOTHING;
    default:
      return unreachable(state);
  }
}

function query(nat: State, key: NatKey): void {
  const entry = nat.entries.get(textOf(key));
  if (entry === undefined) return;
  switch (entry.state.kind) {
    case "confirmed":
      // Records mostly stay the same: packets go on meanwhile.
      return set(nat, entry, { kind: "recreating", isHolding: false });
    case "failed":
      return set(nat, entry, { kind: "recreating", isHolding: true });
    case "pending":
    case "recreating":
      return;
    default:
      return unreachable(entry.state);
  }
}

function handlePacket(nat: State, now: Instant, key: NatKey, packet: Uint8Array): "passes" | "held" {
  const entry = nat.entries.get(textOf(key)) ?? begin(nat, now, key);
  const { state } = entry;
  switch (state.kind) {
    case "pending": {
      const { held } = state;
      if (held !== undefined) nat.dropped += keepPacket(held, packet, NAT_SETUP_PACKETS);
      resend(nat, now, entry, state);
      return held === undefined ? "passes" : "held";
    }
    case "recreating":
    case "confirmed":
    case "failed":
      // Where it failed, the gateway answers *unreachable*: one place makes that error.
      return "passes";
    default:
      return unreachable(state);
  }
}

function handleStatus(nat: State, key: NatKey, isActive: boolean): NatChange {
  const entry = nat.entries.get(textOf(key));
  if (entry === undefined) return NOTHING;
  const { state } = entry;
  set(nat, entry, { kind: isActive ? "confirmed" : "failed" });
  const hasHeld = state.kind === "pending" && state.held !== undefined;
  return hasHeld ? { kind: "released", packets: state.held } : NOTHING;
}

/** Nothing was known: the gateway is told, and packets wait for its answer. */
function begin(nat: State, now: Instant, key: NatKey): Entry {
  const entry: Entry = { key, state: { kind: "pending", sentAt: now, held: [] } };
  nat.entries.set(textOf(key), entry);
  nat.open.add(entry);
  send(nat, key);
  return entry;
}

function resend(nat: State, now: Instant, entry: Entry, state: Extract<NatState, { kind: "pending" }>): void {
  if (now < after(state.sentAt, NAT_SETUP_RETRY_MS)) return;
  send(nat, entry.key);
  set(nat, entry, { ...state, sentAt: now });
}

function send(nat: State, key: NatKey): void {
  nat.sends.push(key);
}

function set(nat: State, entry: Entry, state: NatState): void {
  entry.state = state;
  if (state.kind === "pending" || state.kind === "recreating") nat.open.add(entry);
  else nat.open.delete(entry);
}

function clearWhere(nat: State, isOver: (key: NatKey) => boolean): void {
  for (const [text, entry] of nat.entries) {
    if (!isOver(entry.key)) continue;
    nat.entries.delete(text);
    nat.open.delete(entry);
  }
  const kept = nat.sends.filter((key) => !isOver(key));
  nat.sends.splice(0, nat.sends.length, ...kept);
}

function textOf({ gid, rid, domain }: NatKey): string {
  return `${gid} ${rid} ${domain}`;
}
