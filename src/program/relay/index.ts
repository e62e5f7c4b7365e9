export { runRelay } from "./run-relay.ts";
export type { RelayEmbedding, RelayFacts } from "./serve-relay.ts";
