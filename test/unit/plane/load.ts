import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { BYTES, OFFSETS } from "../../../bindings/memory/index.ts";

/** What `assembly/__tests__/exports/packet.ts` exports; addresses are numbers. */
export interface PacketExports {
  sum(p: number, n: number): bigint;
  fold(s: bigint): number;
  pseudoSum(packet: number, isV6: number, protocol: number, length: number): bigint;
  updated(checksum: number, oldSum: bigint, newSum: bigint): number;
  innerEcn(packet: number): number;
  mergeEcn(packet: number, outerEcn: number): void;
  isIcmpError(packet: number, d: number): number;
  icmpReason(packet: number, d: number): number;
  isSyn(packet: number, d: number): number;
  clampMss(packet: number, d: number, mtu: number): void;
  checksumsHold(packet: number, d: number): number;
  rewriteSource(packet: number, d: number, address: number, port: number): void;
  rewriteDestination(packet: number, d: number, address: number, port: number): void;
  validate(packet: number, available: number, limit: number, isStrict: number, d: number): number;
  splitBegin(frame: number, bytes: number, limit: number, isStrict: number, d: number, state: number): number;
  splitNext(state: number): number;
  coalesceInit(g: number, arena: number, arenaBytes: number, features: number): void;
  coalesceBegin(g: number): void;
  coalesceTarget(g: number, plainBytes: number): number;
  coalesceAccept(g: number, d: number): number;
  coalesceDiscard(g: number): void;
  coalesceClose(g: number): number;
  macTo(key: number, keyBytes: number, message: number, bytes: number, scratch: number, out: number): void;
  sealCookie(
    key: number,
    nonce: number,
    additional: number,
    text: number,
    out: number,
    scratch: number,
  ): void;
}

/** One instance on a memory of its own, with places for the records. */
export interface PacketModule {
  readonly wasm: PacketExports;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Addresses of one record of each kind. */
  readonly descriptor: number;
  readonly split: number;
  readonly coalesce: number;
  /** First byte that tests may use, and the first byte behind the memory. */
  readonly free: number;
  readonly end: number;
}

const ROOT = new URL("../../../", import.meta.url);
const MEMORY_PAGES = 256;
/** Behind the module's constants (PF-12). */
const RECORDS_ADDRESS = 0x20000;

let module: WebAssembly.Module | undefined;

/** Compiles the exports once per state of their sources and instantiates them. */
export function loadPacketModule(): PacketModule {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: 4096, shared: true });
  module ??= new WebAssembly.Module(compiled());
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  const descriptor = RECORDS_ADDRESS;
  const split = descriptor + BYTES.packet;
  const coalesce = split + BYTES.split;
  return {
    // The interface above restates the exports; a missing one fails the first test that calls it.
    wasm: instance.exports as unknown as PacketExports,
    bytes: new Uint8Array(memory.buffer),
    view: new DataView(memory.buffer),
    descriptor,
    split,
    coalesce,
    free: (coalesce + BYTES.coalesce + 0xffff) & ~0xffff,
    end: MEMORY_PAGES * 65536,
  };
}

/** The descriptor that `validate` or `splitBegin` wrote, in the form of its twin. */
export function readDescriptor({ view, descriptor }: PacketModule, flagPorts: number, flagFragment: number) {
  const field = (offset: number): number => view.getUint32(descriptor + offset, true);
  const at = OFFSETS.packet;
  const flags = field(at.flags);
  const source = field(at.sourcePort);
  const destination = field(at.destinationPort);
  const ports = (flags & flagPorts) === 0 ? {} : { ports: { source, destination } };
  return {
    family: field(at.family),
    protocol: field(at.protocol),
    transportOffset: field(at.transportOffset),
    transportBytes: field(at.transportBytes),
    totalBytes: field(at.totalBytes),
    isFragment: (flags & flagFragment) !== 0,
    ...ports,
  };
}

function compiled(): Uint8Array<ArrayBuffer> {
  const sources = [
    "assembly/layout.ts",
    "assembly/header.ts",
    "assembly/crypto/blake2s.ts",
    "assembly/crypto/xaead.ts",
    "assembly/__tests__/exports/packet.ts",
    "asconfig.json",
  ].concat(
    ["assembly/packet", "assembly/segment"].flatMap((folder) =>
      readdirSync(new URL(folder, ROOT)).map((name) => `${folder}/${name}`),
    ),
  );
  const hash = createHash("sha256");
  for (const source of sources) hash.update(readFileSync(new URL(source, ROOT)));
  const name = `build/test/packet-${hash.digest("hex").slice(0, 16)}.wasm`;
  if (!existsSync(new URL(name, ROOT))) {
    mkdirSync(new URL("build/test", ROOT), { recursive: true });
    // Several test files may compile at once: each to a file of its own, moved into place complete.
    const own = `${name}.${process.pid}-${performance.now()}`;
    const compiler = "node_modules/assemblyscript/bin/asc.js";
    execFileSync(process.execPath, [compiler, "assembly/__tests__/exports/packet.ts", "--outFile", own], {
      timeout: 60_000,
      cwd: ROOT,
      stdio: "pipe",
    });
    renameSync(new URL(own, ROOT), new URL(name, ROOT));
  }
  return new Uint8Array(readFileSync(new URL(name, ROOT)));
}
