export { readEvent } from "./entries.ts";
export { createFlowOrder, type FlowOrder } from "./flow-order.ts";
export { createPlaneFrames, type PlaneFrames } from "./frames.ts";
export { createHolds, type Holds } from "./hold.ts";
export { createPublications, type Publications } from "./publications.ts";
export { createRing, drainRing, RING_SIZES } from "./ring.ts";
export { createPlaneRings, type PlaneQueues, type PlaneRings, type Ports } from "./rings.ts";
export { listenForWakes } from "./wake.ts";
