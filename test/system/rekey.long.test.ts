/**
 * A steady transfer across re-keys (WG-15: the old session receives until the new one has proved itself). On a
 * busy machine TCP repeats about one segment a second; none of them was lost.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { echo, eventually, statusOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const SECONDS = 270;
const REKEYS_AT = [120, 240];
const RATE = "150M";
/** Seconds on either side of a re-key that are counted to it. */
const AROUND = 3;
/** Reports of what had arrived can be lost, or not be there yet at the end. */
const LOST_MAX = 3;

interface Interval {
  readonly sum: { readonly start: number; readonly retransmits: number };
}

describeWith(["root", "netns", "tun", "nft", "iperf3", "build"], "a transfer across re-keys", () => {
  let office: Office;
  let programs: readonly Child[];

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    const server = office.resource.start({ name: "iperf3", command: "iperf3", args: ["-s", "--forceflush"] });
    await server.waitForLine(/Server listening/, { withinMs: 10_000 });
    programs = await Promise.all([office.startGateway(), office.startClient()]);
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
  });
  afterAll(() => office?.close());

  it("WG-15: what TCP repeats had arrived, and a re-key has no share in it", async () => {
    const before = await repeatsOf(office.client);
    const args = ["-c", OFFICE_V4, "-t", String(SECONDS), "-b", RATE, "-i", "1", "-J"];
    const said = await office.client.run("iperf3", args, { withinMs: (SECONDS + 30) * 1000 });
    const { intervals } = JSON.parse(said) as { readonly intervals: readonly Interval[] };
    const after = await repeatsOf(office.client);
    const total = intervals.reduce((all, { sum }) => all + sum.retransmits, 0);
    const probes = after.probes - before.probes;
    const needless = after.needless - before.needless;
    const isNear = ({ sum }: Interval): boolean => REKEYS_AT.some((at) => Math.abs(sum.start - at) <= AROUND);
    const near = intervals.filter(isNear).reduce((all, { sum }) => all + sum.retransmits, 0);
    console.log(
      `repeated ${total} segments in ${intervals.length} s, ${near} of them within ${AROUND} s of a re-key; ` +
        `${probes} probes of the tail, ${needless} had arrived before`,
    );
    expect(total - needless, "segments that were lost").toBeLessThanOrEqual(LOST_MAX);
    expect(await dropsOf(programs), "drops under reasons of ours").toEqual([]);
  });
});

/** A probe is sent when an acknowledgement is late (RFC 8985 §7); the other end tells what it had already. */
async function repeatsOf(where: Namespace): Promise<{ readonly probes: number; readonly needless: number }> {
  const lines = (await where.run("cat", ["/proc/net/netstat"])).split("\n");
  const [names = [], values = []] = lines
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  const countOf = (name: string): number => Number(values[names.indexOf(name)]);
  return { probes: countOf("TCPLossProbes"), needless: countOf("TCPDSACKRecvSegs") };
}

/** What the planes have dropped of the transfer; multicast of the host's own has no peer. */
async function dropsOf(programs: readonly Child[]): Promise<readonly string[]> {
  const drops: string[] = [];
  for (const program of programs) {
    const snapshot = await statusOf(program);
    for (const line of ["egress", "ingress"]) {
      const names = Object.keys(snapshot[line] ?? {}).filter((name) => name.startsWith("drop_"));
      drops.push(...names.filter((name) => name !== "drop_not_a_peer").map((name) => `${line} ${name}`));
    }
  }
  return drops;
}
