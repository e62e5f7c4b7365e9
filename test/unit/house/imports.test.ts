import { describe, expect, it } from "vitest";
import { codeOf, findCircle, importsOf, type Source, sourcesBelow } from "./sources.ts";

interface Room {
  /** Rooms whose files it may import. */
  readonly rooms: readonly string[];
  /** Packages and `node:*`; a name stands for everything below it. */
  readonly packages?: readonly string[];
  /** Machines know no clock, timer, chance or runtime (D-2, TS-1). */
  readonly isMachine?: true;
}

const NOBLE = ["@noble/ciphers", "@noble/curves", "@noble/hashes"];

/** D-1: from the bottom upwards. Whoever needs another arrow argues for it in docs/design.md. */
const ROOMS: Readonly<Record<string, Room>> = {
  "src/base": { rooms: [], isMachine: true },
  "src/plane": { rooms: ["src/base"], isMachine: true },
  "src/stun": { rooms: ["src/base"], packages: NOBLE, isMachine: true },
  "src/wireguard": { rooms: ["src/base", "src/plane"], packages: NOBLE, isMachine: true },
  "src/ice": { rooms: ["src/base", "src/stun"], packages: NOBLE, isMachine: true },
  "src/turn": { rooms: ["src/base", "src/stun"], packages: NOBLE, isMachine: true },
  "src/relay": {
    rooms: ["src/base", "src/plane", "src/stun", "src/turn"],
    packages: NOBLE,
    isMachine: true,
  },
  "src/tcp": { rooms: ["src/base", "src/packet"], packages: NOBLE, isMachine: true },
  "src/dns": { rooms: ["src/base", "src/packet", "src/tcp"], isMachine: true },
  "src/packet": { rooms: ["src/base"], isMachine: true },
  "src/stack": { rooms: ["src/base", "src/packet", "src/tcp"], isMachine: true },
  "src/portal/protocol": { rooms: ["src/base"], packages: [...NOBLE, "valibot"], isMachine: true },
  "src/connections": {
    rooms: ["src/base", "src/plane", "src/stun", "src/ice", "src/turn", "src/wireguard", "src/packet"],
    packages: NOBLE,
    isMachine: true,
  },
  "src/tunnel": {
    rooms: [
      "src/base",
      "src/plane",
      "src/packet",
      "src/connections",
      "src/dns",
      "src/wireguard",
      "src/portal/protocol",
    ],
    packages: NOBLE,
    isMachine: true,
  },
  "src/wg": { rooms: ["src/base", "src/plane", "src/packet", "src/wireguard"], isMachine: true },
  "src/portal": { rooms: ["src/base", "src/portal/protocol"], packages: NOBLE, isMachine: true },
  "src/portal/server": {
    rooms: ["src/base", "src/portal", "src/portal/protocol"],
    packages: [...NOBLE, "valibot"],
    isMachine: true,
  },
  "src/portal/config": {
    rooms: ["src/base", "src/portal", "src/portal/protocol", "src/portal/server"],
    packages: ["yaml", "valibot"],
    isMachine: true,
  },
  "bindings/runtime": { rooms: [], packages: ["node:"] },
  "bindings/sys": { rooms: ["src/base", "bindings/runtime"], packages: ["node:", "koffi"] },
  "bindings/linux": { rooms: ["src/base", "bindings/sys"], packages: ["node:"] },
  "bindings/memory": {
    rooms: ["src/base", "bindings/sys"],
    packages: ["@assemblyscript/loader"],
  },
  "bindings/table": { rooms: ["src/base", "src/plane", "bindings/linux", "bindings/memory"] },
  "bindings/ring": {
    rooms: ["src/base", "src/plane", "src/packet", "bindings/memory", "bindings/table"],
  },
  "bindings/thread": { rooms: ["bindings/runtime"], packages: ["node:"] },
  "bindings/worker": {
    rooms: [
      "src/base",
      "bindings/sys",
      "bindings/linux",
      "bindings/memory",
      "bindings/ring",
      "bindings/thread",
    ],
  },
  "bindings/cipher": { rooms: ["src/base", "bindings/runtime"], packages: ["node:", "@noble/ciphers"] },
  "bindings/plane": {
    rooms: [
      "src/base",
      "src/plane",
      "bindings/sys",
      "bindings/linux",
      "bindings/memory",
      "bindings/table",
      "bindings/ring",
      "bindings/thread",
      "bindings/worker",
    ],
  },
  "bindings/relay": {
    rooms: [
      "src/base",
      "src/plane",
      "bindings/runtime",
      "bindings/linux",
      "bindings/memory",
      "bindings/ring",
      "bindings/table",
      "bindings/thread",
      "bindings/worker",
    ],
  },
  "src/host": {
    rooms: ["src/base", "src/dns", "bindings/runtime", "bindings/sys", "bindings/linux"],
    packages: ["node:"],
  },
  "src/program": { rooms: ["*"], packages: ["node:", "ws", ...NOBLE, "valibot"] },
  "src/cli": { rooms: ["src/base", "src/program"], packages: ["node:"] },
  // The library's face: what embeds is beside the command line, not below it.
  "src/library": { rooms: ["src/base", "src/portal/protocol", "src/program"], packages: ["node:"] },
  src: { rooms: ["*"] },
  // The packet plane: what every file needs stands directly in the folder.
  assembly: { rooms: [] },
  "assembly/crypto": { rooms: ["assembly"] },
  "assembly/packet": { rooms: ["assembly"] },
  "assembly/segment": { rooms: ["assembly", "assembly/packet"] },
  "assembly/table": { rooms: ["assembly"] },
  "assembly/guard": { rooms: ["assembly", "assembly/crypto", "assembly/table"] },
  "assembly/batch": {
    rooms: [
      "assembly",
      "assembly/crypto",
      "assembly/guard",
      "assembly/packet",
      "assembly/segment",
      "assembly/table",
    ],
  },
  "assembly/loop": {
    rooms: [
      "assembly",
      "assembly/crypto",
      "assembly/guard",
      "assembly/batch",
      "assembly/segment",
      "assembly/table",
    ],
  },
  "assembly/relay": { rooms: ["assembly", "assembly/loop"] },
  // The module's face, alone: it exports what the other rooms have.
  "assembly/index.ts": {
    rooms: ["assembly", "crypto", "packet", "segment", "table", "batch", "loop"].map((name) =>
      name === "assembly" ? name : `assembly/${name}`,
    ),
  },
};

