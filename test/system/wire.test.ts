/** The wire that other tests and benchmarks rely on, measured (TS-23, TS-29). */
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  addWire,
  createLab,
  type Lab,
  type Namespace,
  patient,
  type Wire,
} from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";

const FAR = "192.0.2.2";
const WITHIN_MS = 30_000;

describeWith(["root", "netns", "tun", "build"], "a wire", () => {
  let lab: Lab;
  let near: Namespace;
  let wire: Wire;

  beforeAll(async () => {
    lab = createLab();
    near = await lab.add("near");
    const far = await lab.add("far");
    wire = await addWire(
      lab,
      { namespace: near, device: "line", addresses: ["192.0.2.1/24"] },
      { namespace: far, device: "line", addresses: [`${FAR}/24`] },
      { offloads: false },
    );
  }, WITHIN_MS);

  afterAll(() => lab.close());

  /** Sends echo requests 5 ms apart and returns what ping says of them. */
  const ping = async (count: number): Promise<{ readonly received: number; readonly text: string }> => {
    const args = ["-n", "-c", String(count), "-i", "0.005", "-W", "1", FAR];
    const text = await near.run("sh", ["-c", 'ping "$@" || true', "ping", ...args], { withinMs: WITHIN_MS });
    return { received: Number(/(\d+) received/.exec(text)?.[1]), text };
  };
  const leastMs = (text: string): number => Number(/= ([\d.]+)\//.exec(text)?.[1]);

  it("TS-23: passes everything as long as it is told nothing", async () => {
    const { received, text } = await ping(100);
    expect(received, text).toBe(100);
    expect(leastMs(text)).toBeLessThan(patient(10));
  });

  it("TS-23: delays each way by what it is told, and is never early", async () => {
    await wire.set({ delayMs: 20 });
    const { received, text } = await ping(20);
    await wire.set({ delayMs: 0 });
    expect(received).toBe(20);
    expect(leastMs(text)).toBeGreaterThanOrEqual(40);
    expect(leastMs(text)).toBeLessThan(patient(60));
  });

  it("TS-23: loses the share that it is told, in one direction only", async () => {
    const before = await wire.set({ direction: "in", loss: 0.2 });
    const { received } = await ping(400);
    const after = await wire.set({ direction: "in", loss: 0 });
    expect(received).toBe(400 - (after.in.lost - before.in.lost));
    expect(after.out.lost).toBe(before.out.lost);
    // Five standard deviations around 80.
    expect(Math.abs(after.in.lost - before.in.lost - 80)).toBeLessThan(40);
  });

  it("TS-23: repeats and reorders", async () => {
    await wire.set({ direction: "out", duplicate: 0.5, reorder: 0.2 });
    const { text } = await ping(200);
    const { out } = await wire.set({ direction: "out", duplicate: 0, reorder: 0 });
    expect(text).toMatch(/duplicates/);
    expect(out.late).toBeGreaterThan(10);
  });

  it("TS-23: is slow when it is told to be, and drops what its queue does not hold", async () => {
    await wire.set({ direction: "out", rateMbps: 1, queueKb: 3 });
    const args = ["-n", "-c", "50", "-l", "50", "-s", "972", "-W", "1", FAR];
    const text = await near.run("sh", ["-c", 'ping "$@" || true', "ping", ...args], { withinMs: WITHIN_MS });
    const { out } = await wire.set({ direction: "out", rateMbps: 0, queueKb: 0 });
    expect(out.full, text).toBeGreaterThan(20);
  });

  it("TS-23: passes nothing while it is cut, and passes again", async () => {
    await wire.set({ cut: true });
    expect((await ping(10)).received).toBe(0);
    await wire.set({ cut: false });
    expect((await ping(10)).received).toBe(10);
  });
});
