/**
 * Network namespaces of the test's own thread.
 *
 * `setns` moves the calling thread only. Our system calls are made on that thread, and children are
 * forked from it, so a test can work inside a namespace without another process. The namespaces have
 * no name: they vanish with the test, whatever happens to it.
 */
import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import koffi from "koffi";
import { INHERITED_SETTINGS } from "../../src/program/lab/index.ts";

const CLONE_NEWNET = 0x40000000;

const libc = koffi.load("libc.so.6");
const setns: (fd: number, kind: number) => number = libc.func("setns", "int", ["int", "int"]);
const unshare: (kind: number) => number = libc.func("unshare", "int", ["int"]);

export interface OwnNamespace {
  /** Runs `use` inside; nests. Only what `use` does before it returns happens there. */
  enter<T>(use: () => T): T;
  /** The same until a promise settles: meanwhile the whole thread is inside. Does not nest. */
  enterUntil<T>(use: () => Promise<T>): Promise<T>;
  /** Runs a command inside and returns its output. */
  run(command: string, ...rest: readonly string[]): string;
  /** A path that `ip link set … netns PATH` understands. */
  readonly path: string;
  close(): void;
}

export function createNamespace(): OwnNamespace {
  const outside = openSync("/proc/thread-self/ns/net", "r");
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()}`);
  const inside = openSync("/proc/thread-self/ns/net", "r");
  for (const [path, value] of Object.entries(INHERITED_SETTINGS)) writeFileSync(`/proc/sys/${path}`, value);
  setns(outside, CLONE_NEWNET);
  closeSync(outside);

  const goIn = (): (() => void) => {
    const before = openSync("/proc/thread-self/ns/net", "r");
    if (setns(inside, CLONE_NEWNET) !== 0) throw new Error(`setns: errno ${koffi.errno()}`);
    return () => {
      setns(before, CLONE_NEWNET);
      closeSync(before);
    };
  };
  const enter = <T>(use: () => T): T => {
    const goOut = goIn();
    try {
      return use();
    } finally {
      goOut();
    }
  };
  return {
    enter,
    async enterUntil(use) {
      const goOut = goIn();
      try {
        return await use();
      } finally {
        goOut();
      }
    },
    run: (command, ...rest) =>
      enter(() => execFileSync(command, rest, { timeout: 60_000, encoding: "utf8", stdio: "pipe" })),
    path: `/proc/${process.pid}/fd/${inside}`,
    close: () => closeSync(inside),
  };
}

/** What `ip -j …` prints inside. */
export function ipJson(
  namespace: OwnNamespace,
  ...rest: readonly string[]
): readonly Record<string, unknown>[] {
  return JSON.parse(namespace.run("ip", "-j", ...rest) || "[]");
}

/** Joins two namespaces by a pair of devices with addresses (`a` has 10.0.0.1 and fd00::1). */
export function joinByVeth(a: OwnNamespace, b: OwnNamespace): void {
  // Different indices: the kernel sees the cable at once (TS-22).
  const far = ["index", "1002", "netns", b.path];
  a.run("ip", "link", "add", "veth0", "index", "1001", "type", "veth", "peer", "name", "veth0", ...far);
  for (const end of [a, b]) {
    end.run("ip", "link", "set", "lo", "up");
    // Without link-local addresses nothing has to be probed for duplicates first.
    end.run("ip", "link", "set", "veth0", "addrgenmode", "none");
    end.run("ip", "link", "set", "veth0", "up");
  }
  for (const [host, end] of [a, b].entries()) {
    end.run("ip", "addr", "add", `10.0.0.${host + 1}/24`, "dev", "veth0");
    end.run("ip", "addr", "add", `fd00::${host + 1}/64`, "dev", "veth0", "nodad");
  }
}
