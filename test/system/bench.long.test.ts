/** `postern bench` with the programs that this machine has (PG-200 to PG-203). */

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { readResult } from "../../src/program/bench/result-file.ts";
import { runCommand } from "../../src/program/lab/index.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const WITHIN_MS = 240_000;

describeWith(["root", "netns", "tun", "iperf3", "wireguard-go", "wg", "build"], "postern bench", () => {
  let folder: string | undefined;
  afterEach(() => folder !== undefined && rmSync(folder, { recursive: true }));

  it("PG-200, PG-202, PG-203: measures, draws, and compares with itself", {
    timeout: WITHIN_MS,
  }, async () => {
    folder = mkdtempSync(join(tmpdir(), "postern-bench-"));
    const [file, picture] = [join(folder, "now.json"), join(folder, "now.svg")];
    // One that is older than what is asked of it.
    const vpn = join(folder, "openvpn");
    writeFileSync(vpn, "#!/bin/sh\necho 'Options error: Unrecognized option: peer-fingerprint'\nexit 1\n");
    chmodSync(vpn, 0o755);
    const env = { ...process.env, PATH: `${folder}:${process.env["PATH"]}` };
    const bench = (...args: readonly string[]) =>
      runCommand({
        name: "bench",
        ...posternCommand(["bench", "--quick", ...args]),
        env,
        withinMs: WITHIN_MS,
      });
    const table = await bench("--openvpn-cipher", "both", "--output", file, "--plot", picture);
    expect(table).toMatch(/^TCP up, 1 stream +Gbit\/s +[\d.]+/m);
    expect(readFileSync(picture, "utf8")).toMatch(/^<svg /);
    const result = readResult(readFileSync(file, "utf8"));
    if (!result.ok) throw new Error(result.reason);
    const { arms, cells, missing } = result.value;
    expect(arms.map(({ name }) => name)).toEqual(["postern", "wireguard-go", "cable"]);
    expect(missing).toEqual([
      expect.stringMatching(/^OpenVPN AES is not compared, .*: Options error: .*finger/),
      expect.stringMatching(/^OpenVPN ChaCha20 is not compared, .*: Options error: .*finger/),
    ]);
    for (const { name, samples } of cells.filter((cell) => !cell.name.startsWith("udp"))) {
      for (const { arm, value } of samples) expect(value, `${name} of ${arm}`).toBeGreaterThan(0);
    }
    const again = JSON.parse((await bench("--json", "--compare", file)).trimEnd().split("\n").at(-1) ?? "");
    expect(again.cells.map((cell: { name: string }) => cell.name)).toEqual(cells.map(({ name }) => name));
  });
});
