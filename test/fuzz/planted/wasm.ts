/** A defect behind three bytes, in WebAssembly, where it traps: the loop must find it. */
import binaryen from "binaryen";
import type { FuzzTarget } from "../target.ts";

const GUARDED = `(module
  (memory (import "env" "memory") 1)
  (func (export "check") (param $at i32)
    (if (i32.eq (i32.load8_u offset=2 (local.get $at)) (i32.const 0xa7))
      (then (if (i32.eq (i32.load8_u offset=3 (local.get $at)) (i32.const 0x1b))
        (then (if (i32.eq (i32.load8_u offset=5 (local.get $at)) (i32.const 0xe4))
          (then (unreachable)))))))))`;

export function createTarget(): FuzzTarget {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(Uint8Array.from(binaryen.parseText(GUARDED).emitBinary()));
  const { check } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  if (typeof check !== "function") throw new Error("the module exports a function");
  const bytes = new Uint8Array(memory.buffer);
  return {
    seeds: [new Uint8Array(8)],
    bytesMax: 16,
    run(input) {
      bytes.fill(0, 0, 16).set(input);
      check(0);
    },
  };
}
