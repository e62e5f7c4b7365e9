/**
 * coturn's tools as clients of `postern relay` (RL §22), all on one machine:
 *
 *     uclient ──▶ 198.51.100.7:3478, [2001:db8::7]:3478   relay   ──▶ 203.0.113.9, 2001:db8:9::9   peer
 */

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { relayCredentials } from "../../src/turn/index.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";

const SECRET = "a secret of the test";
const RELAY = { v4: "198.51.100.7", v6: "2001:db8::7" } as const;
const PEER = { v4: "203.0.113.9", v6: "2001:db8:9::9" } as const;
const PEER_PORT = "3480";
const TCP_PORT = "3481";
const TLS_PORT = "5349";
const VECTORS = join(import.meta.dirname, "../vectors/portal");
const CERTIFICATE = [
  ...["--tls-cert", join(VECTORS, "localhost.crt")],
  ...["--tls-key", join(VECTORS, "localhost.key")],
];
/** A message of the tool's default length in a stream: 100 bytes of channel data and their header. */
const FRAME_BYTES = 104;
const READY_WITHIN_MS = 15_000;
/** The tool itself takes its time: it starts slowly and ends slowly. */
const TOOL_WITHIN_MS = 60_000;

describeWith(["netns", "build", "turnutils"], "coturn's tools", () => {
  let lab: Lab;
  let host: Namespace;
  let relay: Child;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "postern-turn-"));
    writeFileSync(join(folder, "secret"), SECRET);
    chmodSync(join(folder, "secret"), 0o600);
    lab = createLab();
    host = await lab.add("turn");
    await host.ip(
      ...[RELAY.v4, PEER.v4].map((address) => `addr add ${address}/32 dev lo`),
      ...[RELAY.v6, PEER.v6].map((address) => `addr add ${address}/128 dev lo`),
    );
    relay = host.start({
      name: "relay",
      ...posternCommand([
        "relay",
        ...["--public-ip4", RELAY.v4, "--public-ip6", RELAY.v6, "--stand-alone"],
        ...["--stamp-secret-path", join(folder, "secret"), "--allocations-per-user", "0", "--drain", "1s"],
        ...["--tcp-listen", `${RELAY.v4}:${TCP_PORT}`, "--dev-insecure"],
        ...["--tls-listen", `${RELAY.v4}:${TLS_PORT}`, ...CERTIFICATE],
      ]),
    });
    await relay.waitForLine(/ ready /, { withinMs: READY_WITHIN_MS, stream: "stderr" });
    host.start({
      name: "peer",
      command: "turnutils_peer",
      args: ["-L", PEER.v4, "-L", PEER.v6, "-p", PEER_PORT],
    });
  }, 60_000);

  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs the tool to its end; it exits with an error unless all went well. */
  async function uclient(server: string, peer: string, flags: readonly string[]): Promise<string> {
    const expiry = Math.floor(Date.now() / 1000) + 3600;
    const { username, password } = relayCredentials(SECRET, { expiry, salt: "s".repeat(43) });
    const credentials = ["-u", username, "-w", password];
    const args = [...flags, "-e", peer, "-r", PEER_PORT, ...credentials, server];
    return await host.run("turnutils_uclient", args, { withinMs: TOOL_WITHIN_MS });
  }

  function expectNothingLost(output: string): void {
    expect(output).toMatch(/Total lost packets 0 \(0\.0+%\), total send dropped 0/);
  }

  /**
   * The tool takes what one read of TLS brings, which is a record, for one message, and counts only the first in it. A
   * relay that had to wait for a processor writes several at once, and TLS puts them into one record: a stream knows no
   * messages. (It frames TCP without TLS as it should.) It also draws the version of each connection from 1.0 to 1.3,
   * and tries again after "tlsv1 alert protocol version".
   */
  function expectNothingLostByTls(output: string): void {
    const records = [...output.matchAll(/response received: size=(\d+)/g)].map(([, bytes]) => Number(bytes));
    const full = records.filter((bytes) => bytes % FRAME_BYTES === 0);
    const unseen = full.reduce((sum, bytes) => sum + bytes / FRAME_BYTES - 1, 0);
    expect(full).not.toEqual([]);
    expect(output).toMatch(new RegExp(`Total lost packets ${unseen} \\([0-9.]+%\\), total send dropped 0`));
  }

  it.concurrent.each([
    ["channels", ["-c", "-n", "30"]],
    ["client to client, which is hairpin", ["-c", "-y", "-n", "20"]],
    ["an IPv4 address asked for", ["-c", "-X", "-n", "20"]],
    ["padding", ["-c", "-D", "-l", "97", "-n", "20"]],
    ["both families", ["-c", "-Z", "-n", "20"]],
    ["EVEN-PORT with reservation and token", ["-n", "20"]],
    ["one byte", ["-c", "-l", "1", "-n", "20"]],
    // The tool starts five or six of them in a second.
    ["thirty clients", ["-c", "-m", "30", "-n", "3"]],
  ])(
    "RL-21, RL-42, RL-45: turnutils_uclient passes with %s",
    async (_, flags) => {
      expectNothingLost(await uclient(RELAY.v4, PEER.v4, flags));
    },
    2 * TOOL_WITHIN_MS,
  );

  it.concurrent.each([
    ["4 to 4", RELAY.v4, PEER.v4, []],
    ["6 to 6", RELAY.v6, PEER.v6, ["-x"]],
    ["4 to 6", RELAY.v4, PEER.v6, ["-x"]],
    ["6 to 4", RELAY.v6, PEER.v4, []],
  ])(
    "RL-44: data crosses families, %s",
    async (_, server, peer, flags) => {
      expectNothingLost(await uclient(server, peer, ["-c", "-n", "20", ...flags]));
    },
    2 * TOOL_WITHIN_MS,
  );

  it.concurrent.each([
    ["TCP", ["-t", "-p", TCP_PORT], []],
    ["TCP, padding", ["-t", "-p", TCP_PORT], ["-D", "-l", "97"]],
  ])(
    "RL-201, RL-206: turnutils_uclient passes by %s",
    async (_, transport, flags) => {
      expectNothingLost(await uclient(RELAY.v4, PEER.v4, [...transport, "-c", "-n", "20", ...flags]));
    },
    2 * TOOL_WITHIN_MS,
  );

  it.concurrent.each([
    ["TLS", []],
    ["TLS, to a peer of the other family", ["-x"]],
    ["TLS, client to client", ["-y"]],
    ["TLS, several clients of one address", ["-m", "4"]],
  ])(
    "RL-201, RL-206: turnutils_uclient passes by %s",
    async (_, flags) => {
      const peer = flags.includes("-x") ? PEER.v6 : PEER.v4;
      const transport = ["-t", "-S", "-p", TLS_PORT, "-v"];
      expectNothingLostByTls(await uclient(RELAY.v4, peer, [...transport, "-c", "-n", "20", ...flags]));
    },
    2 * TOOL_WITHIN_MS,
  );

  it("RL-16: turnutils_stunclient learns its own address", async () => {
    const output = await host.run("turnutils_stunclient", [RELAY.v4], { withinMs: TOOL_WITHIN_MS });
    expect(output).toMatch(/UDP reflexive addr: /);
  });

  it("RL-73: a stop without anybody left ends at once, with 0", async () => {
    expect(await relay.stop()).toEqual({ status: 0, signal: undefined });
  });
});
