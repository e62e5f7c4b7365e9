/**
 * Coverage (TS-37): which blocks of our TypeScript and of the plane do unit, model, world and fuzz tests reach?
 *
 *   npm run test:coverage                 runs them, prints shares by room, checks the ceilings
 *       -- --write                        writes ceilings.json: files may only get better
 *       -- --show src/stun/message.ts     after a run: the lines whose blocks nothing has reached
 *       -- --add src/stun/new.ts          after a run of that file's tests by vitest.coverage.config.ts: its ceiling, where
 *                                         it has none; what only other tests reach counts as unreached then
 *       -- --report                       without running anything
 *
 * Of a file of the plane the module counts that reaches most of it: some are tested in a small one of their own.
 * A block is a function, a branch, an alternative, a case, or the right side of `&&`, `||`, `??`, with the counters of
 * the fuzz loop. Programs that tests start in other processes count for nothing here.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BIN, filesBelow, ROOT, run } from "../../scripts/steps.mjs";
import { instrument } from "../fuzz/loop/instrument.mjs";
import { MODULES } from "./modules.mjs";

const FOLDER = join(ROOT, ".cache", "coverage");
const CEILINGS = join(ROOT, "test", "covered", "ceilings.json");
const SUITES = ["test/unit", "test/model", "test/sim", "test/fuzz"];
/** Rooms of `src` that are no machines: programs, hosts, what people type, and the library's face. */
const SHELLS = ["cli", "host", "library", "program"];
/** Of all blocks; of a machine's room. A block is stricter than a line. */
const [SHARE_OVERALL, SHARE_OF_MACHINES] = [0.75, 0.85];

/** By file or module: the numbers of the blocks that anything has reached. */
function readReached() {
  const reached = new Map();
  for (const name of existsSync(FOLDER) ? readdirSync(FOLDER) : []) {
    for (const [path, blocks] of Object.entries(JSON.parse(readFileSync(join(FOLDER, name), "utf8")))) {
      const known = reached.get(path) ?? new Set();
      for (const block of blocks) known.add(block);
      reached.set(path, known);
    }
  }
  return reached;
}

/** By file: how many blocks there are, and where those lie that nothing has reached. */
function measure() {
  const reached = readReached();
  const files = new Map();
  for (const path of ["src", "bindings"].flatMap((folder) => filesBelow(folder, ".ts")).sort()) {
    const text = readFileSync(join(ROOT, path), "utf8");
    const { places } = instrument(text, 0);
    if (places.length === 0) continue;
    const missed = places.filter((_, block) => !reached.get(path)?.has(block));
    files.set(path, { blocks: places.length, missed: missed.map((at) => lineOf(text, at)) });
  }
  for (const [hash, blocks] of reached) {
    if (existsSync(join(MODULES, `${hash}.json`))) addModule(files, hash, blocks);
  }
  return files;
}

/** The files of one module; what is missed there is told by the names of functions. */
function addModule(files, hash, reached) {
  const own = new Map();
  for (const [block, name] of JSON.parse(readFileSync(join(MODULES, `${hash}.json`), "utf8")).entries()) {
    const [, path] = /^(assembly\/(?!__tests__|crypto\/aead).*)\/[^/]+$/.exec(name) ?? [];
    if (path === undefined) continue;
    const file = own.get(`${path}.ts`) ?? { blocks: 0, missed: [] };
    own.set(`${path}.ts`, file);
    file.blocks++;
    if (!reached.has(block)) file.missed.push(name);
  }
  for (const [path, file] of own) {
    const known = files.get(path);
    const share = (of) => of.missed.length / of.blocks;
    if (known === undefined || share(file) < share(known)) files.set(path, file);
  }
}

function lineOf(text, at) {
  return text.slice(0, at).split("\n").length;
}

function roomOf(path) {
  return path.split("/").slice(0, 2).join("/");
}

function sharesOf(files) {
  const rooms = new Map();
  for (const [path, { blocks, missed }] of files) {
    const room = rooms.get(roomOf(path)) ?? { blocks: 0, missed: 0 };
    rooms.set(roomOf(path), { blocks: room.blocks + blocks, missed: room.missed + missed.length });
  }
  return rooms;
}

function isMachine(room) {
  return room.startsWith("src/") && !room.endsWith(".ts") && !SHELLS.includes(room.slice("src/".length));
}

