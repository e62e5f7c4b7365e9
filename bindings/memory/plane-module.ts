/** Instances of the plane's modules on the shared memory, typed by the loader. */
import { type Imports, instantiateSync } from "@assemblyscript/loader";
import { PosternError } from "../../src/base/index.ts";
import type { PlaneCalls } from "../sys/index.ts";
import { CONSTANTS, LAYOUT_HASH } from "./layout.ts";

/** What each module exports. */
export type ModuleExports = {
  layoutHash(): number;
  constantsEnd(): number;
};

/** What `assembly/index.ts` exports, besides the AEAD alone, for `bindings/cipher`. Addresses are offsets. */
export type PlaneExports = ModuleExports & {
  egressLoop(worker: number): number;
  ingressLoop(worker: number): number;
  egressBegin(worker: number, bytes: number): void;
  egressStep(worker: number): number;
  egressFlush(worker: number): number;
  egressInject(worker: number): number;
  sendDone(worker: number): void;
  ingressBegin(worker: number, bytes: number, stride: number): void;
  ingressStep(worker: number): number;
  ingressFlush(worker: number): void;
  coalesceInit(record: number, arena: number, arenaBytes: number, features: number): void;
  flowLink(row: number): void;
  flowUnlink(row: number): void;
  flowSweep(now: number, at: number, end: number, list: number, most: number): number;
};

/** What `assembly/relay/index.ts` exports. */
export type RelayExports = ModuleExports & {
  relayClientLoop(worker: number): number;
  relayPeerLoop(worker: number): number;
  relayClientTurn(worker: number): number;
  relayPeerTurn(worker: number): number;
  relayLink(binding: number): void;
  relayUnlink(binding: number): void;
};

/**
 * Instantiates the module. The exports are the instance's own: the loader's wrap every call in a closure.
 *
 * @param sys absent: the loops cannot run, everything else can
 * @throws PosternError `plane-layout` when module and host were built from different layouts (D-3)
 */
export function instantiatePlane<Exports extends ModuleExports = PlaneExports>(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  sys?: PlaneCalls,
): Exports {
  const imports: Imports = { env: { memory }, sys: { ...(sys ?? NO_CALLS) } };
  const { instance } = instantiateSync<Exports>(module, imports);
  // Checked right here: the hash covers every name and type that the two sides share.
  const exports = instance.exports as unknown as Exports;
  const isSame = typeof exports.layoutHash === "function" && exports.layoutHash() >>> 0 === LAYOUT_HASH;
  if (!isSame || exports.constantsEnd() > CONSTANTS.PLANE_ADDRESS) {
    throw new PosternError(
      "plane-layout",
      "the packet plane and the program were built from different sources",
      "build again: npm run build -- --force",
    );
  }
  return exports;
}

const noCall = () => {
  throw new Error("this plane runs in process: it makes no system calls");
};

const NO_CALLS: PlaneCalls = {
  read: noCall,
  write: noCall,
  sendmsg: noCall,
  recvmsg: noCall,
  recvmmsg: noCall,
  sendmmsg: noCall,
  setsockopt: noCall,
  epoll_wait: noCall,
  poll: noCall,
  clock_gettime: noCall,
  sched_yield: noCall,
  errno: noCall,
};
