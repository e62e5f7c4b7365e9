export { createDirectPath, type DirectPath, type DirectPathOptions } from "./direct-path.ts";
export {
  createDnsService,
  type DnsService,
  type DnsServiceEvent,
  type DnsServiceOptions,
  describeUpstream,
} from "./dns-service.ts";
export { createDohClient, type DohClient, type DohOptions } from "./doh.ts";
export { createNameService, type NameService, type NameServiceOptions } from "./name-service.ts";
