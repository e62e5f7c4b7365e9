/**
 * What is measured: each arm is two namespaces joined by a cable with a tunnel between them.
 *
 * ```
 *   near 10.9.0.1 ── cable ── far 10.9.0.2        tunnel 10.7.0.1 ↔ 10.7.0.2
 * ```
 *
 * All arms of a run are up at the same time; one that rests costs nothing.
 */

import { createHash, generateKeyPairSync, X509Certificate } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { programCommand } from "../../../bindings/runtime/index.ts";
import { PosternError } from "../../base/index.ts";
import { type Child, type Lab, MAIN, makeCertificate, type Namespace } from "../lab/index.ts";
import type { Arm } from "./result.ts";

const PORT = 51820;
const DEVICE = "bench0";
const WITHIN_MS = 20_000;
const CABLE = ["10.9.0.1", "10.9.0.2"] as const;
const INSIDE = ["10.7.0.1", "10.7.0.2"] as const;

export interface OpenArm extends Arm {
  readonly near: Namespace;
  readonly far: Namespace;
  /** The far end, through the tunnel. */
  readonly address: string;
  /** Both ends of the tunnel, the near one first. */
  readonly programs: Child[];
  /** The kernel carries its packets: processor time of its programs says nothing. */
  readonly isInKernel?: true;
  /** Starts the near end anew, when it was stopped; absent: its start is not measured. */
  readonly startNear?: () => Promise<Child>;
}

export interface TunnelSettings {
  /** Of packets inside, in bytes. */
  readonly mtu: number;
}

interface Ends {
  readonly near: Namespace;
  readonly far: Namespace;
}

export type OpenTunnel = (lab: Lab, settings: TunnelSettings) => Promise<OpenArm>;

function otherOf(i: End): End {
  return i === 0 ? 1 : 0;
}

function endOf({ near, far }: Ends, i: End): Namespace {
  return i === 0 ? near : far;
}

async function openEnds(lab: Lab, name: string): Promise<Ends> {
  const near = await lab.add(`${name}-near`);
  const far = await lab.add(`${name}-far`);
  await lab.connect(
    { namespace: near, device: "cable", addresses: [`${CABLE[0]}/24`] },
    { namespace: far, device: "cable", addresses: [`${CABLE[1]}/24`] },
  );
  return { near, far };
}

/** The ceiling: no tunnel at all. */
export const openCable: OpenTunnel = async (lab) => {
  const ends = await openEnds(lab, "cable");
  return { name: "cable", title: "no tunnel", ...ends, address: CABLE[1], programs: [] };
};

type End = 0 | 1;

export const openPostern: OpenTunnel = async (lab, { mtu }) => {
  const ends = await openEnds(lab, "postern");
  const keys = [makeKeys(), makeKeys()] as const;
  const start = (i: End): Child => {
    const other = otherOf(i);
    const lines = [
      "[Interface]",
      `PrivateKey = ${keys[i].privateKey}`,
      `ListenPort = ${PORT}`,
      `Address = ${INSIDE[i]}/24`,
      `MTU = ${mtu}`,
      "[Peer]",
      `PublicKey = ${keys[other].publicKey}`,
      `Endpoint = ${CABLE[other]}:${PORT}`,
      `AllowedIPs = ${INSIDE[other]}/32`,
    ];
    const end = endOf(ends, i);
    writeSecret(join(end.runFolder, `${DEVICE}.conf`), lines.join("\n"));
    return end.start({ name: "postern wg", ...programCommand(MAIN, ["wg", `/run/${DEVICE}.conf`]) });
  };
  const programs = [start(0), start(1)];
  for (const child of programs) await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  const rest = { ...ends, address: INSIDE[1], programs, startNear: async () => start(0) };
  return { name: "postern", title: "postern", ...rest };
};

/** @param note whether its version has offloads */
export function wireguardGo(program: string, note: string): OpenTunnel {
  return async (lab, { mtu }) => {
    const ends = await openEnds(lab, "wg-go");
    const keys = [makeKeys(), makeKeys()] as const;
    const start = async (i: End): Promise<Child> => {
      const [end, other] = [endOf(ends, i), otherOf(i)];
      const env = { ...process.env, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: "1", LOG_LEVEL: "error" };
      const child = end.start({ name: "wireguard-go", command: program, args: ["-f", DEVICE], env });
      await untilThere(end, `wg show ${DEVICE}`, child);
      writeSecret(join(end.runFolder, "key"), keys[i].privateKey);
      const own = ["private-key", "/run/key", "listen-port", String(PORT)];
      const peer = ["peer", keys[other].publicKey, "endpoint", `${CABLE[other]}:${PORT}`];
      await end.run("wg", ["set", DEVICE, ...own, ...peer, "allowed-ips", `${INSIDE[other]}/32`]);
      await end.ip(`addr add ${INSIDE[i]}/24 dev ${DEVICE}`, `link set ${DEVICE} mtu ${mtu} up`);
      return child;
    };
    const programs = [await start(0), await start(1)];
    const rest = { ...ends, address: INSIDE[1], programs, startNear: () => start(0) };
    return { name: "wireguard-go", title: "wireguard-go", note, ...rest };
  };
}

