export {
  encodeQuery,
  type MalformedDns,
  parseResponse,
  type Question,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  type Response,
  TYPE_A,
  TYPE_AAAA,
} from "./message.ts";
export { type Name, parseName, toName } from "./name.ts";
