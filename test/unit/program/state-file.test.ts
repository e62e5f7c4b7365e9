import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createSeededRandom, ip, type Log, SILENT, toBase64, unixMs } from "../../../src/base/index.ts";
import {
  createStateBuilder,
  EMPTY_STATE,
  type StateChange,
  toChangesText,
} from "../../../src/portal/server/index.ts";
import { createStore, type Store } from "../../../src/portal/server/store.ts";
import { openStateFile, type StateFile } from "../../../src/program/portal/state-file.ts";

const folders: string[] = [];
const files: StateFile[] = [];

afterEach(async () => {
  for (const file of files.splice(0)) await file.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "postern-state-"));
  folders.push(folder);
  return folder;
}

function openAt(folder: string, log: Log = SILENT): StateFile {
  const file = openStateFile(folder, log);
  files.push(file);
  return file;
}

async function closeAll(): Promise<void> {
  for (const file of files.splice(0)) await file.close();
}

function rejection(n: number): StateChange {
  return { kind: "rejection", key: `c${n}|r`, value: { cid: `c${n}`, rid: "r", at: unixMs(n) } };
}

const NONE = () => [];

/** What a new start finds. */
async function found(folder: string): Promise<readonly string[]> {
  await closeAll();
  const cids = openAt(folder).initial.rejections.map(({ cid }) => cid);
  await closeAll();
  return cids;
}

describe("the journal", () => {
  it("PT-115: every change that was acknowledged is there after a restart, the last word counts", async () => {
    const folder = newFolder();
    const file = openAt(folder);
    await file.append([rejection(1), rejection(2)], NONE);
    await file.append([{ kind: "rejection", key: "c1|r" }], NONE);
    expect(await found(folder)).toEqual(["c2"]);
    // A second run goes on in a file of its own.
    await openAt(folder).append([rejection(3)], NONE);
    expect(readdirSync(folder).filter((name) => name.startsWith("journal"))).toHaveLength(2);
    expect(await found(folder)).toEqual(["c2", "c3"]);
    expect(statSync(join(folder, "journal-0.jsonl")).mode & 0o777).toBe(0o600);
  });

  it("PT-115: cut at any byte it gives the state after a whole number of changes, with a warning", async () => {
    const folder = newFolder();
    const file = openAt(folder);
    const ends = [0];
    const path = join(folder, "journal-0.jsonl");
    for (let n = 0; n < 4; n++) {
      await file.append([rejection(n)], NONE);
      ends.push(statSync(path).size);
    }
    await closeAll();
    const whole = readFileSync(path);
    for (let cut = 0; cut <= whole.length; cut++) {
      writeFileSync(path, whole.subarray(0, cut));
      const warn = vi.fn();
      const { initial } = openAt(folder, { ...SILENT, warn });
      expect(initial.rejections).toHaveLength(ends.filter((end) => end > 0 && end <= cut).length);
      expect(warn).toHaveBeenCalledTimes(ends.includes(cut) ? 0 : 1);
      await closeAll();
    }
  });

  it("PT-115: a line in its middle that cannot be read is exit 3, and nothing is touched", async () => {
    const folder = newFolder();
    await openAt(folder).append([rejection(1)], NONE);
    await closeAll();
    const path = join(folder, "journal-0.jsonl");
    appendFileSync(path, "[{]\n");
    const before = readFileSync(path);
    expect(() => openAt(folder)).toThrow(/journal-0\.jsonl: line 2: it is not JSON/);
    expect(readFileSync(path)).toEqual(before);
  });

  it("PT-115: after a write that failed half way the next line stands where it should", async () => {
    const folder = newFolder();
    const file = openAt(folder);
    await file.append([rejection(1)], NONE);
    // What a full disk leaves: the beginning of a line, and nobody told that it is there.
    const path = join(folder, "journal-0.jsonl");
    const { size } = statSync(path);
    appendFileSync(path, '[{"kind":"rej');
    truncateSync(path, size);
    await file.append([rejection(2)], NONE);
    expect(await found(folder)).toEqual(["c1", "c2"]);
  });
});

