/** Who this client or gateway is to the portal (PG-23 to PG-26). */
import { createHash, createHmac, randomUUID } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { type Log, PosternError, parseJson } from "../base/index.ts";

export type IdentifiedRole = "client" | "gateway";

/** Keys under which a machine-id becomes an identifier, so that roles on one machine differ. */
const MACHINE_KEYS: Readonly<Record<IdentifiedRole, string>> = {
  client: "988fa8fe16f5960b6e6ab5f84272c1f8",
  gateway: "b3a007188672d928f4e2ae2a5ddd1a0a",
};

export interface IdentifierSource {
  readonly role: IdentifiedRole;
  /** Option or variable; an empty one does not count. */
  readonly configured?: string;
  /** `/var/lib/postern/<instance>-id.json`. */
  readonly path: string;
  readonly machineIdPath?: string;
}

/** SHA-256 in lower-case hexadecimal of the UUID's 36 characters, without a newline (PG-24). */
export function toIdentifier(uuid: string): string {
  return createHash("sha256").update(uuid, "ascii").digest("hex");
}

/** For hosts that cannot keep a file (PG-25). */
export function fromMachineId(role: IdentifiedRole, machineId: string): string {
  return createHmac("sha256", MACHINE_KEYS[role]).update(machineId.trim()).digest("hex");
}

/**
 * Option → file → a new one that is saved → the machine's (PG-25).
 *
 * @throws PosternError `id-invalid` for a file that holds none, `id-unavailable` when nothing works
 */
export function resolveIdentifier(source: IdentifierSource, log: Log): string {
  if (source.configured !== undefined && source.configured !== "") return source.configured;
  const stored = readStored(source.path);
  if (stored !== undefined) return stored;
  const fresh = toIdentifier(randomUUID());
  const failure = store(source.path, fresh);
  // Another start of the same instance may have been faster.
  if (failure === undefined) return readStored(source.path) ?? fresh;
  const identifier = fromMachineId(source.role, readMachineId(source, failure));
  log.warn?.("identifier not saved; derived from the machine-id", {
    path: source.path,
    reason: String(failure),
  });
  return identifier;
}

function readStored(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  const id = idOf(text);
  if (id !== undefined) return id;
  throw new PosternError(
    "id-invalid",
    `${path} holds no identifier`,
    'delete it, or write {"id":"…"} into it',
  );
}

function idOf(text: string): string | undefined {
  const json = parseJson(text);
  if (!json.ok) return undefined;
  const { value } = json;
  const id = typeof value === "object" && value !== null && "id" in value ? value.id : undefined;
  return typeof id === "string" && id !== "" ? id : undefined;
}

/** Written aside and linked into place: never half, and never over a file that is there. */
function store(path: string, id: string): unknown {
  const aside = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
    const fd = openSync(aside, "w", 0o640);
    try {
      writeFileSync(fd, `${JSON.stringify({ id })}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    try {
      linkSync(aside, path);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    return undefined;
  } catch (error) {
    return error;
  } finally {
    removeQuietly(aside);
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was never made, or its folder cannot be written: nothing is left either way.
  }
}

function readMachineId(source: IdentifierSource, cause: unknown): string {
  const path = source.machineIdPath ?? "/etc/machine-id";
  try {
    const text = readFileSync(path, "utf8").trim();
    if (text !== "") return text;
  } catch {
    // Told below, with what was tried first.
  }
  throw new PosternError(
    "id-unavailable",
    `cannot save an identifier in ${source.path}, and there is no ${path}`,
    "make the folder writable, or use --id",
    { cause },
  );
}