/** The room of a file: the longest name in the table that contains it. */
function roomOf(path: string): string {
  const names = Object.keys(ROOMS).filter((name) => path === name || path.startsWith(`${name}/`));
  return names.sort((a, b) => b.length - a.length)[0] ?? `${path} (in no room)`;
}

/** `src/program` may import everything below it; the rooms above it are these. */
function mayImport(from: string, to: string): boolean {
  const { rooms } = ROOMS[from] ?? { rooms: [] };
  if (rooms.includes(to)) return true;
  const isPlane = to.startsWith("assembly");
  if (to === "src/library") return from === "src";
  return rooms.includes("*") && !isPlane && to !== "src/cli" && to !== "src";
}

function mayUse(room: string, name: string): boolean {
  return (ROOMS[room]?.packages ?? []).some(
    (allowed) =>
      name === allowed || name.startsWith(`${allowed}/`) || (allowed === "node:" && name.startsWith("node:")),
  );
}

const SOURCES: readonly Source[] = ["src", "bindings", "assembly"]
  .flatMap(sourcesBelow)
  .filter(({ path }) => !path.includes("/__tests__/"));

describe("the picture of imports", () => {
  it("D-1: every file imports only from its own room and from rooms that the table allows", () => {
    const wrong: string[] = [];
    for (const { path, imports } of SOURCES) {
      const from = roomOf(path);
      for (const { target, isOurs } of imports) {
        const to = isOurs ? roomOf(target) : target;
        const isAllowed = isOurs ? to === from || mayImport(from, to) : mayUse(from, target);
        if (!isAllowed) wrong.push(`${path} imports ${isOurs ? target : `'${target}'`}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it("D-1: the table itself has no circle", () => {
    const edges = Object.entries(ROOMS).map(([name, { rooms }]) => {
      const below = rooms.includes("*")
        ? Object.keys(ROOMS).filter((to) => mayImport(name, to) && to !== name)
        : rooms;
      return [name, below] as const;
    });
    expect(findCircle(new Map(edges))).toBeUndefined();
  });

  it("D-1: no files import each other in a circle, types included", () => {
    const edges = SOURCES.map(({ path, imports }) => {
      const ours = imports.filter(({ isOurs }) => isOurs);
      return [path, ours.map(({ target }) => target)] as const;
    });
    expect(findCircle(new Map(edges))).toBeUndefined();
  });

  it("style §2: other rooms come in by a room's face", () => {
    const faces = new Set(SOURCES.map(({ path }) => path).filter((path) => path.endsWith("/index.ts")));
    const isBeside = (from: string, to: string) =>
      // The portal's file and its decisions are two halves of one room.
      from === "src/portal/config" && to === "src/portal/server";
    const wrong = SOURCES.filter(({ path }) => !path.startsWith("assembly/")).flatMap(({ path, imports }) =>
      imports
        .filter(({ isOurs }) => isOurs)
        .filter(({ target }) => {
          const [from, to] = [roomOf(path), roomOf(target)];
          const face = `${to}/index.ts`;
          return to !== from && !isBeside(from, to) && faces.has(face) && target !== face;
        })
        .map(({ target }) => `${path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it("style §2: inside a room nobody imports the room's own index", () => {
    // The entry of the AEAD alone stands above their room's face.
    const inner = SOURCES.filter(({ path }) => path !== "assembly/crypto/exports.ts");
    const wrong = inner.flatMap(({ path, imports }) => {
      const index = `${roomOf(path)}/index.ts`;
      return imports.some(({ target }) => target === index) ? [path] : [];
    });
    expect(wrong).toEqual([]);
  });
});

/** What would make a machine depend on the world (TS-1). */
const WORLD =
  /\bDate\.now\b|\bnew Date(\(\)|\b(?!\())|\b(performance|process|setTimeout|setInterval|setImmediate|queueMicrotask|Deno|Bun|Buffer)\b|Math\.random|getRandomValues|\bawait\b|\basync\b|\bPromise\b/;

describe("machines", () => {
  it("TS-1: name no clock, timer, chance, promise or runtime", () => {
    const wrong = SOURCES.filter(({ path }) => ROOMS[roomOf(path)]?.isMachine).flatMap(({ path, text }) => {
      const found = WORLD.exec(codeOf(text));
      return found === null ? [] : [`${path}: ${found[0]}`];
    });
    expect(wrong).toEqual([]);
  });
});

describe("the tests of imports themselves", () => {
  it("TS-1: see every form of import, and code only", () => {
    const text = `
      import type { A } from "../a/index.ts";`.replace(/^\s+/gm, "");
    expect(importsOf("src/b/c.ts", text)).toEqual([{ target: "src/a/index.ts", isType: true, isOurs: true }]);
    expect(importsOf("src/b/c.ts", 'import {\n  x,\n} from "./d.ts";\nimport "node:fs";')).toEqual([
      { target: "src/b/d.ts", isType: false, isOurs: true },
      { target: "node:fs", isType: false, isOurs: false },
    ]);
    expect(importsOf("src/b/c.ts", 'const m = await import("../e.ts");')).toMatchObject([
      { target: "src/e.ts" },
    ]);
    expect(WORLD.test(codeOf('// Date.now()\nconst a = "performance"; /* await */'))).toBe(false);
    for (const code of ["Date.now()", "new Date()", "const f = Date.now;", "await x", "process.env"]) {
      expect(WORLD.test(codeOf(code)), code).toBe(true);
    }
    for (const code of ["Date.parse(text)", "new Date(ms)", "Date.UTC(2026, 0)", "Intl.DateTimeFormat"]) {
      expect(WORLD.test(codeOf(code)), code).toBe(false);
    }
  });

  it("PT-7: JSON from outside is parsed by `parseJson`, which limits its depth", () => {
    const ownText = [
      "src/base/json.ts",
      // What the package, the log, nft, the demo's own tools and the lab's wire wrote.
      "src/cli/command-line.ts",
      "src/host/firewall.ts",
      "src/program/demo/measure.ts",
      "src/program/log-format.ts",
      "src/program/lab/wire.ts",
    ];
    const parsing = sourcesBelow("src")
      .filter(({ text }) => codeOf(text).includes("JSON.parse"))
      .map(({ path }) => path);
    expect(parsing.filter((path) => !ownText.includes(path))).toEqual([]);
  });

  it("D-1: find arrows upwards and circles", () => {
    expect(mayImport("src/stun", "src/ice")).toBe(false);
    expect(mayImport("src/ice", "src/stun")).toBe(true);
    expect(mayImport("src/program", "src/cli")).toBe(false);
    expect(mayImport("src/program", "assembly/batch")).toBe(false);
    expect(mayUse("src/stun", "node:fs")).toBe(false);
    expect(mayUse("src/stun", "@noble/hashes/sha2.js")).toBe(true);
    expect(
      findCircle(
        new Map([
          ["a", ["b"]],
          ["b", ["c"]],
          ["c", ["a"]],
        ]),
      ),
    ).toEqual(["a", "b", "c", "a"]);
    expect(
      findCircle(
        new Map([
          ["a", ["b", "c"]],
          ["b", ["c"]],
        ]),
      ),
    ).toBeUndefined();
    expect(roomOf("src/portal/protocol/x.ts")).toBe("src/portal/protocol");
    expect(roomOf("src/unknown/x.ts")).toBe("src");
  });
});
