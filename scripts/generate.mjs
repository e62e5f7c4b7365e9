/**
 * Makes the files of the tree that are generated from others, or checks that they are up to date.
 *
 *   node scripts/generate.mjs [--check]
 *
 * The description of shared memory is TypeScript, which Node 20 cannot run: it is compiled aside first.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BIN, ROOT, run } from "./steps.mjs";

const LAYOUT_SOURCES = ["bindings/memory/layout.ts", "bindings/memory/reasons.ts"];

/** What the plane needs of Linux's numbers, by the type that it has there. */
const LINUX_SOURCES = ["bindings/linux/socket-constants.ts", "bindings/linux/file-constants.ts"];
const LINUX_CONSTANTS = {
  i32: [
    ["SOL_SOCKET", "SO_ATTACH_FILTER", "SO_DETACH_FILTER", "SO_RXQ_OVFL"],
    ["IPPROTO_IP", "IP_TOS", "IP_PKTINFO", "SOL_UDP", "UDP_SEGMENT", "UDP_GRO"],
    ["IPPROTO_IPV6", "IPV6_PKTINFO", "IPV6_TCLASS", "CLOCK_BOOTTIME", "MSG_DONTWAIT"],
    ["IP_MTU_DISCOVER", "IP_PMTUDISC_DONT", "IP_PMTUDISC_WANT"],
    ["IP_PMTUDISC_PROBE", "IP_PMTUDISC_OMIT", "IPV6_MTU_DISCOVER"],
  ].flat(),
  u32: ["AF_INET6", "CMSGHDR_BYTES"],
  u16: ["POLLIN", "POLLOUT"],
  usize: [
    ["MSGHDR_NAME", "MSGHDR_NAME_BYTES", "MSGHDR_IOV", "MSGHDR_IOV_COUNT", "MSGHDR_CONTROL"],
    ["MSGHDR_CONTROL_BYTES", "MSGHDR_FLAGS", "POLLFD_BYTES"],
    ["IOVEC_BYTES", "MMSGHDR_BYTES", "MMSGHDR_LENGTH"],
  ].flat(),
};
const ERRNO_SOURCE = "bindings/linux/errno.ts";
const ERRNO_NAMES = [
  ["EPERM", "EINTR", "EIO", "EBADF", "EAGAIN", "EACCES", "EINVAL", "EBADFD", "ENOTSOCK", "EMSGSIZE"],
  ["EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH", "ENOBUFS", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH"],
].flat();

async function main() {
  const isCheck = process.argv.includes("--check");
  const [layout, reasons, sockets, files, errno] = await compiled([
    ...LAYOUT_SOURCES,
    ...LINUX_SOURCES,
    ERRNO_SOURCE,
  ]);
  const texts = {
    "assembly/layout.ts": assemblyLayout(layout, reasons),
    "assembly/linux.ts": assemblyLinux({ ...sockets, ...files }, errno),
  };
  const stale = Object.entries(texts).filter(([path, text]) => current(path) !== text);
  for (const [path, text] of stale) {
    if (isCheck) console.error(`${path} is not what its generator makes: npm run generate`);
    else writeFileSync(join(ROOT, path), text);
  }
  return isCheck && stale.length > 0 ? 1 : 0;
}

function current(path) {
  const file = join(ROOT, path);
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

/** The sources as modules, compiled into a folder outside of the tree. */
async function compiled(sources) {
  const folder = mkdtempSync(join(tmpdir(), "postern-generate-"));
  try {
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    const config = join(folder, "tsconfig.json");
    writeFileSync(
      config,
      JSON.stringify({
        extends: join(ROOT, "tsconfig.json"),
        compilerOptions: { rootDir: ROOT, outDir: folder, declaration: false, sourceMap: false, types: [] },
        include: [],
        files: sources.map((path) => join(ROOT, path)),
      }),
    );
    const { status, output } = await run(join(BIN, "tsc"), ["-p", config]);
    if (status !== 0) throw new Error(output);
    const load = (path) => import(pathToFileURL(join(folder, path.replace(/\.ts$/, ".js"))).href);
    return await Promise.all(sources.map(load));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function assemblyLayout(layout, reasons) {
  const lines = [header(LAYOUT_SOURCES), line("LAYOUT_HASH", "u32", hex(layout.LAYOUT_HASH)), ""];
  for (const [name, { fields }] of Object.entries(layout.RECORDS)) {
    const members = Object.entries(fields).map(([field, { type, count, writer, doc }]) => {
      const array = count === undefined ? "" : `[${count}]`;
      const value = layout.OFFSETS[name][field];
      return { name: upper(field), type: "usize", value, doc: `${type}${array}, ${by(writer)}: ${doc}` };
    });
    const size = { name: "BYTES", type: "usize", value: layout.BYTES[name], doc: "size of the record" };
    lines.push(...namespace(capital(name), [...members, size]), "");
  }
  for (const [name, value] of Object.entries(layout.CONSTANTS)) {
    const type = /_(ADDRESS|LEAD)$|^(BUFFER|ARENA)/.test(name) ? "usize" : "u32";
    lines.push(line(name, type, value > 0xffff ? hex(value) : value));
  }
  const drops = reasons.REASON_NAMES.map((name, i) => {
    const doc = reasons.REASONS[name]?.meaning;
    return { name: upper(name), type: "u32", value: i, doc };
  });
  lines.push("", "// Numbers of drop reasons; 0 is none.", ...namespace("Drop", drops.slice(1)));
  const counters = Object.entries(reasons.COUNTERS).map(([name, { meaning }], i) => {
    const value = layout.OFFSETS.worker.counters + 8 * i;
    return { name: upper(name), type: "usize", value, doc: meaning };
  });
  lines.push("", "// Places of counters in a worker's record.", ...namespace("Counter", counters));
  return `${lines.join("\n")}\n`;
}

/** Linux's numbers stand once, in the bindings (style section 10). */
function assemblyLinux(constants, { errnoNumber }) {
  const lines = [header([...LINUX_SOURCES, ERRNO_SOURCE])];
  for (const [type, names] of Object.entries(LINUX_CONSTANTS)) {
    for (const name of names) lines.push(line(name, type, constants[name] ?? missing(name)));
  }
  lines.push("", ...ERRNO_NAMES.map((name) => line(name, "i32", errnoNumber(name) ?? missing(name))));
  return `${lines.join("\n")}\n`;
}

function missing(name) {
  throw new Error(`the bindings have no ${name}`);
}

function header(sources) {
  const last = sources.at(-1);
  return `// Generated by scripts/generate.mjs from ${sources.slice(0, -1).join(", ")} and ${last}.
// Do not edit: \`npm run generate\`.
`;
}

/** The lines of a namespace of constants: `Session.REMOTE` is one immediate in the module. */
function namespace(title, members) {
  const names = members.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  // A field named `bytes` would collide with its record's size: better here than in the compiler.
  if (twice !== undefined) throw new Error(`${title}.${twice} is generated twice`);
  const lines = members.map(({ name, type, value, doc }) => `  ${line(name, type, value)} // ${doc}`);
  return [`export namespace ${title} {`, ...lines, "}"];
}

function line(name, type, value) {
  return `export const ${name}: ${type} = ${value};`;
}

function by(writer) {
  return writer === "any" ? "several writers" : `written by ${writer}`;
}

function hex(value) {
  return `0x${value.toString(16)}`;
}

/** `rangeSet` as a namespace is written. */
function capital(name) {
  return `${name[0].toUpperCase()}${name.slice(1)}`;
}

/** `sendCounter`, `not-a-peer` and `wg_replay` as constants are written. */
function upper(name) {
  return name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll("-", "_")
    .toUpperCase();
}

process.exitCode = await main();
