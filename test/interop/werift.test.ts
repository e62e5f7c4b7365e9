/**
 * The ICE agent and the relay with werift, an independent ICE and TURN client in TypeScript (TS-32), all on one machine:
 *
 *     192.0.2.1 one agent ──┐
 *                           ├─ 198.51.100.7  postern relay: 3478 UDP, 3481 TCP, 5349 TLS
 *     192.0.2.2 other agent ┘
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { relayCredentials } from "../../src/turn/index.ts";
import { describeWith } from "../lib/requirements.ts";

const MAIN = join(import.meta.dirname, "../../build/program/main.js");
const SECRET = "a secret of the test";
const RELAY = "198.51.100.7";
const AGENTS = ["192.0.2.1", "192.0.2.2"] as const;
const PORTS = { udp: 3478, tcp: 3481, tls: 5349 } as const;
const AGENTS_FILE = join(import.meta.dirname, "werift-agents.mjs");
const CERTIFICATE = join(import.meta.dirname, "../vectors/portal/localhost.crt");
const KEY = join(import.meta.dirname, "../vectors/portal/localhost.key");
const READY_WITHIN_MS = 15_000;
const AGENTS_WITHIN_MS = 30_000;

type Kind = "ours" | "theirs";
type Transport = keyof typeof PORTS;

describeWith(["netns", "build"], "werift", () => {
  let lab: Lab;
  let host: Namespace;
  let relay: Child;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "postern-werift-"));
    writeFileSync(join(folder, "secret"), SECRET);
    chmodSync(join(folder, "secret"), 0o600);
    lab = createLab();
    host = await lab.add("werift");
    // werift takes no addresses of loopback for candidates.
    await host.ip(
      "link add agents type veth peer name unused",
      "link set agents up",
      "link set unused up",
      `addr add ${RELAY}/32 dev lo`,
    );
    await host.ip(...AGENTS.map((address) => `addr add ${address}/24 dev agents`));
    relay = host.start({
      name: "relay",
      command: process.execPath,
      args: [
        ...[MAIN, "relay", "--public-ip4", RELAY, "--stand-alone", "--drain", "1s"],
        ...["--stamp-secret-path", join(folder, "secret")],
        ...["--tcp-listen", `${RELAY}:${PORTS.tcp}`, "--dev-insecure"],
        ...["--tls-listen", `${RELAY}:${PORTS.tls}`, "--tls-cert", CERTIFICATE, "--tls-key", KEY],
      ],
    });
    await relay.waitForLine(/ ready /, { withinMs: READY_WITHIN_MS, stream: "stderr" });
  }, 60_000);

  afterAll(async () => {
    await lab?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** One user per agent: the relay keeps one allocation of each (RL-17). */
  function relayFor(salt: string, transport: Transport) {
    const expiry = Math.floor(Date.now() / 1000) + 3600;
    return { server: [RELAY, PORTS[transport]], transport, ...relayCredentials(SECRET, { expiry, salt }) };
  }

  async function connect(kinds: readonly [Kind, Kind], turn: readonly unknown[] = []): Promise<unknown[]> {
    const plan = JSON.stringify({ kinds, addresses: AGENTS, turn, ca: CERTIFICATE });
    const output = await host.run(process.execPath, [AGENTS_FILE, plan], { withinMs: AGENTS_WITHIN_MS });
    return output
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
  }

  it("SN-48, SN-56: our controlling agent and theirs select a pair, and data passes both ways", async () => {
    expect(await connect(["ours", "theirs"])).toEqual([
      { local: "host", remote: expect.stringMatching(/host|prflx/), received: "word of theirs 1" },
      { local: "host", remote: expect.stringMatching(/host|prflx/), received: "word of ours 0" },
    ]);
  }, 60_000);

  it("SN-53, SN-57: our controlled agent takes what theirs nominates", async () => {
    expect(await connect(["theirs", "ours"])).toEqual([
      { local: "host", remote: expect.stringMatching(/host|prflx/), received: "word of ours 1" },
      { local: "host", remote: expect.stringMatching(/host|prflx/), received: "word of theirs 0" },
    ]);
  }, 60_000);

  it.each(["udp", "tcp", "tls"] as const)(
    "RL-27, RL-45, RL-201: two of theirs meet at our relay by %s",
    async (transport) => {
      const turn = ["a".repeat(43), "b".repeat(43)].map((salt) => relayFor(salt, transport));
      expect(await connect(["theirs", "theirs"], turn)).toEqual([
        { local: "relay", remote: expect.stringMatching(/relay|prflx/), received: "word of theirs 1" },
        { local: "relay", remote: expect.stringMatching(/relay|prflx/), received: "word of theirs 0" },
      ]);
    },
    60_000,
  );

  it.each([
    [
      ["ours", "theirs"],
      [undefined, "udp"],
    ],
    [
      ["theirs", "ours"],
      ["tls", undefined],
    ],
  ] as const)(
    "RL-42, RL-43: our agent meets theirs behind our relay, %j",
    async (kinds, transports) => {
      const turn = transports.map((transport) => transport && relayFor("c".repeat(43), transport));
      const relayed = kinds.indexOf("theirs");
      const selected = await connect(kinds, turn);
      expect(selected[relayed]).toMatchObject({ local: "relay", received: expect.stringContaining("ours") });
      expect(selected[1 - relayed]).toMatchObject({ received: expect.stringContaining("theirs") });
    },
    60_000,
  );
});
