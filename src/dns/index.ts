export {
  type AddressQuestion,
  type AddressResponse,
  encodeQuery,
  parseResponse,
} from "./address-query.ts";
export { MAX_NAMES, PROXIES_PER_FAMILY } from "./assignments.ts";
export { CLASS_IN, DNS_PORT, GATEWAY_DNS_PORT, RCODE, TCP_LENGTH_BYTES, TYPE } from "./constants.ts";
export { checkResponse, encodeForwarded, encodeReturned, type UnacceptableResponse } from "./forward.ts";
export { encodeLocal, fitAnswer, type LocalAnswer, type LocalRecord, udpLimitOf } from "./local-answer.ts";
export { domainOf, HEADER_BYTES, labelsOf, type Name, parseName, toName } from "./name.ts";
export {
  createNameServer,
  type NamePermit,
  type NameServer,
  type NameServerEvent,
  type NameServerOptions,
  type SiteQuestion,
} from "./name-server.ts";
export {
  comparePatterns,
  matches,
  matchesPattern,
  type Pattern,
  parsePattern,
  type Ranked,
} from "./pattern.ts";
export {
  isProxyAddress,
  isSentinelRange,
  LLMNR_GROUPS,
  PROXY_V4,
  PROXY_V6,
  SENTINELS_V4,
  SENTINELS_V6,
} from "./pools.ts";
export { checkQuery, type Query, type QueryCheck, type QueryFault } from "./query.ts";
export { createResolver } from "./resolver.ts";
export type {
  AssignedName,
  DirectQuery,
  DirectResult,
  DirectTransport,
  DnsFigures,
  Do53Server,
  IpStack,
  LookupReport,
  QueryDecision,
  Resolver,
  ResolverConfig,
  ResolverEvent,
  ResolverOptions,
  ResourcePattern,
  SentinelMapping,
  SetupQuery,
  SetupResult,
  SiteResult,
  TransportFlow,
  Upstream,
} from "./resolver-face.ts";
export { UNANSWERED_MAX } from "./tcp-front.ts";
export { type DnsMessage, type MalformedDns, parseMessage, type ResourceRecord } from "./wire.ts";