describe("the snapshot", () => {
  /** Grows until a snapshot was written; returns the state that should be there. */
  async function untilCompacted(folder: string, file: StateFile) {
    const builder = createStateBuilder(file.initial);
    const all = () => {
      const { rejections } = builder.state();
      return rejections.map(
        (value) => ({ kind: "rejection", key: `${value.cid}|${value.rid}`, value }) as const,
      );
    };
    for (let round = 0; round < 40; round++) {
      const changes = Array.from({ length: 1000 }, (_, n) => rejection(n % 7 === 0 ? n : round * 1000 + n));
      for (const change of changes) builder.apply(change);
      await file.append(changes, all);
    }
    await vi.waitFor(() => expect(readdirSync(folder)).toContain("state.jsonl"), 10_000);
    return builder;
  }

  it("PT-115: takes the place of the journals before it; later ones go on top", async () => {
    const folder = newFolder();
    const file = openAt(folder);
    const builder = await untilCompacted(folder, file);
    await file.append([{ kind: "rejection", key: "c0|r" }], NONE);
    builder.apply({ kind: "rejection", key: "c0|r" });
    await closeAll();
    expect(readdirSync(folder)).not.toContain("journal-0.jsonl");
    expect(readdirSync(folder)).not.toContain("state.jsonl.new");
    const { initial } = openAt(folder);
    const sorted = (state: typeof initial) => state.rejections.map(({ cid }) => cid).toSorted();
    expect(sorted(initial)).toEqual(sorted(builder.state()));
  });

  it("PT-115: a crash before or after its rename loses nothing", async () => {
    const folder = newFolder();
    const file = openAt(folder);
    await file.append([rejection(1)], NONE);
    await closeAll();
    copyFileSync(join(folder, "journal-0.jsonl"), join(folder, "kept"));
    writeFileSync(join(folder, "state.jsonl.new"), "half");
    expect(await found(folder)).toEqual(["c1"]);
    const again = openAt(folder);
    const builder = await untilCompacted(folder, again);
    await closeAll();
    // The journal that the snapshot holds is still there, as after a crash.
    copyFileSync(join(folder, "kept"), join(folder, "journal-0.jsonl"));
    expect(openAt(folder).initial.rejections).toHaveLength(builder.state().rejections.length);
    expect(readdirSync(folder)).not.toContain("journal-0.jsonl");
  });

  it("PT-115: cut short, or of another kind, it is exit 3", async () => {
    const folder = newFolder();
    await untilCompacted(folder, openAt(folder));
    await closeAll();
    const path = join(folder, "state.jsonl");
    const whole = readFileSync(path, "utf8").split("\n");
    for (const text of ["", "{", whole.slice(0, 5).join("\n"), whole.toSpliced(3, 1).join("\n")]) {
      writeFileSync(path, text);
      expect(() => openAt(folder)).toThrow(/cannot read .*state\.jsonl: /);
    }
  });

  it("PT-115: that cannot be written is a warning; the journal goes on", async () => {
    const folder = newFolder();
    mkdirSync(join(folder, "state.jsonl.new"));
    const warn = vi.fn();
    const file = openAt(folder, { ...SILENT, warn });
    for (let round = 0; round < 30; round++) {
      await file.append(
        Array.from({ length: 1000 }, (_, n) => rejection(round * 1000 + n)),
        NONE,
      );
    }
    await closeAll();
    expect(warn).toHaveBeenCalledWith(
      "cannot write a snapshot of the state; the journal goes on",
      expect.anything(),
    );
    expect(openAt(folder).initial.rejections).toHaveLength(30_000);
  });

  it("PT-115: the document of an earlier version is read, and goes with the first snapshot", async () => {
    const folder = newFolder();
    const document = {
      version: 1,
      devices: [],
      gateways: [],
      authorizations: [],
      rejections: [rejection(1).value],
    };
    writeFileSync(join(folder, "state.json"), JSON.stringify(document));
    const file = openAt(folder);
    expect(file.initial.rejections).toHaveLength(1);
    await untilCompacted(folder, file);
    await vi.waitFor(() => expect(readdirSync(folder)).not.toContain("state.json"));
  });
});

