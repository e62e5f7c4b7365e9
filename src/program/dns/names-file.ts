/** Names and their proxy addresses over a restart of the service, for one boot (DN-46). */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import * as v from "valibot";
import { formatIp, type IpAddress, type Log, parseIp, parseJson } from "../../base/index.ts";
import type { AssignedName } from "../../dns/index.ts";

const VERSION = 1;
/** 65,536 names of 253 characters with 8 addresses, and as much again. */
const FILE_CHARACTERS_MAX = 64 << 20;

const document = v.object({
  version: v.literal(VERSION),
  records: v.array(v.object({ domain: v.string(), rid: v.string(), ips: v.array(v.string()) })),
});

/** Empty if there is no file, or none that can be read; what the names mean is for the resolver to judge. */
export function readNames(path: string, log: Log): readonly AssignedName[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    // The first start since the boot.
    return [];
  }
  const names = text.length > FILE_CHARACTERS_MAX ? undefined : parseNames(text);
  if (names === undefined) sayIgnored(path, log);
  return names ?? [];
}

export function sayIgnored(path: string, log: Log): void {
  log.warn?.("names of an earlier run are ignored: their file is damaged", { path });
}

export function parseNames(text: string): readonly AssignedName[] | undefined {
  const json = parseJson(text);
  const read = json.ok ? v.safeParse(document, json.value) : undefined;
  if (!read?.success) return undefined;
  const names: AssignedName[] = [];
  for (const { domain, rid, ips } of read.output.records) {
    const proxies: IpAddress[] = [];
    for (const text of ips) {
      const address = parseIp(text);
      if (!address.ok) return undefined;
      proxies.push(address.value);
    }
    names.push({ domain, rid, proxies });
  }
  return names;
}

/** Whole or not at all, and for nobody else's eyes. @throws Error of the system */
export function writeNames(path: string, names: Iterable<AssignedName>): void {
  const records = [...names].map(({ domain, rid, proxies }) => ({ domain, rid, ips: proxies.map(formatIp) }));
  const temporary = `${path}.new`;
  try {
    const fd = openSync(temporary, "w", 0o600);
    try {
      writeFileSync(fd, JSON.stringify({ version: VERSION, records }));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
