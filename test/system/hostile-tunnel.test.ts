/**
 * Client and gateway with an attacker on the path between them (WG-70, PG-49, issue "First light": bad input
 * changes nothing but counters and does not stop the tunnel).
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child } from "../../src/program/lab/index.ts";
import { startAttack } from "../lib/attack.ts";
import { counterIn, expectAccounted, type Snapshot, statusOf, warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";

const BYTES = 16 << 20;
const ROUNDS = 20;
const WARNINGS = 20;
const KINDS = ["cut", "flipped", "forged run", "grown", "initiation", "noise", "replayed"];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "client and gateway under attack", () => {
  let office: Office;
  let gateway: Child;
  let client: Child;

  beforeAll(async () => {
    office = await createOffice();
    // The attacker knows IPv4 only, so the tunnel shall take that way.
    await office.router.sysctl("net/ipv6/conf/all/forwarding", "0");
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
  });
  afterAll(() => office?.close());

  /** A TCP stream from the client to the resource; whether what came is what was sent. */
  async function carry(): Promise<boolean> {
    const what = { protocol: "tcp", to: OFFICE_V4, bytes: BYTES } as const;
    const { sent, received } = await transfer(office.client, office.resource, what);
    return sent === received;
  }

  it("WG-70: what an attacker on the path sends does not stop a transfer, and only counters move", async () => {
    expect(await carry()).toBe(true);
    const before = await Promise.all([statusOf(client), statusOf(gateway)]);
    const attack = await startAttack(office.router, {
      perRound: 400,
      ends: [
        { address: "10.30.0.2", port: portIn(before[0]) },
        { address: "10.31.0.2", port: portIn(before[1]) },
      ],
    });
    do expect(await carry()).toBe(true);
    while (attack.report().rounds < ROUNDS);
    const report = await attack.stop();
    expect(Object.keys(report.sent).sort()).toEqual(KINDS);
    expect(report.captured).toBeGreaterThan(0);
    for (const [i, program] of [client, gateway].entries()) {
      const after = await statusOf(program);
      for (const worker of ["egress", "ingress"]) expectAccounted(after, worker);
      // The plane checks mac1, before control sees a stranger's handshake (PG-160).
      const reasons = ["wg_bad_tag", "wg_replay", "wg_unknown_index", "wg_malformed", "wg_bad_mac1"] as const;
      for (const reason of reasons) {
        expect(counterIn(after, "ingress", `drop_${reason}`), reason).toBeGreaterThan(0);
      }
      for (const count of ["stun_bad_fingerprint", "unknown_format"]) {
        expect(counterIn(after, "control", count), count).toBeGreaterThan(0);
      }
      // PG-106: an attack is worth a few lines, not one per datagram.
      expect(warningsOf(program).length).toBeLessThan(WARNINGS);
      expect(after["connection"]?.["remote"]).toBe(before[i]?.["connection"]?.["remote"]);
      expect(after["connection"]?.["state"]).toBe("connected");
    }
  }, 60_000);

  it("PG-14: nothing was worth an error, and the end is orderly", async () => {
    for (const program of [client, gateway]) {
      expect(await program.stop()).toEqual({ status: 0, signal: undefined });
      expect(program.stderr()).not.toMatch(/ ERROR |^\s+at /m);
    }
  });
});

function portIn(snapshot: Snapshot): number {
  return counterIn(snapshot, "status", "udp4_port");
}
