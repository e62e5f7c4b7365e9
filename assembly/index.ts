/**
 * The packet plane: what the module exports. `bindings/plane/plane.ts` drives it. The AEAD for test and choice
 * at start come from crypto/exports.ts.
 */
import { LAYOUT_HASH } from "./layout";

export { egressBegin, egressFlush, egressInject, egressStep } from "./batch/egress";
export { ingressBegin, ingressFlush, ingressStep } from "./batch/ingress";
export { sendDone } from "./batch/send";
export {
  aeadFlush,
  aeadLanes,
  aeadOpen,
  aeadOpenMany,
  aeadOtks,
  aeadSeal,
  aeadSealMany,
  aeadStateBytes,
} from "./crypto/exports";
export { egressLoop } from "./loop/egress";
export { ingressLoop } from "./loop/ingress";
export { relayClientLoop, relayClientTurn, relayPeerLoop, relayPeerTurn } from "./relay/loop";
export { relayLink, relayUnlink } from "./relay/table";
export { coalesceInit } from "./segment/coalesce";

/** What the module was made from; the host refuses another (D-3). */
export function layoutHash(): u32 {
  return LAYOUT_HASH;
}

/** The first byte behind the module's constants, which the layout must leave alone. */
export function constantsEnd(): usize {
  return __heap_base;
}
