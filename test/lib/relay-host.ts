/** A relay of the real program without a portal, in a namespace of the test's own thread. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "../../src/program/lab/index.ts";
import { createNamespace, type OwnNamespace } from "../system/own-namespace.ts";
import { SECRET } from "../unit/relay/relay-world.ts";
import { posternCommand } from "./program.ts";

export interface RelayHost {
  readonly host: OwnNamespace;
  readonly relay: Child;
  close(): Promise<void>;
}

const WITHIN_MS = 20_000;

/** @param addresses of the loopback device, with their lengths @param args of the relay, besides where its secret is */
export async function startRelayHost(
  instance: string,
  addresses: readonly string[],
  args: readonly string[],
): Promise<RelayHost> {
  const host = createNamespace();
  host.run("ip", "link", "set", "lo", "up");
  for (const address of addresses) host.run("ip", "addr", "add", address, "dev", "lo");
  const folder = mkdtempSync(join(tmpdir(), `postern-${instance}-`));
  const secret = join(folder, "secret");
  writeFileSync(secret, SECRET);
  chmodSync(secret, 0o600);
  const own = ["--stand-alone", "--stamp-secret-path", secret, "--instance", `${instance}${process.pid}`];
  const command = posternCommand(["relay", ...args, ...own]);
  const relay = host.enter(() => startChild({ name: "relay", ...command }));
  const close = async (): Promise<void> => {
    await relay.stop({ signal: "SIGKILL" });
    host.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await relay.waitForLine(/ ready /, { withinMs: WITHIN_MS, stream: "stderr" });
  } catch (error) {
    await close();
    throw error;
  }
  return { host, relay, close };
}
