/** The guard's table as the kernel has it, and as others find it (PG-154). */
import { type ChildProcess, spawn } from "node:child_process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openKernel } from "../../bindings/linux/index.ts";
import { type Prefix, prefix } from "../../src/base/index.ts";
import { createGuard, type Guard } from "../../src/host/index.ts";
import { eventually } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";
import { createNamespace, type OwnNamespace } from "./own-namespace.ts";

const NETWORKS = ["172.20.0.0/16", "172.20.3.0/24", "172.21.0.0/16", "10.0.0.0/8", "fd20::/64"].map(prefix);

const LISTED = `table inet postern_guard_tun_two {
	flags owner

	counter stopped {
		packets 0 bytes 0
	}

	set networks4 {
		type ipv4_addr
		flags interval
		elements = { 10.0.0.0/8, 172.20.0.0/15 }
	}

	set networks6 {
		type ipv6_addr
		flags interval
		elements = { fd20::/64 }
	}

	chain leaving {
		meta mark 0xfd002021 return
		oifname "tun-two" return
		oifname "lo" return
		fib daddr type != unicast return
		icmpv6 type 133-136 return
		udp dport 67-68 return
		udp dport 546-547 return
		ip daddr @networks4 counter name "stopped" drop
		ip6 daddr @networks6 counter name "stopped" drop
	}

	chain output {
		type filter hook output priority filter; policy accept;
		jump leaving
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		jump leaving
	}
}
`;

/** A process of its own that has a guard until it ends. */
const OWNER = `
  const [{ openKernel }, { createGuard }, { prefix }] = await Promise.all(
    ["bindings/linux", "src/host", "src/base"].map((room) => import(process.cwd() + "/build/" + room + "/index.js")));
  createGuard(openKernel(), "tun-two").want([prefix("172.20.0.0/16")]);
  console.log("guarded");
  setInterval(() => {}, 1000);
`;

describeWith(["netns", "nft", "ipv6", "build"], "the guard", () => {
  let host: OwnNamespace;
  let guard: Guard;

  beforeEach(() => {
    host = createNamespace();
    guard = host.enter(() => createGuard(openKernel(), "tun-two"));
  });
  afterEach(() => {
    guard.close();
    host.close();
  });

  const table = (): string => host.run("nft", "list", "table", "inet", "postern_guard_tun_two");
  const listed = (): string => table().replace(/ # progname.*/, "");
  const elements = (): string[] =>
    [...table().matchAll(/elements = \{ ([^}]*) \}/g)].map(([, list = ""]) => list.replace(/\s+/g, " "));

  it("PG-154: is a table that nft shows as rules, with networks that overlap or touch as one", () => {
    guard.want(NETWORKS);
    expect(listed()).toBe(LISTED);
    guard.want([]);
    expect(elements()).toEqual([]);
  });

  it("PG-154: other networks change the sets only, many of them at once as well", () => {
    guard.want(["172.20.0.0/16", "10.1.0.0/16"].map(prefix));
    guard.want(["172.20.0.0/15", "10.1.0.0/16", "255.0.0.0/8"].map(prefix));
    expect(elements()).toEqual(["10.1.0.0/16, 172.20.0.0/15, 255.0.0.0/8"]);
    const many = Array.from({ length: 2000 }, (_, i): Prefix => prefix(`10.${i >> 7}.${(i & 127) * 2}.0/24`));
    guard.want(many);
    guard.want(many.slice(1));
    expect(elements()[0]?.split(", ")).toHaveLength(1999);
    expect(listed().replace(/\t\telements.*?\}\n/gs, "")).toBe(LISTED.replace(/\t\telements.*\n/g, ""));
  });

  it("PG-154: takes the place of a table of an earlier version, and is nobody else's to change", () => {
    const ours = "inet postern_guard_tun_two";
    host.run(
      "nft",
      `add table ${ours}; add chain ${ours} old { type filter hook output priority 0; policy drop; }`,
    );
    guard.want(NETWORKS);
    expect(listed()).toBe(LISTED);
    for (const act of [
      `delete table ${ours}`,
      `flush chain ${ours} leaving`,
      `flush set ${ours} networks4`,
    ]) {
      expect(() => host.run("nft", act), act).toThrow(/not permitted/);
    }
    host.run("nft", "flush ruleset");
    expect(listed()).toBe(LISTED);
  });

  it("PG-154, D-22: goes with its process, whatever ends that", async () => {
    const owner: ChildProcess = host.enter(() =>
      spawn(process.execPath, ["--input-type=module", "-e", OWNER], { stdio: ["ignore", "pipe", "inherit"] }),
    );
    await new Promise((resolve) => owner.stdout?.once("data", resolve));
    expect(host.run("nft", "list", "tables")).toContain("postern_guard_tun_two");
    owner.kill("SIGKILL");
    await eventually(() => expect(host.run("nft", "list", "tables")).toBe(""), 10_000);
  });
});
