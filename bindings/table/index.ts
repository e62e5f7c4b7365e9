export { createFlowTable, type FlowTableOptions, NO_FLOWS } from "./flow-table.ts";
export { setGuard } from "./guard-record.ts";
export { createKnownSources, type KnownSources } from "./known-sources.ts";
export { createPeerIndex, type PeerIndex } from "./peer-index.ts";
export { createPeerTable, type PeerTable } from "./peer-table.ts";
export { writePolicy } from "./policy-tables.ts";
export { createQuiescence, type Quiescence } from "./quiescence.ts";
export { createPlaneRecords } from "./records.ts";
export { setRelays } from "./relay-list.ts";
