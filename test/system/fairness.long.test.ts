/**
 * What is small gets through while client and gateway carry as much as they can (TS-30.43): checks of the path, whose
 * answers keep it, and echoes inside of it. The kernel's own times of the messages on the client's cable are taken.
 */
import { basename, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, type Namespace, patient } from "../../src/program/lab/index.ts";
import { connectionsOf } from "../lib/ask.ts";
import { warningsOf } from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";

const WATCH = join(import.meta.dirname, "../lib/stun-watch.mjs");
const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const LOAD_S = 10;
/** Of a check and its answer, of 99 in a hundred (TS-30.43). */
const ROUND_TRIP_MS_MAX = 50;
/** A check is repeated after 1.5 s, and a path is given up for want of twelve answers (SN-46). */
const LOST_PERCENT_MAX = 5;

interface Message {
  readonly type: number;
  readonly transaction: string;
  /** In ns. */
  readonly at: bigint;
  /** Addresses and ports. */
  readonly way: string;
}

interface Load {
  readonly name: string;
  readonly args: readonly string[];
}

const LOADS: readonly Load[] = [
  { name: "egress of the client", args: ["-P", "4"] },
  { name: "ingress of the client", args: ["-P", "4", "-R"] },
  { name: "both", args: ["-P", "2", "--bidir"] },
];

describeWith(["root", "netns", "tun", "nft", "ipv6", "iperf3", "build"], "a saturated tunnel", () => {
  let office: Office;
  let programs: readonly Child[];
  let watch: Child;

  beforeAll(async () => {
    office = await createOffice();
    office.configure([{ resource: "Office" }]);
    await office.startPortal();
    programs = await Promise.all([office.startGateway(), office.startClient()]);
    const server = start(office.resource, "iperf3", "-s", "--forceflush");
    await server.waitForLine(/Server listening/, { withinMs: 10_000 });
    watch = start(office.client, process.execPath, WATCH, "wan");
    await watch.waitForLine(/^watching$/, { withinMs: 10_000, stream: "stdout" });
    await ping(1);
  }, 120_000);
  afterAll(() => office?.close());

  /** Round trips of echoes inside of the tunnel, in ms; five a second. */
  async function ping(count: number): Promise<readonly number[]> {
    const args = ["-n", "-i", "0.2", "-c", String(count), "-W", "5", OFFICE_V4];
    const said = await office.client.run("ping", args, { withinMs: count * 200 + 20_000 });
    return [...said.matchAll(/ time=([\d.]+) ms/g)].map(([, ms]) => Number(ms));
  }

  function messages(): readonly Message[] {
    const lines = watch.stdout().trim().split("\n").slice(1);
    return lines.map((line) => {
      const [type, transaction = "", at = "0", way = ""] = line.split(" ");
      return { type: Number(type), transaction, at: BigInt(at), way };
    });
  }

  /**
   * Round trips of the checks that were begun since the message of a number, both ends', in ms; and how many had no
   * answer, of those where there ever was one: some addresses of the office cannot be reached from outside.
   */
  function checksSince(from: number): { readonly times: readonly number[]; readonly lost: number } {
    const all = messages();
    const answers = new Map(
      all.filter(({ type }) => type === BINDING_SUCCESS).map((one) => [one.transaction, one]),
    );
    const requests = all.filter(({ type }) => type === BINDING_REQUEST);
    const works = new Set(
      requests.filter(({ transaction }) => answers.has(transaction)).map(({ way }) => way),
    );
    const begun = requests.filter((one) => works.has(one.way) && all.indexOf(one) >= from);
    const times = begun.flatMap(({ transaction, at }) => {
      const answer = answers.get(transaction);
      return answer === undefined ? [] : [Number(answer.at - at) / 1e6];
    });
    return { times, lost: begun.length - times.length };
  }

  it.each(LOADS)(
    "TS-30.43, PG-50: checks and echoes while $name is full",
    {
      timeout: 120_000,
    },
    async ({ name, args }) => {
      const [before] = await connectionsOf(office, office.client);
      const from = messages().length;
      const load = start(office.client, "iperf3", "-J", "-t", String(LOAD_S), ...args, "-c", OFFICE_V4);
      const echoes = await ping((LOAD_S - 2) * 5);
      // Judged by how busy the machine was meanwhile; the slowest of some thirty grows faster than the load.
      const roundTripMax = patient(patient(ROUND_TRIP_MS_MAX));
      expect((await load.wait((LOAD_S + 20) * 1000)).status, load.stdout()).toBe(0);
      // The last ones may still be answered.
      await ping(2);
      const { times, lost } = checksSince(from);
      console.log(
        `${name}: checks ${told(times)}, ${lost} unanswered; echoes ${told(echoes)}; ${rateOf(load)}`,
      );
      expect(times.length).toBeGreaterThan(LOAD_S);
      expect(lost / (times.length + lost)).toBeLessThan(LOST_PERCENT_MAX / 100);
      expect(percentile(times, 0.99)).toBeLessThan(roundTripMax);
      const [after] = await connectionsOf(office, office.client);
      expect(after).toMatchObject({ state: "connected", local: before?.local, remote: before?.remote });
      // The time of day of a monotonic one: a millisecond more or less.
      expect(Math.abs(Date.parse(after?.since ?? "") - Date.parse(before?.since ?? ""))).toBeLessThan(1000);
      for (const program of programs) expect(warningsOf(program)).toEqual([]);
    },
  );
});

function start(where: Namespace, command: string, ...args: readonly string[]): Child {
  return where.start({ name: basename(command), command, args });
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

function told(times: readonly number[]): string {
  const [half, most, all] = [0.5, 0.99, 1].map((share) => percentile(times, share).toFixed(1));
  return `${times.length}: median ${half} ms, 99 of 100 below ${most}, the longest ${all}`;
}

function rateOf(load: Child): string {
  const { end } = JSON.parse(load.stdout()) as { end: Record<string, { bits_per_second: number }> };
  const rates = ["sum_sent", "sum_sent_bidir_reverse"].flatMap((key) => end[key]?.bits_per_second ?? []);
  return rates.map((rate) => `${(rate / 1e9).toFixed(2)} Gbit/s`).join(" and ");
}
