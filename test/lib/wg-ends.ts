/**
 * Two `postern wg` with a wire between them, whatever runs them.
 *
 *     near 10.7.0.1 ── 10.9.0.1 ──────── 10.9.0.2 ── 10.7.0.2 far
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Child, Lab, Namespace } from "../../src/program/lab/index.ts";
import type { StartWords } from "./runtimes.ts";

const WITHIN_MS = 45_000;

export interface WgEnd {
  readonly namespace: Namespace;
  readonly outer: string;
  readonly inner: string;
  readonly key: { readonly secret: string; readonly open: string };
}

/** `postern wg` at both ends of a wire; `words` start the program, `program` is the one of `near`. */
export async function startWgPair(
  lab: Lab,
  words: StartWords,
): Promise<{ near: WgEnd; far: WgEnd; program: Child }> {
  const near = await addEnd(lab, "near", 1);
  const far = await addEnd(lab, "far", 2);
  const portOf = ({ namespace, outer }: WgEnd) => ({ namespace, device: "wire", addresses: [`${outer}/24`] });
  await lab.connect(portOf(near), portOf(far));
  const programs = [startWg(near, far, words), startWg(far, near, words)] as const;
  for (const each of programs) await each.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return { near, far, program: programs[0] };
}

async function addEnd(lab: Lab, name: string, number: number): Promise<WgEnd> {
  const namespace = await lab.add(name);
  const key = await makeKey(namespace);
  return { namespace, outer: `10.9.0.${number}`, inner: `10.7.0.${number}`, key };
}

function startWg(own: WgEnd, other: WgEnd, [command, ...args]: StartWords): Child {
  const file = join(own.namespace.runFolder, "wg0.conf");
  const lines = [
    ...["[Interface]", `PrivateKey = ${own.key.secret}`, "ListenPort = 51820", `Address = ${own.inner}/24`],
    ...["[Peer]", `PublicKey = ${other.key.open}`, `AllowedIPs = ${other.inner}/32`],
    `Endpoint = ${other.outer}:51820`,
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  chmodSync(file, 0o600);
  return own.namespace.start({ name: "postern wg", command, args: [...args, "wg", "/run/wg0.conf"] });
}

async function makeKey(namespace: Namespace): Promise<{ secret: string; open: string }> {
  const secret = (await namespace.run("wg", ["genkey"])).trim();
  const open = (await namespace.run("sh", ["-c", `echo ${secret} | wg pubkey`])).trim();
  return { secret, open };
}
