import {
  createScratch,
  openSysCalls,
  PAGE_BYTES,
  type Scratch,
  type ScratchArea,
  type SysCalls,
} from "../sys/index.ts";

/** Control's hold on the kernel: the calls, and room for their arguments. */
export interface Kernel {
  readonly sys: SysCalls;
  readonly scratch: Scratch;
}

/** What control needs for arguments at most: a netlink dump's buffer and change. */
export const KERNEL_SCRATCH_BYTES = 0x20000;

/**
 * Opens the kernel for the control thread: on the plane's memory, in the area that its layout gives
 * to control, or on a small memory of its own where there is no plane.
 *
 * @throws PosternError `host` without FFI (PG-134).
 */
export function openKernel(plane?: {
  readonly memory: WebAssembly.Memory;
  readonly area: ScratchArea;
}): Kernel {
  const pages = KERNEL_SCRATCH_BYTES / PAGE_BYTES;
  const memory = plane?.memory ?? new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const area = plane?.area ?? { offset: 0, bytes: KERNEL_SCRATCH_BYTES };
  return { sys: openSysCalls(memory), scratch: createScratch(memory, area) };
}
