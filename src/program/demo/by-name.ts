/** The demo's second half: the web server by name, a port that is filtered, and access that is taken back. */

import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { currentRuntime, programWords } from "../../../bindings/runtime/index.ts";
import { PosternError, parseJson } from "../../base/index.ts";
import type { Child, Namespace } from "../lab/index.ts";
import { TOOL } from "./measure.ts";
import { FILTERED_PORT, RESOURCE_ADDRESS, RESOURCE_NETWORK } from "./topology.ts";

/** A name that exists nowhere but behind the gateway. */
export const WEB_NAME = "web.corp.example";
/** Where the client's resolver listens (DN-21). */
const SENTINEL = "100.100.111.1";
const REVOKED_WITHIN_MS = 10_000;

export interface Timed {
  readonly ok: boolean;
  readonly ms: number;
}

/** Writes the portal's file as an editor does: aside, then in its place. */
export function writePortalFile(portal: Namespace, { hasWeb }: { readonly hasWeb: boolean }): void {
  const file = join(portal.runFolder, "demo.yaml");
  const resources = [
    { name: "Office", type: "cidr", address: RESOURCE_NETWORK, site: "default" },
    {
      ...{ name: "Web", type: "dns", address: "*.corp.example", site: "default" },
      filters: [{ protocol: "tcp", ports: ["80"] }],
    },
  ];
  const granted = hasWeb ? ["Office", "Web"] : ["Office"];
  const policies = granted.map((resource) => ({ group: "dev", resource }));
  writeFileSync(`${file}.new`, JSON.stringify({ version: 1, resources, policies }));
  renameSync(`${file}.new`, file);
}

/** Processes of the machine that are started by `withFile` see it in place of the host's own. */
export function prepareHosts(gateway: Namespace): void {
  writeFileSync(join(gateway.runFolder, "hosts"), `${RESOURCE_ADDRESS} ${WEB_NAME}\n`);
}

export function prepareResolver(client: Namespace): void {
  writeFileSync(join(client.runFolder, "resolv.conf"), `nameserver ${SENTINEL}\n`);
}

/** A command whose process sees `/run/NAME` as `/etc/NAME`: each has a mount namespace of its own. */
export function withFile(name: "hosts" | "resolv.conf", command: readonly string[]): readonly string[] {
  return ["sh", "-c", `mount --bind /run/${name} /etc/${name} && exec "$@"`, "sh", ...command];
}

/** How long the first question for the name takes, from a program that knows nothing of Postern. */
export async function lookUp(client: Namespace): Promise<Timed> {
  const { address, ms } = await ask(client, "lookup", WEB_NAME);
  return { ok: address?.startsWith("100.96.") === true, ms };
}

/** The page by name, with its checksum. */
export async function fetchByName(client: Namespace, sha256: string): Promise<boolean> {
  const answer = await ask(client, "fetch", `http://${WEB_NAME}/`);
  return answer.sha256 === sha256;
}

/** A port that the filters do not permit is refused at once. */
export async function tryFilteredPort(client: Namespace): Promise<Timed> {
  const { error, ms } = await ask(client, "connect", WEB_NAME, String(FILTERED_PORT));
  return { ok: isRefusal(error), ms };
}

/** How long after the administrator's change connections are refused. */
export async function revoke(portal: Namespace, client: Namespace): Promise<Timed> {
  const child = start(client, ["until-refused", WEB_NAME, "80", String(REVOKED_WITHIN_MS)]);
  await child.waitForLine(/^connected$/, { withinMs: 10_000, stream: "stdout" });
  const changedAt = Date.now();
  writePortalFile(portal, { hasWeb: false });
  const match = await child.waitForLine(/^refused (\w+) at (\d+)$/, {
    withinMs: REVOKED_WITHIN_MS + 5_000,
    stream: "stdout",
  });
  return { ok: isRefusal(match[1]), ms: Number(match[2] ?? 0) - changedAt };
}

/** What Linux makes of *prohibited* and *unreachable* (TN-12). Bun has one code for every connection that fails. */
function isRefusal(code: string | undefined): boolean {
  const codes = ["EHOSTUNREACH", "ENETUNREACH", "EACCES"];
  if (currentRuntime() === "bun") codes.push("ECONNREFUSED");
  return code !== undefined && codes.includes(code);
}

interface Answer {
  readonly ms: number;
  readonly address?: string;
  readonly error?: string;
  readonly sha256?: string;
}

async function ask(client: Namespace, ...args: readonly string[]): Promise<Answer> {
  const child = start(client, args);
  const { status } = await child.wait(30_000);
  if (status !== 0) throw new PosternError("demo-name", `${args[0]} failed: ${child.stderr().trim()}`);
  const answer = parseJson(child.stdout());
  if (!answer.ok) throw new PosternError("demo-name", `${args[0]} printed ${child.stdout().trim()}`);
  // It is our own program that answers.
  return answer.value as Answer;
}

function start(client: Namespace, args: readonly string[]): Child {
  const [command = "", ...rest] = withFile("resolv.conf", [...programWords(TOOL), ...args]);
  return client.start({ name: args[0] ?? "tool", command, args: rest });
}
