/**
 * The first packets through `postern wg`, sent while it starts: they wait until there is a session (WG-18).
 *
 *     near 10.9.0.1 ──────── 10.9.0.2 far
 *     wg0 10.7.0.1              wg0 10.7.0.2
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";
import { wgSnapshot } from "../lib/wg-snapshot.ts";

const PORT = 51820;
const WAN = ["10.9.0.1", "10.9.0.2"] as const;
const INNER = ["10.7.0.1", "10.7.0.2"] as const;
const WITHIN_MS = 60_000;
/** Fewer than a peer's packets that wait for a session (STAGED_MAX, 128). */
const DATAGRAMS = 40;
const PAUSE_MS = 2;

/** Prints each datagram that comes. */
const HEAR = `
require("node:dgram").createSocket("udp4").on("message", (text) => console.log("got " + text))
  .bind(7000, () => console.log("listening"))`;

/** Sends numbers, as soon as there is a way to where they go, and says how many the system has taken. */
const CALL = `
const socket = require("node:dgram").createSocket("udp4");
let taken = 0;
const next = () => socket.send(String(taken), 7000, "${INNER[1]}", (error) => {
  if (!error) taken++;
  if (taken < ${DATAGRAMS}) return setTimeout(next, ${PAUSE_MS});
  console.log("taken " + taken);
  socket.close();
});
console.log("calling");
next();`;

describeWith(["root", "netns", "tun", "wg", "build"], "what is sent while postern wg starts", () => {
  let lab: Lab;
  let ends: readonly Namespace[];

  beforeAll(async () => {
    lab = createLab();
    ends = [await lab.add("near"), await lab.add("far")];
    const [near, far] = [endOf(0), endOf(1)];
    await lab.connect(
      { namespace: near, device: "wan", addresses: [`${WAN[0]}/24`] },
      { namespace: far, device: "wan", addresses: [`${WAN[1]}/24`] },
    );
    for (const end of ends)
      await end.run("sh", ["-c", "wg genkey > /run/key && wg pubkey < /run/key > /run/public"]);
  });
  afterAll(() => lab?.close());

  const endOf = (i: 0 | 1): Namespace => {
    const end = ends[i];
    if (end === undefined) throw new Error(`no end ${i}`);
    return end;
  };

  async function start(i: 0 | 1): Promise<Child> {
    const other = i === 0 ? 1 : 0;
    const own = endOf(i);
    const keys = [await own.run("cat", ["/run/key"]), await endOf(other).run("cat", ["/run/public"])];
    const lines = [
      ...[
        "[Interface]",
        `PrivateKey = ${keys[0]?.trim()}`,
        `ListenPort = ${PORT}`,
        `Address = ${INNER[i]}/24`,
      ],
      ...["[Peer]", `PublicKey = ${keys[1]?.trim()}`, `AllowedIPs = ${INNER[other]}/32`],
      `Endpoint = ${WAN[other]}:${PORT}`,
    ];
    const file = join(own.runFolder, "wg0.conf");
    writeFileSync(file, `${lines.join("\n")}\n`);
    chmodSync(file, 0o600);
    return own.start({ name: "postern wg", ...posternCommand(["wg", "/run/wg0.conf"]) });
  }

  it("WG-18: every packet that the device takes meanwhile reaches the other end, in order", async () => {
    const far = await start(1);
    await far.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
    const got: number[] = [];
    const onLine = (line: string): void => {
      const [, number] = /^got (\d+)$/.exec(line) ?? [];
      if (number !== undefined) got.push(Number(number));
    };
    const hearing = endOf(1).start({ name: "hear", command: process.execPath, args: ["-e", HEAR], onLine });
    await hearing.waitForLine(/^listening$/, { withinMs: WITHIN_MS, stream: "stdout" });
    const calling = endOf(0).start({ name: "call", command: process.execPath, args: ["-e", CALL] });
    await calling.waitForLine(/^calling$/, { withinMs: WITHIN_MS, stream: "stdout" });
    const near = await start(0);
    await near.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
    await calling.waitForLine(new RegExp(`^taken ${DATAGRAMS}$`), { withinMs: WITHIN_MS, stream: "stdout" });
    await hearing.waitForLine(new RegExp(`^got ${DATAGRAMS - 1}$`), {
      withinMs: WITHIN_MS,
      stream: "stdout",
    });
    expect(got).toEqual(Array.from({ length: DATAGRAMS }, (_, i) => i));
    const { counters } = await wgSnapshot(near);
    expect(counters.egress.drops["not-configured"] ?? 0).toBe(0);
  });
});