function shareOf({ blocks, missed }) {
  return 1 - missed / blocks;
}

function readCeilings() {
  return existsSync(CEILINGS) ? JSON.parse(readFileSync(CEILINGS, "utf8")) : undefined;
}

/** Of each file that is there and has blocks nothing reaches: all others have the ceiling 0. */
function writeCeilings(ceilings) {
  const kept = Object.entries(ceilings).filter(
    ([path, missed]) => missed > 0 && existsSync(join(ROOT, path)),
  );
  const text = Object.fromEntries(kept);
  writeFileSync(CEILINGS, `${JSON.stringify(text, undefined, 2)}\n`);
}

/** Ceilings of files that came after the last whole run. */
function addCeilings(files, paths) {
  const ceilings = { ...readCeilings() };
  for (const path of paths) {
    if (!files.has(path)) throw new Error(`${path}: no such file with blocks below src, bindings`);
    ceilings[path] ??= files.get(path).missed.length;
  }
  // In the order of a whole run; one of a few tests knows nothing of the plane.
  const order = new Set([...files.keys(), ...Object.keys(ceilings)]);
  writeCeilings(
    Object.fromEntries([...order].filter((path) => path in ceilings).map((path) => [path, ceilings[path]])),
  );
}

/** How many blocks of a file nothing may reach, in words. */
function allowed(ceilings, path) {
  return path in ceilings ? `${ceilings[path]} were` : "and it has no ceiling, which is 0 (--add, or tests)";
}

/** What is wrong, each as a line. */
function faultsOf(files, rooms) {
  const ceilings = readCeilings();
  const sum = { blocks: 0, missed: 0 };
  for (const room of rooms.values()) {
    sum.blocks += room.blocks;
    sum.missed += room.missed;
  }
  console.log(`${"all".padEnd(24)} ${percent(sum)} of ${sum.blocks} blocks`);
  const low = [...rooms].filter(([room, of]) => isMachine(room) && shareOf(of) < SHARE_OF_MACHINES);
  const worse = ceilings && [...files].filter(([path, { missed }]) => missed.length > (ceilings[path] ?? 0));
  return [
    ...(shareOf(sum) < SHARE_OVERALL ? [`all: ${percent(sum)} is less than ${SHARE_OVERALL}`] : []),
    ...low.map(([room, of]) => `${room}: ${percent(of)} is less than ${SHARE_OF_MACHINES}`),
    ...(worse ?? []).map(
      ([path, { missed, blocks }]) =>
        `${path}: ${missed.length} of ${blocks} blocks unreached, ${allowed(ceilings, path)}`,
    ),
  ];
}

function percent(of) {
  return `${(100 * shareOf(of)).toFixed(1)} %`;
}

async function main(args) {
  const { values } = parseArgs({
    args,
    options: {
      ...{ write: { type: "boolean" }, report: { type: "boolean" }, show: { type: "string" } },
      add: { type: "string", multiple: true },
    },
  });
  if (values.report !== true && values.show === undefined && values.add === undefined) {
    rmSync(FOLDER, { recursive: true, force: true });
    // Makes the small module of the packet rooms, as every test that uses it does.
    await run(join(BIN, "vitest"), ["run", "test/unit/plane/checksum.test.ts"]);
    const { makeModules } = await import("./wasm.mjs");
    await makeModules();
    const vitest = ["run", "--config", "vitest.coverage.config.ts", ...SUITES];
    const { status } = await run(join(BIN, "vitest"), vitest, { show: true });
    if (status !== 0) console.error("some tests failed: what they would have reached is missing below");
  }
  const files = measure();
  if (values.show !== undefined) {
    console.log(
      [...new Set(files.get(values.show)?.missed ?? [])].map((place) => `${values.show}:${place}`).join("\n"),
    );
    return 0;
  }
  if (values.add !== undefined) {
    addCeilings(files, values.add);
    return 0;
  }
  const rooms = sharesOf(files);
  for (const [room, of] of rooms) console.log(`${room.padEnd(24)} ${percent(of)} of ${of.blocks} blocks`);
  if (values.write === true) {
    writeCeilings(Object.fromEntries([...files].map(([path, { missed }]) => [path, missed.length])));
  }
  const faults = faultsOf(files, rooms);
  for (const fault of faults) console.error(fault);
  return faults.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