export type OpenVpnCipher = "aes-256-gcm" | "chacha20-poly1305";

/** As an arm with each cipher is called. The first has the name that OpenVPN had while it was the only one. */
export const OPENVPN_ARMS: Readonly<
  Record<OpenVpnCipher, { readonly name: string; readonly title: string; readonly said: string }>
> = {
  "aes-256-gcm": { name: "openvpn", title: "OpenVPN AES", said: "AES-256-GCM (its default)" },
  "chacha20-poly1305": {
    name: "openvpn-chacha20",
    title: "OpenVPN ChaCha20",
    said: "ChaCha20-Poly1305 (the cipher of WireGuard)",
  },
};

/**
 * Peer to peer with one cipher; the keys of both ends sign themselves and are pinned.
 * @param version of the program, where it is known
 */
export function openVpn(program: string, version: string | undefined, cipher: OpenVpnCipher): OpenTunnel {
  const { name, title } = OPENVPN_ARMS[cipher];
  return async (lab, { mtu }) => {
    const ends = await openEnds(lab, name);
    const certificates = [makeCertificate("near.bench"), makeCertificate("far.bench")] as const;
    const start = (i: End): Child => {
      const [end, other] = [endOf(ends, i), otherOf(i)];
      writeSecret(join(end.runFolder, "key.pem"), certificates[i].key.toString());
      writeFileSync(join(end.runFolder, "cert.pem"), certificates[i].cert);
      const lines = [
        `dev ${DEVICE}`,
        "dev-type tun",
        "proto udp",
        `local ${CABLE[i]}`,
        `remote ${CABLE[other]}`,
        `port ${PORT}`,
        `ifconfig ${INSIDE[i]} ${INSIDE[other]}`,
        `tun-mtu ${mtu}`,
        "mssfix 0",
        `data-ciphers ${cipher.toUpperCase()}`,
        "cert /run/cert.pem",
        "key /run/key.pem",
        `peer-fingerprint ${fingerprintOf(certificates[other].cert)}`,
        ...(i === 0 ? ["tls-client"] : ["tls-server", "dh none"]),
        // From here on it says what it has agreed on.
        "verb 2",
      ];
      writeFileSync(join(end.runFolder, "bench.ovpn"), `${lines.join("\n")}\n`);
      return end.start({ name: "openvpn", command: program, args: ["--config", "/run/bench.ovpn"] });
    };
    const programs = [start(0), start(1)];
    // A version that lacks an option, as 2.5 lacks fingerprints, ends and says so.
    for (const child of programs)
      await child.waitForLine(/Initialization Sequence Completed/, { withinMs: WITHIN_MS, stream: "stdout" });
    await untilThere(ends.near, `ping -n -c 1 -W 1 ${INSIDE[1]}`, programs[0]);
    const rest = { ...ends, address: INSIDE[1], programs, startNear: async () => start(0) };
    return { name, title, ...openVpnTraits(version, cipher, programs[0]?.stdout() ?? ""), ...rest };
  };
}

/**
 * What a reader has to know of it. With its kernel module (DCO), which it uses where there is one, the program itself
 * carries nothing.
 * @param said by the program, at its start
 */
export function openVpnTraits(
  version: string | undefined,
  cipher: OpenVpnCipher,
  said: string,
): Pick<OpenArm, "note" | "isInKernel"> {
  const base = `${version === undefined ? "" : `${version}, `}${OPENVPN_ARMS[cipher].said} over UDP, no compression`;
  if (!/\bDCO device\b/.test(said)) return { note: base };
  return { note: `${base}; in the kernel (DCO), so that its CPU time is not known`, isInKernel: true };
}

interface Keys {
  /** Base64, as `wg` writes it. */
  readonly privateKey: string;
  readonly publicKey: string;
}

function makeKeys(): Keys {
  const pair = generateKeyPairSync("x25519");
  const { d, x } = pair.privateKey.export({ format: "jwk" });
  const base64 = (text = ""): string => Buffer.from(text, "base64url").toString("base64");
  return { privateKey: base64(d), publicKey: base64(x) };
}

function fingerprintOf(pem: Buffer): string {
  const digest = createHash("sha256").update(new X509Certificate(pem).raw).digest("hex");
  return digest.toUpperCase().replace(/..(?!$)/g, "$&:");
}

function writeSecret(file: string, text: string): void {
  writeFileSync(file, `${text}\n`, { mode: 0o600 });
  chmodSync(file, 0o600);
}

/** @throws PosternError `bench-tunnel` with what the program says of it */
async function untilThere(end: Namespace, command: string, child: Child | undefined): Promise<void> {
  const script = `for i in $(seq 200); do ${command} >/dev/null 2>&1 && exit 0; sleep 0.05; done; exit 1`;
  try {
    await end.run("sh", ["-c", script], { withinMs: WITHIN_MS });
  } catch (cause) {
    const said = `${child?.stdout()}\n${child?.stderr()}`.trim().split("\n").at(-1) ?? "";
    throw new PosternError("bench-tunnel", said === "" ? "it says nothing" : said, undefined, { cause });
  }
}
