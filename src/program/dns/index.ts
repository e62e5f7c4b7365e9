export { createDirectPath, type DirectPath, type DirectPathOptions } from "./direct-path.ts";
export {
  createDnsService,
  type DnsService,
  type DnsServiceEvent,
  type DnsServiceOptions,
  describeUpstream,
} from "./dns-service.ts";
export { createDohClient, type DohClient, type DohOptions } from "./doh.ts";
export { CONNECTIONS_MAX, type ListenForNames } from "./name-listener.ts";
export {
  createNameService,
  NAME_SERVERS_MAX,
  type NameService,
  type NameServiceOptions,
} from "./name-service.ts";
export { type Asked, createQuestionStream, type QuestionStream } from "./question-stream.ts";
