/** What can be asked of `postern wg` while it has much to do (WG-66, WG-67). */
import { expect, it } from "vitest";
import { instant, SILENT } from "../../../../src/base/index.ts";
import type { PlaneHost, Shell } from "../../../../src/program/shell/index.ts";
import { createWgControl } from "../../../../src/program/wg/wg-control.ts";
import type { WgInterface, WgPeerStatus, WgSet } from "../../../../src/wg/index.ts";

const PEERS = 1000;
const NOW = instant(1_000_000);

/** A control whose turns the test counts; what the machine was given in each, and what was held. */
function controlled({
  bind = async () => {},
  pieces = 0,
  perPiece = 0,
}: {
  bind?: () => Promise<void>;
  pieces?: number;
  perPiece?: number;
} = {}) {
  const log: string[] = [];
  const given: {
    readonly peers: number;
    readonly holdsRoutes: boolean | undefined;
    readonly turn: number;
  }[] = [];
  let turns = 0;
  const machine = {
    *refusalInSteps() {
      yield;
      return undefined;
    },
    set(_: unknown, change: WgSet, part?: { readonly holdsRoutes: boolean }) {
      given.push({ peers: change.peers.length, holdsRoutes: part?.holdsRoutes, turn: turns });
    },
    privateKey: () => undefined,
    publicKey: () => new Uint8Array(32),
    drops: () => ({ ofTurn: turns }),
    peerStats: () => ({ loss: 0, rttMs: 7, drops: {} }),
    *peersInPieces() {
      // Looked up when it is asked for, as the machine does.
      for (let i = 0; i < pieces; i++) yield Array.from({ length: perPiece }, () => peerSeenIn(turns));
    },
  } as unknown as WgInterface;
  const host = {
    rtnetlink: { links: () => [] },
    sockets: () => ({ v4: { port: 51820 } }),
    choice: { name: "turbofan" },
    plane: { counters: () => ({ egress: {}, ingress: {} }) },
    rebind: bind,
  } as unknown as PlaneHost;
  const shell: Shell = { input: (give) => give(NOW), stop: () => {} };
  const nextTurn = async (): Promise<void> => {
    turns++;
  };
  const control = createWgControl({ name: "wg0", host, shell, machine, mark: 0, log: SILENT, nextTurn });
  const note = (what: string) => (answer: string) =>
    void log.push(`${what} ${answer.trim().split("\n").at(-1)}`);
  return { control, given, log, note, turns: () => turns };
}

function peerSeenIn(turn: number): WgPeerStatus {
  return {
    publicKey: new Uint8Array(32).fill(turn),
    presharedKey: new Uint8Array(32).fill(0x77),
    endpoint: undefined,
    lastHandshakeUnixMs: 0,
    txBytes: turn,
    rxBytes: 0,
    keepaliveSeconds: 0,
    allowedIps: [],
  };
}

function linesOf(peers: number, more: readonly string[] = []): readonly string[] {
  return Array.from({ length: peers }, (_, i) => [
    `public_key=${(i + 1).toString(16).padStart(64, "0")}`,
    ...more,
  ]).flat();
}

it("WG-67: a thousand peers are set 64 in a turn, routes with the last of them", async () => {
  const { control, given, turns } = controlled();
  expect(await control.answer({ kind: "set", lines: linesOf(PEERS) })).toBe("errno=0\n\n");
  expect(given.map(({ peers }) => peers)).toEqual([...Array(15).fill(64), 40]);
  expect(given.map(({ holdsRoutes }) => holdsRoutes)).toEqual([...Array(15).fill(true), false]);
  expect(new Set(given.map(({ turn }) => turn)).size).toBe(16);
  // Judging took a turn of its own, and reading none: it was less than a step.
  expect(turns()).toBe(17);
});

it("WG-67: routes of peers that go are not held, since others get their places", async () => {
  const { control, given } = controlled();
  await control.answer({ kind: "set", lines: ["replace_peers=true", ...linesOf(100)] });
  await control.answer({ kind: "set", lines: linesOf(100, ["remove=true"]) });
  expect(given.map(({ holdsRoutes }) => holdsRoutes)).toEqual([false, false, false, false]);
});

it("WG-67: a long change is read in turns, too", async () => {
  const { control, turns } = controlled();
  const lines = linesOf(2000, ["replace_allowed_ips=true"]);
  await control.answer({ kind: "set", lines });
  // 4,000 lines have three steps between them.
  expect(turns()).toBe(Math.ceil(2000 / 64) + 1 + 3);
});

it("WG-67: an answer about many peers is made in turns", async () => {
  const { control, turns } = controlled({ pieces: 10 });
  expect(await control.answer({ kind: "get" })).toBe("listen_port=51820\nerrno=0\n\n");
  expect(turns()).toBe(9);
});

it("WG-67, PG-143: a snapshot of many peers is one line, made in turns, without secrets", async () => {
  const { control, turns } = controlled({ pieces: 10, perPiece: 3 });
  const line = await control.snapshot();
  expect(turns()).toBe(10);
  expect(line).not.toContain("\n");
  const said = JSON.parse(line);
  expect(said).toMatchObject({ interface: "wg0", cipher: "turbofan", listenPort: 51820, fwMark: 0 });
  expect(said.peers.map(({ txBytes }: { txBytes: number }) => txBytes)).toEqual(
    Array.from({ length: 30 }, (_, i) => Math.floor(i / 3)),
  );
  expect(said.peers[0]).toMatchObject({ hasPresharedKey: true, rttMs: 7 });
  expect(line).not.toContain("d3d3d3");
});

it.each([
  ["no peers", 0, 0],
  ["peers that have all gone", 3, 0],
])("PG-143: a snapshot with %s has an empty list", async (_, pieces, perPiece) => {
  const { control } = controlled({ pieces, perPiece });
  expect(JSON.parse(await control.snapshot()).peers).toEqual([]);
});

it("PG-143: snapshots follow each other, and one waits at most", async () => {
  const { control } = controlled({ pieces: 3, perPiece: 1 });
  const asked = [control.snapshot(), control.snapshot(), control.snapshot(), control.snapshot()];
  const turnOf = (line: string): number => JSON.parse(line).drops.ofTurn;
  // The last two share what the second has asked for, which begins behind the first's three turns.
  expect((await Promise.all(asked)).map(turnOf)).toEqual([0, 3, 3, 3]);
  expect(turnOf(await control.snapshot())).toBe(6);
});

it("WG-66: who only looks is answered in between, but not while there is no port", async () => {
  let bound = (): void => {};
  const { control, log, note } = controlled({ bind: () => new Promise((resolve) => (bound = resolve)) });
  const set = control.answer({ kind: "set", lines: linesOf(PEERS) }).then(note("set"));
  await control.answer({ kind: "get" }).then(note("get"));
  await set;
  expect(log).toEqual(["get errno=0", "set errno=0"]);
  const rebinding = control.rebind();
  await Promise.resolve();
  const get = control.answer({ kind: "get" }).then(note("late get"));
  bound();
  await rebinding.then(() => log.push("bound"));
  await get;
  expect(log.slice(2)).toEqual(["bound", "late get errno=0"]);
});
