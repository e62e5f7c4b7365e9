/**
 * Two `postern wg` with an attacker on the path between them (WG-70 to WG-72, issue "First light": bad
 * input changes nothing but counters and does not stop the tunnel).
 *
 *     near 10.9.1.2 ── 10.9.1.1 router, attacker 10.9.2.1 ── 10.9.2.2 far
 *     wg0 10.7.0.1                                                wg0 10.7.0.2
 */

import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { type AttackPlan, startAttack } from "../lib/attack.ts";
import { eventually, residentMib } from "../lib/observe.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";
import { expectCounted, type WgSnapshot, wgSnapshot } from "../lib/wg-snapshot.ts";

const PORT = 51820;
const BYTES = 16 << 20;
const ROUNDS = 20;
const KINDS = ["cut", "flipped", "forged run", "grown", "initiation", "noise", "replayed"];
const MEMORY_GROWTH_MIB = 100;
const WITHIN_MS = 30_000;

interface End {
  readonly namespace: Namespace;
  readonly wan: string;
  readonly inner: string;
  readonly privateKey: string;
  readonly publicKey: string;
}

async function createEnd(namespace: Namespace, wan: string, inner: string): Promise<End> {
  const privateKey = (await namespace.run("wg", ["genkey"])).trim();
  writeFileSync(join(namespace.runFolder, "key"), `${privateKey}\n`, { mode: 0o600 });
  const publicKey = (await namespace.run("sh", ["-c", "wg pubkey < /run/key"])).trim();
  return { namespace, wan, inner, privateKey, publicKey };
}

async function startWg(own: End, other: End): Promise<Child> {
  const file = join(own.namespace.runFolder, "wg0.conf");
  const lines = [
    ...["[Interface]", `PrivateKey = ${own.privateKey}`, `ListenPort = ${PORT}`, `Address = ${own.inner}/24`],
    ...["[Peer]", `PublicKey = ${other.publicKey}`, `AllowedIPs = ${other.inner}/32`],
    `Endpoint = ${other.wan}:${PORT}`,
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  chmodSync(file, 0o600);
  const program = posternCommand(["wg", "/run/wg0.conf"]);
  const child = own.namespace.start({ name: "postern wg", ...program });
  await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return child;
}

/** A TCP stream from one end to the other; whether what came is what was sent. */
async function carry(from: End, to: End): Promise<boolean> {
  const what = { protocol: "tcp", to: to.inner, bytes: BYTES } as const;
  const { sent, received } = await transfer(from.namespace, to.namespace, what);
  return sent === received;
}

describeWith(["root", "netns", "tun", "wg", "build"], "postern wg under attack", () => {
  let lab: Lab;
  let router: Namespace;
  let near: End;
  let far: End;
  let programs: readonly Child[];

  beforeAll(async () => {
    lab = createLab();
    router = await lab.add("router");
    const namespaces = [await lab.add("near"), await lab.add("far")] as const;
    await router.sysctl("net/ipv4/ip_forward", "1");
    for (const [i, namespace] of namespaces.entries()) {
      await lab.connect(
        { namespace, device: "wan", addresses: [`10.9.${i + 1}.2/24`] },
        { namespace: router, device: `to${i}`, addresses: [`10.9.${i + 1}.1/24`] },
      );
      await namespace.ip(`route add default via 10.9.${i + 1}.1`);
    }
    near = await createEnd(namespaces[0], "10.9.1.2", "10.7.0.1");
    far = await createEnd(namespaces[1], "10.9.2.2", "10.7.0.2");
    programs = [await startWg(near, far), await startWg(far, near)];
  });
  afterAll(() => lab?.close());

  it("WG-70: what an attacker on the path sends does not stop a transfer, and only counters move", async () => {
    expect(await carry(near, far)).toBe(true);
    const before = await Promise.all(programs.map(wgSnapshot));
    const memoryBefore = programs.map(residentMib);
    const attack = await startAttack(router, planOf(near, far));
    do {
      expect(await carry(near, far)).toBe(true);
      expect(await carry(far, near)).toBe(true);
    } while (attack.report().rounds < ROUNDS);
    const report = await attack.stop();
    expect(Object.keys(report.sent).sort()).toEqual(KINDS);
    expect(report.captured).toBeGreaterThan(0);
    // WG-32: more than 100 forged initiations in a second are answered by cookies and nothing else.
    expect(report.cookies).toBeGreaterThan(0);
    for (const [i, program] of programs.entries()) {
      const after = await wgSnapshot(program);
      expectCounted(after);
      expect(grownIn(before[i]?.drops, after.drops)).toMatchObject({
        wg_malformed: true,
        wg_bad_init: true,
      });
      const { drops } = after.counters.ingress;
      // The plane checks mac1, before control sees a stranger's handshake (PG-160).
      const reasons = ["wg_bad_tag", "wg_replay", "wg_unknown_index", "wg_malformed", "wg_bad_mac1"] as const;
      for (const reason of reasons) expect(drops[reason], reason).toBeGreaterThan(0);
      // No session, no endpoint, no handshake is other than before (WG-71).
      expect(after.peers.map(standingOf)).toEqual(before[i]?.peers.map(standingOf));
      expect(residentMib(program)).toBeLessThan((memoryBefore[i] ?? 0) + MEMORY_GROWTH_MIB);
    }
    expect(await carry(near, far)).toBe(true);
  }, 60_000);

  it("WG-30: a handshake succeeds in the middle of it, and replays of it do nothing", async () => {
    const [caller, called] = programs;
    if (caller === undefined || called === undefined) throw new Error("two programs run");
    // Not at full rate: on a busy machine control would find its ring full for longer than we may wait.
    const attack = await startAttack(router, { ...planOf(near, far), perRound: 50, everyMs: 10 });
    expect(await caller.stop()).toEqual({ status: 0, signal: undefined });
    programs = [await startWg(near, far), called];
    expect(await carry(near, far)).toBe(true);
    const handshakes = async () => (await wgSnapshot(called)).peers.map(standingOf);
    const before = await handshakes();
    attack.replayHandshakes();
    const { rounds } = attack.report();
    await eventually(() => expect(attack.report().rounds).toBeGreaterThan(rounds + ROUNDS), WITHIN_MS);
    await attack.stop();
    expect(await handshakes()).toEqual(before);
    const { drops } = await wgSnapshot(called);
    expect((drops["wg_replayed_timestamp"] ?? 0) + (drops["wg_source_rate"] ?? 0)).toBeGreaterThan(0);
  }, 60_000);

  it("PG-14: nothing was worth an error, and the end is orderly", async () => {
    for (const program of programs) {
      expect(await program.stop()).toEqual({ status: 0, signal: undefined });
      expect(program.stderr()).not.toMatch(/ERROR|^\s+at /m);
    }
  });
});

function planOf(...ends: readonly End[]): AttackPlan {
  return {
    perRound: 400,
    ends: ends.map(({ wan, publicKey }) => ({ address: wan, port: PORT, publicKey })),
  };
}

/** Which counts have risen. */
function grownIn(
  before: Readonly<Record<string, number>> = {},
  after: Readonly<Record<string, number>>,
): Record<string, boolean> {
  const names = Object.keys(after);
  return Object.fromEntries(names.map((name) => [name, (after[name] ?? 0) > (before[name] ?? 0)]));
}

/** What unauthenticated input must leave alone. */
function standingOf({ publicKey, endpoint, lastHandshakeUnixMs }: WgSnapshot["peers"][number]) {
  return { publicKey, endpoint, lastHandshakeUnixMs };
}
