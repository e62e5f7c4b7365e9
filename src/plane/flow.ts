/**
 * Flow records: what control has decided about single flows, as the plane obeys it (TN-74 to TN-90).
 *
 * Prefixes decide what needs no flow (`policy.ts`). Where they say "by flow", the plane looks for a record. Without
 * a valid one the packet goes to control as punt `flow`; control decides, links a record that holds for both
 * directions, and settles the packet. *Out* is client to resource, *in* is resource to client.
 */
import type { Instant, IpAddress } from "../base/index.ts";

/**
 * What becomes of a flow's packets in one direction (TN-76). `nat`: translated, then as `pass`. `prohibited` and
 * `unreachable`: control gets as many as it shall answer, as punt `refused`. `punt`: control gets all of them, as
 * punt `flow`.
 */
export type FlowVerdict = "pass" | "nat" | "prohibited" | "unreachable" | "drop" | "punt";

/** Client to resource, or resource to client. */
export type FlowDirection = "out" | "in";

/** One end of a flow. The port of ICMP echo is its identifier; portless protocols have 0 (TN-6). */
export interface FlowEnd {
  readonly address: IpAddress;
  readonly port: number;
}

export interface FlowRecord {
  /** Number of the transport protocol. */
  readonly protocol: number;
  /** The client's tunnel address. */
  readonly client: FlowEnd;
  /** The resource as the client sees it; ICMP echo has port 0 here. */
  readonly remote: FlowEnd;
  /** The flow beyond a translation (TN-65): the resource's real address, and the client's port there. */
  readonly outside?: FlowEnd;
  /** Absent: the record is not found in this direction. */
  readonly out?: FlowVerdict;
  readonly in?: FlowVerdict;
  /** Reason of `bindings/memory/reasons.ts` under which `drop` counts; default `not-allowed`. */
  readonly reason?: string;
  /** The packet for which the record is made, if none has counted it: control settles it, and it counts as those to come. */
  readonly first?: { readonly direction: FlowDirection; readonly bytes: number };
  /** The peer: on the client the gateway, on the gateway the client. Absent only where nothing passes. */
  readonly slot?: number;
}

/** Whether an end of a TCP flow was said in one direction. */
export interface FlowFarewell {
  readonly hasFin: boolean;
  readonly hasRst: boolean;
}

/**
 * What the plane has seen of a flow in one direction, and the first packet. What else was punted before is not counted
 * in it; its FIN and RST are there once control has noted them.
 */
export interface FlowStamps extends FlowFarewell {
  /** Of the last packet, in whole seconds; 0: none yet. */
  readonly last: Instant;
  readonly packets: number;
  /** Transport payload. */
  readonly bytes: number;
}

export interface FlowUsage {
  readonly out: FlowStamps;
  readonly in: FlowStamps;
}

/**
 * Why a record is gone: over its time (TN-90); FIN both ways; RST; its generation is over (TN-82); another flow
 * needed its place (TN-80).
 */
export type FlowEnding = "idle" | "closed" | "reset" | "stale" | "displaced";

export interface EndedFlow extends FlowUsage {
  readonly id: number;
  readonly ending: FlowEnding;
}

/**
 * Control's hand in the flow records, at once and without waiting, as in `PlaneRecords`. In production it is shared
 * memory, in tests the plane's twin.
 */
export interface PlaneFlows {
  /**
   * Links a record, in front of any earlier one of the same flow. Its packets go to control, as punts `flow`, until
   * everything that was punted before has been handled (TN-87): so control may settle packets before or after.
   * @returns its id, never 0; `undefined` if there is no room (TN-80): nothing is linked
   */
  link(now: Instant, flow: FlowRecord): number | undefined;
  /** Takes a record out. Its id may come again. @returns its last stamps; `undefined` if there is no such record */
  unlink(id: number): FlowUsage | undefined;
  usage(id: number): FlowUsage | undefined;
  /** FIN or RST that the plane has not seen by this record: it ages, and begins anew, as if it had. */
  note(id: number, direction: FlowDirection, farewell: FlowFarewell): void;
  /**
   * No record of that peer that is linked by now is valid any more; without a slot: none at all (TN-82). Takes effect
   * with the next packet that a worker looks at.
   */
  revoke(slot?: number): void;
  /** Takes out what is over its time or not valid any more, and tells what has been displaced since (TN-90). */
  sweep(now: Instant): readonly EndedFlow[];
}
