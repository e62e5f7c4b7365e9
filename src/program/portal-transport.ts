/**
 * TCP and trust for the portal connection: outside of the tunnel, all addresses at once (PT-17, PT-18,
 * PT-21).
 */
import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { rootCertificates } from "node:tls";
import { errnoOf, type Kernel } from "../../bindings/linux/index.ts";
import { formatIp, type IpAddress, PosternError, parseIp, type SocketAddress } from "../base/index.ts";
import { openMarkedSocket } from "../host/index.ts";
import { TCP_TIMEOUT_MS } from "../portal/protocol/index.ts";

const SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt";

/** Opens one TCP connection; rejects with what the system said. */
export type OpenTcp = (to: SocketAddress, timeoutMs: number) => Promise<Socket>;

/** TCP connections that carry the bypass mark, so that no resource can capture them (PT-17). */
export function markedTcp(kernel: Kernel, mark: number, device?: string): OpenTcp {
  return (to, timeoutMs) => openMarkedSocket(kernel, { to, mark, device, timeoutMs });
}

/** Ordinary TCP connections, for processes without a tunnel of their own. */
export const plainTcp: OpenTcp = ({ address, port }, timeoutMs) =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({ host: formatIp(address), port });
    const timer = setTimeout(() => socket.destroy(new Error("ETIMEDOUT")), timeoutMs);
    socket.once("error", reject);
    socket.once("close", () => clearTimeout(timer));
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeListener("error", reject);
      resolve(socket);
    });
  });

/**
 * The system's roots, or the runtime's where there are none, and those of `--ca-file` (PT-18).
 *
 * @throws PosternError `file-unreadable`
 */
export function loadRoots(caFile: string | undefined): readonly string[] {
  let roots: readonly string[] = rootCertificates;
  try {
    roots = [readFileSync(SYSTEM_ROOTS, "utf8")];
  } catch {
    // A system without a bundle; the runtime brings Mozilla's.
  }
  if (caFile === undefined) return roots;
  try {
    return [...roots, readFileSync(caFile, "utf8")];
  } catch (cause) {
    throw new PosternError("file-unreadable", `cannot read ${caFile}`, "--ca-file names a PEM file", {
      cause,
    });
  }
}

/** All addresses at once; the first connection wins, later ones are closed (PT-21). */
export async function firstConnection(
  addresses: readonly IpAddress[],
  port: number,
  openTcp: OpenTcp,
): Promise<Socket> {
  let winner: Socket | undefined;
  const attempts = addresses.map(async (address) => {
    const socket = await openTcp({ address, port }, TCP_TIMEOUT_MS);
    if (winner !== undefined) socket.destroy();
    winner ??= socket;
    return socket;
  });
  return await Promise.any(attempts);
}

/** For processes without a tunnel of their own; the others ask past it (`createNameResolver`). */
export async function systemResolve(host: string): Promise<readonly IpAddress[]> {
  const found = await lookup(host, { all: true, verbatim: true });
  return found.flatMap(({ address }) => {
    const parsed = parseIp(address);
    return parsed.ok ? [parsed.value] : [];
  });
}

/** A mark that is refused is refused for every address, and for good. */
export function privilegeError(error: unknown): PosternError | undefined {
  const errors: readonly unknown[] = error instanceof AggregateError ? error.errors : [error];
  for (const each of errors) if (each instanceof PosternError && each.code === "privilege") return each;
  return undefined;
}

/** The reason of the last failure, as the system names it. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors.at(-1));
  if (!(error instanceof Error)) return String(error);
  if ("code" in error && typeof error.code === "string" && !(error instanceof PosternError))
    return error.code;
  if (errnoOf(error) !== undefined && error.cause !== undefined) return reasonOf(error.cause);
  return error.message;
}
