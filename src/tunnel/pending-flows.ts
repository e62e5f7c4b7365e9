/** Packets that wait until the portal has named a gateway for their resource (TN-28, TN-30, TN-33). */
import { after, copyOf, earliest, equalBytes, type Instant } from "../base/index.ts";
import { INTENT_DEDUP_MS, PENDING_IDLE_MS, PENDING_PACKETS } from "./constants.ts";

export interface PendingFlows {
  /**
   * Keeps `packet` for the resource `rid`.
   * @returns whether an intent is due now (TN-28) and how many packets were pushed out for it
   */
  add(
    now: Instant,
    rid: string,
    packet?: Uint8Array,
  ): { readonly isIntentDue: boolean; readonly dropped: number };
  has(rid: string): boolean;
  /** Ends the pending flow and returns its packets in order. */
  take(rid: string): readonly Uint8Array[];
  /** The resources that ask again after an `init` (TN-33); their stamps are set to `now`. */
  restart(now: Instant): readonly string[];
  /** Forgets when intents were sent (TN-35). */
  clearStamps(): void;
  /** Drops flows without a trigger for `PENDING_IDLE_MS`; returns the number of packets lost. */
  handleTimeout(now: Instant): number;
  pollTimeout(): Instant | undefined;
}

interface PendingFlow {
  readonly packets: Uint8Array[];
  lastTrigger: Instant;
}

const PROTOCOL_TCP = 6;

export function createPendingFlows(): PendingFlows {
  const flows = new Map<string, PendingFlow>();
  // Outlives the flow: a refused resource is not asked for again within the same two seconds (TN-32).
  const lastIntent = new Map<string, Instant>();

  return {
    add(now, rid, packet) {
      const flow = flows.get(rid) ?? { packets: [], lastTrigger: now };
      flows.set(rid, flow);
      flow.lastTrigger = now;
      const dropped = packet === undefined ? 0 : keep(flow.packets, packet);
      const last = lastIntent.get(rid);
      const isIntentDue = last === undefined || now - last >= INTENT_DEDUP_MS;
      if (isIntentDue) lastIntent.set(rid, now);
      return { isIntentDue, dropped };
    },
    has: (rid) => flows.has(rid),
    take(rid) {
      const packets = flows.get(rid)?.packets ?? [];
      flows.delete(rid);
      return packets;
    },
    restart(now) {
      const rids = [...flows.keys()];
      for (const rid of rids) lastIntent.set(rid, now);
      return rids;
    },
    clearStamps: () => lastIntent.clear(),
    handleTimeout(now) {
      let lost = 0;
      for (const [rid, flow] of flows) {
        if (now < after(flow.lastTrigger, PENDING_IDLE_MS)) continue;
        lost += flow.packets.length;
        flows.delete(rid);
      }
      for (const [rid, sent] of lastIntent) {
        if (!flows.has(rid) && now - sent >= INTENT_DEDUP_MS) lastIntent.delete(rid);
      }
      return lost;
    },
    pollTimeout: () =>
      earliest(...[...flows.values()].map(({ lastTrigger }) => after(lastTrigger, PENDING_IDLE_MS))),
  };
}

/** Stores a copy unless it is a duplicate; a repeated SYN replaces the stored one in place (TN-30). */
function keep(packets: Uint8Array[], packet: Uint8Array): number {
  if (packets.some((stored) => equalBytes(stored, packet))) return 0;
  const again = packets.findIndex((stored) => isRepeatedSyn(stored, packet));
  if (again >= 0) {
    packets[again] = copyOf(packet);
    return 0;
  }
  packets.push(copyOf(packet));
  if (packets.length <= PENDING_PACKETS) return 0;
  packets.shift();
  return 1;
}

function isRepeatedSyn(a: Uint8Array, b: Uint8Array): boolean {
  const [x, y] = [synIdentity(a), synIdentity(b)];
  return x !== undefined && y !== undefined && equalBytes(x, y);
}

/** Addresses, ports and sequence number of a SYN without ACK; options and checksums may differ. */
function synIdentity(packet: Uint8Array): Uint8Array | undefined {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  const protocol = packet[isV6 ? 6 : 9];
  const transport = isV6 ? 40 : ((packet[0] ?? 0) & 15) * 4;
  const flags = packet[transport + 13];
  if (protocol !== PROTOCOL_TCP || flags === undefined || (flags & 0x12) !== 0x02) return undefined;
  const addresses = isV6 ? packet.subarray(8, 40) : packet.subarray(12, 20);
  const identity = new Uint8Array(addresses.length + 8);
  identity.set(addresses);
  identity.set(packet.subarray(transport, transport + 8), addresses.length);
  return identity;
}
