export {
  concatBytes,
  copyOf,
  equalBytes,
  equalSecret,
  fromBase64,
  fromHex,
  toBase64,
  toHex,
} from "./bytes.ts";
export { createDeadlineQueue, type DeadlineQueue, type QueueEntry } from "./deadline-queue.ts";
export { equalValues } from "./equal.ts";
export { assert, PosternError, unreachable } from "./error.ts";
export { type Fenced, fenced } from "./fence.ts";
export { createHistogram, type Histogram, type HistogramValue } from "./histogram.ts";
export { after, earliest, type Instant, instant, type UnixMs, unixMs } from "./instant.ts";
export { U16_MAX, U32_MAX } from "./integer.ts";
export {
  equalIp,
  equalSocketAddress,
  formatIp,
  formatSocketAddress,
  IPV6_MTU_MIN,
  type IpAddress,
  ip,
  isLinkLocalV6,
  isUsableAddress,
  parseIp,
  parseSocketAddress,
  type SocketAddress,
} from "./ip.ts";
export { MAX_NESTING, type MalformedJson, parseJson } from "./json.ts";
export { type Log, type LogEmit, type LogFields, SILENT } from "./log.ts";
export { nearest } from "./nearest.ts";
export {
  contains,
  covers,
  equalPrefix,
  formatPrefix,
  LINK_LOCAL,
  LOOPBACK,
  type MalformedPrefix,
  type Prefix,
  parsePrefix,
  prefix,
  subtract,
  toPrefix,
} from "./prefix.ts";
export { createQueue, type Queue } from "./queue.ts";
export { createSeededRandom, type Random, randomBelow, randomBytes, randomU32 } from "./random.ts";
export { malformed, type Parsed, parsed } from "./result.ts";
export { type Secret, secret } from "./secret.ts";
export { TUNNEL_V4, TUNNEL_V6 } from "./tunnel-ranges.ts";
export { CLOCK_TOLERANCE_MS, createWallClock, type WallClock } from "./wall-clock.ts";
