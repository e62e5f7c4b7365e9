/**
 * Which egress worker has a flow (PG-176): learned from what the workers hand up, asked for what control injects. The
 * flow's next frames come by the same queue of the device, so that all of it leaves in one line. A flow that has moved
 * to another queue is looked for where it was seen last.
 *
 * A flow is known by all but its source: this is what a gateway's control translates on the way to a client, and the
 * ports remain, unless the client's own was taken (TN-65). The machines need not say, then, whose packet they settle.
 */
import { fragmentOf, viewPacket } from "../../src/packet/index.ts";

/** Of several; it has what no worker has handed up, such as answers of the resolver. */
const FIRST = 0;
/** Twice as many at most are remembered, the last ones for certain. */
const FLOWS = 4096;

export interface Steering {
  /** The egress worker of the pair has handed the packet up. */
  learn(packet: Uint8Array, pair: number): void;
  /** Number of the pair whose egress worker has the packet's flow. */
  pairOf(packet: Uint8Array): number;
}

export function createSteering(): Steering {
  let recent = new Map<string, number>();
  let older = new Map<string, number>();
  return {
    learn(packet, pair) {
      recent.set(flowOf(packet), pair);
      if (recent.size < FLOWS) return;
      older = recent;
      recent = new Map();
    },
    pairOf(packet) {
      const flow = flowOf(packet);
      return recent.get(flow) ?? older.get(flow) ?? FIRST;
    },
  };
}

/** The kernel, too, takes no ports for a fragment's queue. */
function flowOf(packet: Uint8Array): string {
  const { protocol, destination, ports } = viewPacket(packet);
  const { source = 0, destination: to = 0 } = (fragmentOf(packet) === undefined ? ports : undefined) ?? {};
  return String.fromCharCode(protocol, source, to, ...destination);
}
