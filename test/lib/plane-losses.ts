/** Where packets between two planes of a test may be lost, and what is counted there. */
import { expect } from "vitest";
import { type End, type PlaneEnds, SIDES } from "./plane-ends.ts";

/**
 * What a busy machine makes too long on the way from `a` to `b`: what waits for a session until control has handled it
 * (WG-46), the queue of a device whose worker does not come to run, that of the socket which the test reads.
 */
const QUEUES = ["a: wg_no_session", "a: pt0 sent", "b: receive buffers"];

interface LinkStatistics {
  readonly stats64: { readonly rx: { readonly dropped: number }; readonly tx: { readonly dropped: number } };
}

/** Of so many packets from `a` to `b` each has arrived, or is counted where a queue was full. */
export function expectEachCounted(ends: Pick<PlaneEnds, "a" | "b">, sent: number, arrived: number): void {
  const losses = lossesOf(ends);
  const lost = Object.values(losses).reduce((sum, packets) => sum + packets, 0);
  expect(arrived + lost, JSON.stringify(losses)).toBe(sent);
  expect(QUEUES).toEqual(expect.arrayContaining(Object.keys(losses)));
}

/** Packets that got lost so far, by place and reason; only those that have occurred. */
function lossesOf(ends: Pick<PlaneEnds, "a" | "b">): Readonly<Record<string, number>> {
  const all = SIDES.flatMap((side) =>
    lossesAt(ends[side]).map(([name, n]) => [`${side}: ${name}`, n] as const),
  );
  return Object.fromEntries(all.filter(([, packets]) => packets > 0));
}

function lossesAt({ plane, host }: End): readonly (readonly [string, number])[] {
  const { egress, ingress, injectFull } = plane.counters();
  const ofDevice = (device: string) => {
    const [link] = JSON.parse(host.run("ip", "-s", "-j", "link", "show", device)) as LinkStatistics[];
    const { rx, tx } = link?.stats64 ?? { rx: { dropped: 0 }, tx: { dropped: 0 } };
    // Sent: the queue of a device was full. Received: that of the processor.
    return [
      [`${device} sent`, tx.dropped],
      [`${device} received`, rx.dropped],
    ] as const;
  };
  return [
    ...Object.entries(egress.drops),
    ...Object.entries(ingress.drops),
    ["inject-full", injectFull],
    ...ofDevice("pt0"),
    ...ofDevice("veth0"),
    ["receive buffers", udpErrors(host.run("cat", "/proc/net/snmp"), "RcvbufErrors")],
    ["send buffers", udpErrors(host.run("cat", "/proc/net/snmp"), "SndbufErrors")],
  ];
}

/** Of all sockets of a namespace. */
function udpErrors(snmp: string, name: string): number {
  const [names = "", values = ""] = snmp.split("\n").filter((line) => line.startsWith("Udp:"));
  return Number(values.split(" ")[names.split(" ").indexOf(name)]);
}
