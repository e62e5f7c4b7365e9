/**
 * The AEAD against OpenSSL's, one thread (G-5): verifies every kernel of this runtime, then measures.
 *
 *   node bench/aead.mjs [--kernel NAME] [--rounds 5] [--sizes 64,1280,1420,16384] [--verify] [--json]
 *
 * Sealing is in batches of 32 with deferred tags, opening with one-time keys in advance where the kernel
 * makes them: as the loops do it. OpenSSL is `openssl speed`, which seals; where the processor has
 * AVX-512, which V8 does not use, OpenSSL is measured a second time without it. --verify stops before the
 * measurement; --json writes bench/results/ (TS-59). Needs `npm run build`.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { chooseKernel } from "../build/bindings/kernel.js";
import { createOracle, findFault, measureLength, openBench } from "../build/bindings/kernel-check.js";
import { cell, environment, sampled, saveResult } from "./result.mjs";

/** PF-50: 0 to 699, every 7th to 1,500, every 23rd to 2,200. */
const LENGTHS = Array.from({ length: 2200 }, (_, i) => i).filter(
  (i) => i < 700 || (i < 1500 && i % 7 === 0) || i % 23 === 0,
);
/** An invalid round is repeated twice at most, then kept and reported (TS-50). */
const ATTEMPTS_MAX = 3;
const ARM_MS = 600;

function verify(bench, when) {
  const fault = findFault(bench, createOracle(), LENGTHS);
  if (fault === undefined) return;
  process.stderr.write(`${when}: ${fault}\n`);
  process.exit(1);
}

function openSslGBps(length, env) {
  const args = ["speed", "-evp", "chacha20-poly1305", "-bytes", String(length), "-seconds", "1"];
  const said = execFileSync("openssl", args, {
    encoding: "utf8",
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const thousands = /([\d.]+)k\s*$/.exec(said);
  if (thousands === null) throw new Error(`openssl speed said: ${said}`);
  return Number(thousands[1]) / 1e6;
}

/** OpenSSL's ways on this processor: as it is, and as it would be without AVX-512. */
function openSslArms() {
  const hasAvx512 = /^flags.*\bavx512f\b/m.test(readFileSync("/proc/cpuinfo", "latin1"));
  // The bits of leaf 7's EBX for AVX-512 F, DQ, IFMA, CD, BW and VL, cleared (OPENSSL_ia32cap(3)).
  const withoutAvx512 = { OPENSSL_ia32cap: ":~0xd0230000" };
  return { openssl: {}, ...(hasAvx512 ? { "openssl-avx2": withoutAvx512 } : {}) };
}

/** One sample of each arm; which is first changes from round to round. */
function round(bench, length, i) {
  const openssl = () =>
    Object.entries(openSslArms()).map(([arm, env]) => ({ arm, ...sampled(() => openSslGBps(length, env)) }));
  const postern = () => {
    const { value, ...state } = sampled(() => measureLength(bench, length, ARM_MS));
    return [
      { arm: "seal", value: value.sealGBps, ...state },
      { arm: "open", value: value.openGBps, ...state },
    ];
  };
  for (let attempt = 1; ; attempt++) {
    const samples = i % 2 === 0 ? [...openssl(), ...postern()] : [...postern(), ...openssl()];
    if (attempt === ATTEMPTS_MAX || samples.every(({ valid }) => valid)) return samples;
  }
}

function measure(bench, sizes, rounds) {
  return sizes.map((length) => {
    const samples = [];
    for (let i = 0; i < rounds; i++) samples.push(...round(bench, length, i));
    return cell({
      name: `aead ${length}`,
      params: { bytes: length, batch: 32 },
      unit: "GB/s",
      arms: [...Object.keys(openSslArms()), "seal", "open"],
      samples,
    });
  });
}

function table(name, cells) {
  const arms = Object.keys(cells[0].arms);
  const head = ["bytes", ...arms.map((arm) => `${arm} GB/s`), "seal / openssl", "open / openssl", "notes"];
  const rows = cells.map((measured) => [
    measured.params.bytes,
    ...arms.map((arm) => measured.arms[arm].median.toFixed(3)),
    ...["seal", "open"].map((arm) => measured.ratio_to.openssl[arm].median.toFixed(3)),
    measured.notes.join("; "),
  ]);
  const lines = [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`);
  return [`Kernel ${name}; medians.`, "", ...lines].join("\n");
}

function main() {
  const { values } = parseArgs({
    options: {
      kernel: { type: "string" },
      rounds: { type: "string", default: "5" },
      sizes: { type: "string", default: "64,1280,1420,16384" },
      verify: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const started = new Date();
  const { name, module, candidates, setUpMs } = chooseKernel({ kernel: values.kernel });
  const bench = openBench(module);
  verify(bench, "before the measurement");
  const tried = candidates.map((c) =>
    c.ok ? `${c.name} ${c.sealGBps.toFixed(2)}` : `${c.name} ${c.reason}`,
  );
  console.log(
    `node ${process.versions.node}: ${name} verified (${tried.join(", ")}; ${setUpMs.toFixed(0)} ms)`,
  );
  if (values.verify) return;

  const cells = measure(bench, values.sizes.split(",").map(Number), Number(values.rounds));
  verify(bench, "after the measurement");
  console.log(table(name, cells));
  if (!values.json) return;
  const openssl = execFileSync("openssl", ["version"], { encoding: "utf8" }).trim();
  const major = process.versions.node.split(".")[0];
  const file = saveResult({
    name: `aead-node${major}`,
    started,
    seed: null,
    env: { ...environment({ openssl }), kernel_variant: name },
    topology: "one thread",
    mtu: null,
    pinning: "none",
    cells,
  });
  console.log(file);
}

main();
