/**
 * The packet plane: what the module exports. `bindings/plane/plane.ts` drives it. The AEAD for test and choice
 * at start come from crypto/exports.ts; the relay's workers are a module of their own (relay/index.ts).
 */

export { egressBegin, egressFlush, egressInject, egressStep } from "./batch/egress";
export { ingressBegin, ingressFlush, ingressStep } from "./batch/ingress";
export { sendDone } from "./batch/send";
export {
  aeadAhead,
  aeadFlush,
  aeadForget,
  aeadLanes,
  aeadOpen,
  aeadOpenMany,
  aeadSeal,
  aeadSealMany,
  aeadStateBytes,
} from "./crypto/exports";
export { egressLoop } from "./loop/egress";
export { ingressLoop } from "./loop/ingress";
export { constantsEnd, layoutHash } from "./module";
export { coalesceInit } from "./segment/coalesce";
export { flowLink, flowSweep, flowUnlink } from "./table/flow";
