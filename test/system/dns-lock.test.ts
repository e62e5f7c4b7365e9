/** Clients that write resolv.conf in the same instant, as processes of their own (DN-104 to DN-106). */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { describeWith } from "../lib/requirements.ts";

const ORIGINAL = "nameserver 192.0.2.1\n";
const CLIENTS = 6;
const ROUNDS = 30;

/** Takes its place in the file and out of it again, as often; says so when it is not there. */
const CLIENT = `
import { readFileSync } from "node:fs";
const { openKernel } = await import(process.env.BUILD + "/bindings/linux/index.js");
const { openDnsControl } = await import(process.env.BUILD + "/src/host/index.js");
const [file, number, rounds] = process.argv.slice(2);
const say = (message, fields) => console.log(message, JSON.stringify(fields ?? {}));
const control = openDnsControl({
  ...{ wanted: "etc-resolv-conf", tunName: "tun", instance: "c" + number, kernel: openKernel() },
  log: { error: say, warn: say },
  paths: { file, backup: file + ".before", resolvedServers: file + ".none", lock: file + ".lock" },
  resolvectl: { now: () => undefined, later: async () => undefined },
});
const server = "100.100.111." + (1 + Number(number));
const wanted = { servers: [Uint8Array.from(server.split("."))], suffixes: [] };
for (let round = 0; round < Number(rounds); round++) {
  control.want(0, wanted);
  if (!readFileSync(file, "utf8").includes("nameserver " + server)) console.log("missing in round " + round);
  control.revert();
}
`;

describeWith(["build"], "resolv.conf of several clients", () => {
  let folder: string;
  let file: string;
  let clients: Child[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dns-lock-"));
    file = join(folder, "resolv.conf");
    writeFileSync(file, ORIGINAL);
    writeFileSync(join(folder, "client.mjs"), CLIENT);
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.stop()));
    rmSync(folder, { recursive: true });
  });

  it("DN-104 to DN-106: none is missing that came in the same instant, none is left that ended in it", async () => {
    clients = Array.from({ length: CLIENTS }, (_, i) =>
      startChild({
        name: `client ${i}`,
        command: process.execPath,
        args: [join(folder, "client.mjs"), file, `${i}`, `${ROUNDS}`],
        env: { ...process.env, BUILD: join(import.meta.dirname, "../../build") },
      }),
    );
    for (const client of clients) {
      expect(await client.wait(60_000), client.stderr()).toEqual({ status: 0, signal: undefined });
      expect(client.stdout()).toBe("");
    }
    expect(readFileSync(file, "utf8")).toBe(ORIGINAL);
    expect(readdirSync(folder).sort()).toEqual(["client.mjs", "resolv.conf", "resolv.conf.before"]);
  }, 70_000);
});
