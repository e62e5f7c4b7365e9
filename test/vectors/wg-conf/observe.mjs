/**
 * What wg-quick and wg of this machine make of every file of a folder: a verdict, and what the interface
 * is then. Changes addresses, routes and rules of the network namespace it runs in, so run it in a fresh
 * one, as root, with the wireguard-tools, iproute2 and wireguard-go (or the kernel's module) at hand:
 *
 *   unshare --net --mount node test/vectors/wg-conf/observe.mjs test/vectors/wg-conf > table.json
 *
 * Nothing outside the namespaces is touched; temporary files lie in a folder that is removed at the end.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAME = "wg0";
const WITHIN_MS = 20_000;
/** Ports that the system chooses come from here, so that they can be told from chosen ones. */
const ANY_PORT = [40_000, 40_255];

/** Stands for resolvconf, which need not be installed: notes what it is asked to set. */
const RESOLVCONF = '#!/bin/sh\n[ "$1" = -a ] && cat > "$POSTERN_DNS" || true\n';

function main([folder]) {
  const work = mkdtempSync(join(tmpdir(), "wg-conf-"));
  try {
    prepare(work);
    const names = readdirSync(folder)
      .filter((name) => name.endsWith(".conf"))
      .sort();
    const files = names.map((name) => [
      name.slice(0, -".conf".length),
      observe(work, readFileSync(join(folder, name))),
    ]);
    process.stdout.write(format(files));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function prepare(work) {
  run("ip", ["link", "set", "lo", "up"]);
  // wg-quick's user-space implementations put their sockets here: the folder of the machine stays as it is.
  mkdirSync("/var/run/wireguard", { recursive: true });
  run("mount", ["-t", "tmpfs", "none", "/var/run/wireguard"]);
  writeFileSync("/proc/sys/net/ipv4/ip_local_port_range", ANY_PORT.join(" "));
  mkdirSync(join(work, "bin"));
  const resolvconf = join(work, "bin", "resolvconf");
  writeFileSync(resolvconf, RESOLVCONF);
  chmodSync(resolvconf, 0o755);
}

/** One file through `wg-quick up` and `wg-quick down`. */
function observe(work, text) {
  const file = join(work, `${NAME}.conf`);
  const dns = join(work, "dns");
  writeFileSync(file, text, { mode: 0o600 });
  rmSync(dns, { force: true });
  const env = {
    ...process.env,
    PATH: `${process.env.PATH}:/usr/sbin:/sbin:${join(work, "bin")}`,
    POSTERN_DNS: dns,
    // Names are looked up once: nothing here answers.
    WG_ENDPOINT_RESOLUTION_RETRIES: "1",
  };
  try {
    const up = run("wg-quick", ["up", file], env);
    if (up.status !== 0) return { accepted: false, why: reasonOf(up.stderr) };
    const seen = describe(dns, up.stderr);
    const down = run("wg-quick", ["down", file], env);
    if (down.status !== 0) return { accepted: false, why: reasonOf(down.stderr) };
    return { accepted: true, ...seen, hooksDown: hooksOf(down.stderr) };
  } finally {
    run("ip", ["link", "delete", "dev", NAME]);
  }
}

function describe(dns, stderr) {
  const [device, ...peers] = lines(run("wg", ["show", NAME, "dump"]).stdout).map((line) => line.split("\t"));
  const [privateKey, , port, fwMark] = device;
  const [first, last] = ANY_PORT;
  const isAny = Number(port) >= first && Number(port) <= last;
  return {
    privateKey,
    listenPort: isAny ? 0 : Number(port),
    fwMark: fwMark === "off" ? 0 : Number(fwMark),
    addresses: addresses(),
    mtu: JSON.parse(run("ip", ["-j", "link", "show", "dev", NAME]).stdout)[0].mtu,
    routes: [4, 6].flatMap(routes).sort(),
    dns: dnsOf(dns),
    hooksUp: hooksOf(stderr),
    // wireguard-go lists peers in no order.
    peers: peers.sort().map(([publicKey, presharedKey, endpoint, allowedIps, , , , keepalive]) => ({
      publicKey,
      presharedKey,
      endpoint,
      // Their order tells nothing: it is that of a tree.
      allowedIps: allowedIps === "(none)" ? [] : allowedIps.split(",").sort(),
      keepalive: keepalive === "off" ? 0 : Number(keepalive),
    })),
  };
}

function addresses() {
  const [link] = JSON.parse(run("ip", ["-j", "addr", "show", "dev", NAME]).stdout);
  return link.addr_info
    .filter(({ protocol }) => protocol !== "kernel_ll")
    .filter(({ scope, local }) => scope !== "link" || !local.startsWith("fe80") || local === "fe80::8")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)
    .sort();
}

/** Routes that were added; those of addresses come from the kernel. */
function routes(family) {
  const { stdout } = run("ip", ["-j", `-${family}`, "route", "show", "table", "all", "dev", NAME]);
  return (stdout.trim() === "" ? [] : JSON.parse(stdout))
    .filter(({ protocol, type }) => protocol !== "kernel" && type !== "multicast" && type !== "anycast")
    .map(({ dst, table = "main" }) => `${dst === "default" ? `default${family}` : dst} ${table}`);
}

function dnsOf(path) {
  try {
    return lines(readFileSync(path, "utf8"));
  } catch {
    return [];
  }
}

/** wg-quick prints what it runs; what is neither ip, wg, nor another of its own commands is a hook. */
function hooksOf(stderr) {
  const own = /^(ip|wg|wireguard-go|sysctl|nft|iptables|ip6tables|resolvconf)\b/;
  return lines(stderr).flatMap((line) => {
    const command = /^\[#\] ?(.*)$/.exec(line)?.[1];
    return command === undefined || own.test(command) ? [] : [command];
  });
}

/** The last line that a program wrote and that is neither a command nor wireguard-go's greeting. */
function reasonOf(stderr) {
  const said = lines(stderr).filter((line) => !/^\[[#!]\]|^[│┌└]|^Warning|^RTNETLINK|^Unknown device/.test(line));
  return said.at(-1)?.replace(/\/dev\/fd\/\d+|\/tmp\/[\w-]+/g, "FILE") ?? lines(stderr).at(-1) ?? "";
}

function lines(text) {
  return text.split("\n").filter((line) => line !== "");
}

function run(command, args, env = process.env) {
  const { status, stdout, stderr } = spawnSync(command, args, { env, encoding: "utf8", timeout: WITHIN_MS });
  return { status, stdout: stdout ?? "", stderr: stderr ?? "" };
}

/** One file per line: a change shows as a change of that file's line. */
function format(files) {
  const said = run("wg", ["--version"]).stdout + run("ip", ["-V"]).stdout;
  const tools = said.match(/wireguard-tools v[\d.]+|iproute2-[\d.]+/g);
  const entries = files.map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  return `{\n  "tools": ${JSON.stringify(tools)},\n  "files": {\n${entries.join(",\n")}\n  }\n}\n`;
}

main(process.argv.slice(2));
