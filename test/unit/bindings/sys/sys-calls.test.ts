import { describe, expect, it } from "vitest";
import { createScratch, openSysCalls } from "../../../../bindings/sys/index.ts";

const CLOCK_BOOTTIME = 7;
const EBADF = 9;
const EFD_NONBLOCK = 0x800;
const EAGAIN = 11;

function world() {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 16, shared: true });
  const sys = openSysCalls(memory);
  return { memory, sys, scratch: createScratch(memory, { offset: 0x1000, bytes: 4096 }) };
}

describe("system calls on shared memory", () => {
  it("PF-17: a pointer is an offset into the memory, in both directions", () => {
    const { sys, scratch } = world();
    const fd = sys.eventfd(3, EFD_NONBLOCK);
    expect(fd).toBeGreaterThan(2);
    scratch.frame((room) => {
      const counter = room.take(8);
      room.view.setBigUint64(counter, 39n, true);
      expect(sys.write(fd, counter, 8)).toBe(8);
      room.view.setBigUint64(counter, 0n, true);
      expect(sys.read(fd, counter, 8)).toBe(8);
      expect(room.view.getBigUint64(counter, true)).toBe(42n);
    });
    expect(sys.close(fd)).toBe(0);
  });

  it("PF-18: errno is the failed call's", () => {
    const { sys } = world();
    expect(sys.write(-1, 0, 1)).toBe(-1);
    expect(sys.errno()).toBe(EBADF);
    const fd = sys.eventfd(0, EFD_NONBLOCK);
    expect(sys.read(fd, 0, 8)).toBe(-1);
    expect(sys.errno()).toBe(EAGAIN);
    sys.close(fd);
  });

  it("PF-13: the base address stays when the memory grows", () => {
    const { memory, sys, scratch } = world();
    memory.grow(8);
    const again = openSysCalls(memory);
    expect(again.base).toBe(sys.base);
    scratch.frame((room) => {
      const time = room.take(16);
      expect(sys.clock_gettime(CLOCK_BOOTTIME, time)).toBe(0);
      expect(room.view.getBigInt64(time, true)).toBeGreaterThan(0n);
    });
  });
});

describe("scratch", () => {
  it("gives every frame zeroed, aligned room and takes it back", () => {
    const { scratch } = world();
    const first = scratch.frame((room) => {
      const at = room.take(3);
      room.bytes(at, 3).fill(0xff);
      expect(room.take(1)).toBe(at + 8);
      return at;
    });
    expect(first % 8).toBe(0);
    scratch.frame((room) => {
      expect(room.take(3)).toBe(first);
      expect([...room.bytes(first, 3)]).toEqual([0, 0, 0]);
    });
  });

  it("nests, and gives room back when the caller throws", () => {
    const { scratch } = world();
    const outer = scratch.frame((room) => {
      const at = room.take(8);
      expect(() =>
        scratch.frame((inner) => {
          expect(inner.take(8)).toBe(at + 8);
          throw new Error("from inside");
        }),
      ).toThrow("from inside");
      expect(room.take(8)).toBe(at + 8);
      return at;
    });
    expect(scratch.frame((room) => room.take(8))).toBe(outer);
  });

  it("holds exactly its area and refuses one byte more", () => {
    const { scratch } = world();
    expect(scratch.frame((room) => room.take(4096))).toBe(0x1000);
    expect(() => scratch.frame((room) => room.take(4097))).toThrow("scratch of 4096 bytes");
    expect(scratch.frame((room) => room.take(4096))).toBe(0x1000);
  });

  it("copies bytes in", () => {
    const { scratch } = world();
    scratch.frame((room) => {
      const at = room.put(new Uint8Array([1, 2, 3]));
      expect([...room.bytes(at, 4)]).toEqual([1, 2, 3, 0]);
    });
  });
});
