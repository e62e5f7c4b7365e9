/** What the packet plane tells control: events of the control rings, packets of the data rings. */
import type { IpAddress, SocketAddress } from "../base/index.ts";
import type { FlowDirection } from "./flow.ts";

/** What the control rings carry up (WG-51). Byte arrays are copies and belong to the receiver. */
export type PlaneEvent =
  | {
      readonly kind: "handshake" | "stun" | "other";
      readonly bytes: Uint8Array;
      readonly from: SocketAddress;
      /** The address on which it arrived; its port is the socket's. */
      readonly local: SocketAddress;
      readonly relayed?: { readonly relay: SocketAddress; readonly channel: number };
      /** The plane has judged the handshake message: mac1, and its source's share of control's time (PG-160). */
      readonly isJudged?: boolean;
    }
  | { readonly kind: "activity" | "wake"; readonly slot: number }
  /** The kernel knows that a datagram to this peer is longer than its path (PG-46, SN-150). */
  | { readonly kind: "too-long"; readonly slot: number }
  | { readonly kind: "confirmed"; readonly slot: number; readonly generation: number }
  | {
      readonly kind: "counter";
      readonly slot: number;
      readonly generation: number;
      readonly limit: "rekey" | "reject";
    }
  | {
      readonly kind: "roamed";
      readonly slot: number;
      readonly from: SocketAddress;
      readonly local: IpAddress;
    };

/** What the data rings carry up: packets that wait for a decision, in their order (TN-78). */
export type DataPunt =
  | { readonly reason: "no-session"; readonly slot: number; readonly packet: Uint8Array }
  | { readonly reason: "first"; readonly packet: Uint8Array }
  /** Of a flow without a valid record, or whose packets control asked for (TN-78). */
  | {
      readonly reason: "flow";
      readonly direction: FlowDirection;
      /** Absent for packets of a client's own device: the record will say which gateway. */
      readonly slot?: number;
      readonly packet: Uint8Array;
      /** Of a held flow: its record has counted the packet. */
      readonly isCounted?: true;
    }
  /** An ICMP error to or from an address about which flows decide (TN-78). */
  | {
      readonly reason: "icmp-error";
      readonly direction: FlowDirection;
      readonly slot?: number;
      readonly packet: Uint8Array;
    }
  /** `refusal`: what the flow's record says; absent where tables refuse. */
  | {
      readonly reason: "refused";
      readonly slot?: number;
      readonly refusal?: "prohibited" | "unreachable";
      readonly packet: Uint8Array;
    }
  /** Longer than what the peer's path carries whole (TN-108). */
  | { readonly reason: "too-big"; readonly slot: number; readonly packet: Uint8Array }
  | { readonly reason: "control-event"; readonly slot: number; readonly packet: Uint8Array }
  /** From the tunnel to a port that the client's resolver asks from, or an error about one (TN-38). */
  | { readonly reason: "resolver"; readonly slot: number; readonly packet: Uint8Array };