describe("100,000 devices", () => {
  const COUNT = 100_000;
  const key = (n: number) => {
    const bytes = new Uint8Array(32);
    new DataView(bytes.buffer).setUint32(0, n);
    return bytes;
  };
  const introduction = (n: number) => ({
    ownerId: "54dae952-00f6-509f-850a-f1a411e43cfe",
    tokenHash: "47c6eef6e35e2bfcc40cb9550e1b4019bd7f531369f96d0b6634777e4c4996ae",
    externalId: n.toString(16).padStart(64, "0"),
    name: `laptop ${n}`,
    publicKey: key(n),
    version: "1.5.0",
    remote: ip("192.0.2.1"),
    device: {},
    seenAt: unixMs(n),
  });
  const peer = (n: number) => ({
    ...introduction(n),
    id: `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`,
    publicKey: toBase64(key(n)),
    pskBase: toBase64(key(n)),
    ipv4: `100.${64 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`,
    ipv6: `fd00:2021:1111::${(n >> 16).toString(16)}:${(n & 0xffff).toString(16)}`,
    remote: "192.0.2.1",
    isHardwareChanged: false,
  });

  /** Processor time and not the clock: other tests run beside this one. */
  function processorMs<T>(work: () => T): { readonly result: T; readonly ms: number } {
    const before = process.cpuUsage();
    const result = work();
    const { user, system } = process.cpuUsage(before);
    return { result, ms: (user + system) / 1000 };
  }

  /** Of 51 changes each, in turn: whatever slows the disk slows all. */
  async function mediansOfChange(
    files: readonly { readonly file: StateFile; readonly store: Store }[],
  ): Promise<readonly number[]> {
    const times: number[][] = files.map(() => []);
    for (let n = 0; n < 51; n++) {
      for (const [i, { file, store }] of files.entries()) {
        const before = performance.now();
        store.create("client", introduction(COUNT * 2 + n));
        await file.append(store.takeChanges(), () => store.snapshot());
        times[i]?.push(performance.now() - before);
      }
    }
    return times.map((list) => list.toSorted((a, b) => a - b)[25] ?? Number.NaN);
  }

  it("PT-115: start in seconds, and a change costs what it costs with none", {
    timeout: 120_000,
  }, async () => {
    const folder = newFolder();
    const lines = [`{"version":2,"journal":0}\n`];
    for (let n = 1; n <= COUNT; n++) {
      const value = peer(n);
      lines.push(toChangesText([{ kind: "device", key: value.id, value }]));
    }
    lines.push(`{"records":${COUNT}}\n`);
    writeFileSync(join(folder, "state.jsonl"), lines.join(""));
    // What the runtime needs for the text alone is the measure: a busy machine slows both.
    const text = processorMs(() => lines.forEach((line) => void JSON.parse(line)));
    const file = processorMs(() => openAt(folder));
    const store = processorMs(() => createStore(file.result.initial, createSeededRandom(1)));
    const startMs = file.ms + store.ms;
    const [withAllMs = Number.NaN, withNoneMs = Number.NaN] = await mediansOfChange([
      { file: file.result, store: store.result },
      { file: openAt(newFolder()), store: createStore(EMPTY_STATE, createSeededRandom(1)) },
    ]);
    const figures = { parseMs: text.ms, startMs, withAllMs, withNoneMs };
    console.info("100,000 devices:", JSON.stringify(figures));
    expect(store.result.get("client", peer(COUNT).id)?.ipv4).toEqual(ip(peer(COUNT).ipv4));
    // A guard against what grows with more than the text: 6 to 8 times is usual, garbage collection included.
    expect(startMs, JSON.stringify(figures)).toBeLessThan(text.ms * 16);
    expect(withAllMs, JSON.stringify(figures)).toBeLessThan(withNoneMs * 3 + 2);
  });
});
