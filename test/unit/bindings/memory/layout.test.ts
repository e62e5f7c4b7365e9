import { describe, expect, it } from "vitest";
import {
  CONSTANTS,
  createPlaneMemory,
  LAYOUT_HASH,
  placeFields,
  RECORDS,
  type RecordLayout,
} from "../../../../bindings/memory/index.ts";
import { createPlane } from "../../../../bindings/plane/index.ts";
import { compileRelay } from "../../../../bindings/relay/index.ts";
import { compileVariant } from "../../crypto/modules.ts";

const noCall = () => 0;
const NO_CALLS = {
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

describe("the layout (D-3)", () => {
  it("gives every field a place of its own, aligned, and lines to different writers", () => {
    for (const { fields } of Object.values(RECORDS)) {
      const record: RecordLayout = fields;
      const { offsets, bytes } = placeFields(record);
      let end = 0;
      for (const [name, field] of Object.entries(record)) {
        const at = offsets[name] ?? -1;
        expect(at).toBeGreaterThanOrEqual(end);
        const size = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, bytes: 8 }[field.type];
        expect(at % size).toBe(0);
        if (field.line === true) expect(at % 64).toBe(0);
        end = at + (field.type === "bytes" ? (field.bytes ?? 0) : size) * (field.count ?? 1);
      }
      expect(bytes).toBeGreaterThanOrEqual(end);
      expect(bytes % 64).toBe(0);
    }
  });

  it.each([
    ["plane", () => compileVariant("turbofan")],
    ["relay", compileRelay],
  ])("is the one that the module of the %s was made from", (_, compile) => {
    const { memory } = createPlaneMemory();
    const instance = new WebAssembly.Instance(compile(), { env: { memory }, sys: NO_CALLS });
    const { layoutHash, constantsEnd } = instance.exports as Record<string, () => number>;
    expect((layoutHash?.() ?? 0) >>> 0).toBe(LAYOUT_HASH);
    expect(constantsEnd?.()).toBeLessThanOrEqual(CONSTANTS.PLANE_ADDRESS);
  });

  it("refuses a module of another build", () => {
    // The smallest module that has the two exports: other numbers.
    const bytes = new Uint8Array([
      0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 7, 14, 1, 10, 108, 97, 121, 111, 117,
      116, 72, 97, 115, 104, 0, 0, 10, 6, 1, 4, 0, 65, 7, 11,
    ]);
    const { memory } = createPlaneMemory();
    const module = new WebAssembly.Module(bytes);
    expect(() => createPlane({ memory, module, mode: "plain", mtu: 1420 })).toThrow(
      expect.objectContaining({ code: "plane-layout" }),
    );
  });
});
