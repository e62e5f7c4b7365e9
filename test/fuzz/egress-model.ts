/**
 * What must become of a frame of the TUN device, computed from the specification (WG-45, WG-46, TN-4,
 * TN-20, TN-62, PG-51). It knows nothing of the plane's memory.
 */
import type { Reason } from "../../bindings/memory/index.ts";
import { copyOf, type Instant } from "../../src/base/index.ts";
import { type PacketDescriptor, parsePacket } from "../../src/packet/index.ts";
import type { DataPunt } from "../../src/plane/index.ts";
import { splitFrame } from "../twin/plane/split.ts";
import type { PeerModel, SessionModel } from "./peer-model.ts";
import type { PlaneWorld } from "./plane-world.ts";
import { judgeEgress } from "./policy-model.ts";
import { dropIn, mayRefuse, mayReport, puntIn, type WorkerModel } from "./worker-model.ts";

/** A packet that must leave, sealed for that session. */
export interface ExpectedSeal {
  readonly peer: PeerModel;
  readonly session: SessionModel;
  readonly packet: Uint8Array;
}

export interface EgressModel {
  /** Judges a frame and returns the packets that must leave, in order. */
  read(now: Instant, frame: Uint8Array): readonly ExpectedSeal[];
  /** Packets that control injects; they leave before the next frame (WG-46). */
  inject(peer: PeerModel, packets: readonly Uint8Array[]): void;
  /** The injected packets that must leave when the worker comes around. */
  takeInjected(now: Instant): readonly ExpectedSeal[];
}

export interface EgressModelOptions {
  readonly world: PlaneWorld;
  readonly worker: WorkerModel;
  readonly peers: readonly PeerModel[];
}

const VNET_BYTES = 10;
const STAGED_MAX = 128;
const REFUSALS = { plain: 10, client: 200, gateway: 200 } as const;

export function createEgressModel({ world, worker, peers }: EgressModelOptions): EgressModel {
  const { mode, policy, maxPacket } = world;
  let waiting: { readonly peer: PeerModel; readonly packet: Uint8Array }[] = [];
  const packetMode = mode === "plain" ? "plain" : "strict";

  /** TN-20: refused by an answer of control, of which there are few in a second. */
  function refuse(
    now: Instant,
    packets: readonly Uint8Array[],
    slot: number | undefined,
    reason: Reason,
  ): void {
    const [first] = packets;
    if (first === undefined) return;
    if (!mayRefuse(worker, now, REFUSALS[mode])) return dropIn(worker, reason, packets.length);
    const punt: DataPunt = { reason: "refused", packet: first };
    puntIn(worker, slot === undefined ? punt : { ...punt, slot });
    dropIn(worker, reason, packets.length - 1);
  }

  function wait(peer: PeerModel, packets: readonly Uint8Array[]): void {
    peer.isHeld = true;
    for (const packet of packets) {
      if (peer.punted - peer.taken >= STAGED_MAX) dropIn(worker, "wg_no_session");
      else if (puntIn(worker, { reason: "no-session", slot: peer.world.slot, packet })) peer.punted++;
    }
  }

  function leadToPeer(
    now: Instant,
    slot: number,
    packets: readonly Uint8Array[],
    plainReason: Reason,
  ): readonly ExpectedSeal[] {
    const peer = peers.find((candidate) => candidate.world.slot === slot);
    if (peer === undefined) {
      dropIn(worker, "no-peer-state", packets.length);
      return [];
    }
    if (mode === "plain" && (peer.path === undefined || peer.path.kind === "none")) {
      refuse(now, packets, slot, plainReason);
      return [];
    }
    if (peer.isHeld) {
      wait(peer, packets);
      return [];
    }
    const injected = takeInjected(now);
    const session = usableSession(peer, now);
    if (session === undefined) {
      wait(peer, packets);
      return injected;
    }
    if (peer.isWatched && mayReport(worker)) {
      peer.isWatched = false;
      worker.control.put({ kind: "activity", slot }, 0);
    }
    worker.passed += packets.length;
    return [...injected, ...packets.map((packet) => ({ peer, session, packet }))];
  }

  function takeInjected(now: Instant): readonly ExpectedSeal[] {
    const sealed: ExpectedSeal[] = [];
    for (const { peer, packet } of waiting) {
      worker.packetsIn++;
      worker.injected++;
      const session = usableSession(peer, now);
      if (session === undefined) dropIn(worker, "inject-stale");
      else {
        worker.passed++;
        sealed.push({ peer, session, packet });
      }
    }
    waiting = [];
    return sealed;
  }

  return {
    takeInjected,
    inject(peer, packets) {
      waiting.push(...packets.map((packet) => ({ peer, packet: copyOf(packet) })));
    },
    read(now, frame) {
      const injected = takeInjected(now);
      const packets = splitFrame(frame, { limitBytes: maxPacket, mode: packetMode });
      if (!packets.ok) {
        worker.packetsIn++;
        dropIn(worker, packets.reason);
        return injected;
      }
      worker.packetsIn += packets.value.length;
      const { packet, found } = judgedOf(frame, packets.value, packetMode);
      const verdict = judgeEgress({ mode, policy, packet, found });
      switch (verdict.kind) {
        case "peer":
          return [...injected, ...leadToPeer(now, verdict.slot, packets.value, "wg_no_endpoint")];
        case "punt":
          for (const segment of packets.value) puntIn(worker, { reason: "first", packet: segment });
          return injected;
        case "refuse":
          refuse(now, packets.value, undefined, mode === "plain" ? "wg_no_route" : "refuse-rate");
          return injected;
        default:
          dropIn(worker, verdict.reason, packets.value.length);
          return injected;
      }
    },
  };
}

/** What is judged, once per frame: a packet as it will leave, or a super-frame as a whole (TN-4). */
function judgedOf(
  frame: Uint8Array,
  packets: readonly Uint8Array[],
  mode: "plain" | "strict",
): { readonly packet: Uint8Array; readonly found: PacketDescriptor } {
  const isSingle = frame[1] === 0;
  const bytes = (isSingle ? packets[0] : undefined) ?? frame.subarray(VNET_BYTES);
  const found = parsePacket(bytes, { limitBytes: 65_535, mode });
  if (!found.ok) throw new Error("a frame that could be split has a packet");
  return { packet: bytes.slice(0, found.value.totalBytes), found: found.value };
}

function usableSession({ path, current }: PeerModel, now: Instant): SessionModel | undefined {
  if (path === undefined || path.kind === "none" || path.isBroken) return undefined;
  return current !== undefined && now < current.keys.sendUntil ? current : undefined;
}
