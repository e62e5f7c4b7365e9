/**
 * Keeps the compiler from copying what is rarely called into what is called for every packet.
 *
 * Modules for V8 are compiled for speed: each function of up to 70 nodes is copied into its callers. Node 20's V8
 * inlines nothing by itself, and that of Node 24 stops at a budget that the plane is larger than. Handshakes, drops
 * and system calls are few beside packets, and the copies of what they need made the modules 5 % larger.
 */
import { Transform } from "assemblyscript/transform";

/** Patterns of Binaryen's names, FILE/FUNCTION. What has one caller is not copied, and smaller without a call. */
const COLD = [
  "assembly/guard/budget/*",
  "assembly/guard/cookie/cookieOf",
  "assembly/guard/flood/*",
  "assembly/guard/guard/is*",
  "assembly/guard/guard/judgeAnswer",
  "assembly/guard/guard/judgeHandshake",
  "assembly/guard/guard/judgeStun",
  "assembly/guard/guard/judgeUnknown",
  "assembly/guard/known-source/*",
  "assembly/guard/replies/note*",
  "assembly/guard/replies/replyLimit",
  "assembly/hash/*",
  "assembly/packet/icmp/*",
  "assembly/crypto/blake2s/*",
  "assembly/crypto/xaead/keyStream",
  "assembly/crypto/xaead/rotated",
  "assembly/crypto/xaead/rounds",
  "assembly/crypto/state/keepPending",
  "assembly/table/host-table/*",
  "assembly/batch/punt/*",
  "assembly/batch/egress/egressFlush",
  "assembly/batch/egress/inject",
  "assembly/batch/egress/holdFrame",
  "assembly/batch/flow/heldTarget",
  "assembly/counters/*",
  "assembly/ring/*",
  "assembly/table/flow/linkInto",
  "assembly/table/flow/unlinkFrom",
  "assembly/table/fragment/*",
  "assembly/packet/checksum/fold",
  "assembly/packet/checksum/updated",
  "assembly/packet/ip/describePlace",
  "assembly/packet/ip/isEcho",
  "assembly/packet/extension/*",
  "assembly/packet/mss/*",
  "assembly/packet/resolver/*",
  "assembly/packet/verify/*",
  "assembly/segment/coalesce/coalesceBegin",
  "assembly/segment/coalesce/coalesceDiscard",
  // Addresses of IPv6 only.
  "~lib/polyfills/bswap<u64>",
  // Once per system call, which takes a thousand times as long as a call.
  "assembly/arrival/fillSource",
  "assembly/arrival/writeAddress",
  "assembly/clock/*",
  "assembly/loop/*",
];

/**
 * What more of V8's newer compiler needs no copy, since it inlines these by itself: 1,000 bytes, without a difference in
 * speed. Node 20 pays for them with 2 to 9 % of small datagrams.
 */
const COLD_TURBOSHAFT = [
  "assembly/batch/egress/openPath",
  "assembly/batch/egress/openSession",
  "assembly/batch/egress/peerAt",
  "assembly/batch/fit/mtuOf",
  "assembly/batch/flow/kindOfTarget",
  "assembly/batch/flow/secondsOf",
  "assembly/batch/policy/*",
  "assembly/packet/checksum/*",
  "assembly/packet/ecn/*",
  "assembly/packet/ip/describePorts",
  "assembly/packet/rewrite/*",
  "assembly/segment/coalesce/restore",
  "assembly/table/flow/*",
  "assembly/table/range-set/*",
  "assembly/table/session/findPeer",
  "~lib/polyfills/bswap<u32>",
];

// biome-ignore lint/style/noDefaultExport: the compiler takes a transform by its default export.
export default class extends Transform {
  afterCompile(module) {
    const isTurboshaft = this.program.options.globalAliases?.get("CIPHER") === "1";
    for (const pattern of isTurboshaft ? [...COLD, ...COLD_TURBOSHAFT] : COLD) {
      this.binaryen.setPassArgument("no-inline", pattern);
      module.runPasses(["no-inline"]);
    }
    this.binaryen.clearPassArguments();
  }
}
