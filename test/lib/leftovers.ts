/**
 * What a program may have left behind in a namespace (TS-30): compare two snapshots with `toEqual`.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { findHelper } from "../../src/host/index.ts";
import type { Namespace } from "../../src/program/lab/index.ts";

export interface HostSnapshot {
  /** `name mtu`, every interface; a TUN left behind is one. */
  readonly links: readonly string[];
  readonly addresses: readonly string[];
  /** All tables, both families. */
  readonly routes: readonly string[];
  readonly rules: readonly string[];
  readonly nftTables: readonly string[];
  /** Files below `/run` as the namespace sees it: sockets, locks. */
  readonly runFiles: readonly string[];
}

export async function captureHost(namespace: Namespace): Promise<HostSnapshot> {
  const nft = findHelper("nft") !== undefined ? await namespace.run("nft", ["list", "tables"]) : "";
  const ip = async (...args: readonly string[]): Promise<string[]> =>
    lines(await namespace.run("ip", ["-o", ...args]));
  const routes = await Promise.all(["-4", "-6"].map((family) => ip(family, "route", "show", "table", "all")));
  const rules = await Promise.all(["-4", "-6"].map((family) => ip(family, "rule")));
  return {
    links: (await ip("link")).map((line) => `${line.split(": ")[1]} ${/mtu \d+/.exec(line)?.[0]}`).sort(),
    // Interface indices and lifetimes differ from run to run.
    addresses: (await ip("addr")).map((line) => line.replace(/^\d+: /, "").replace(/\\.*$/, "")).sort(),
    routes: routes.flat().sort(),
    rules: rules.flat().sort(),
    nftTables: lines(nft).sort(),
    runFiles: filesBelow(namespace.runFolder).sort(),
  };
}

function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.replace(/ +/g, " ").trim())
    .filter((line) => line !== "");
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(join(folder, entry.name)) : [join(folder, entry.name)],
  );
}
