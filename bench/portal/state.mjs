/** The state of a portal that has known many devices for a while (PT-115). */
import { randomBytes, randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Writes a snapshot with so many devices into a folder. */
export function writeState(folder, devices) {
  const lines = [JSON.stringify({ version: 2, journal: 0 })];
  for (let n = 1; n <= devices; n++) lines.push(JSON.stringify([{ kind: "device", ...deviceOf(n) }]));
  lines.push(JSON.stringify({ records: devices }), "");
  writeFileSync(join(folder, "state.jsonl"), lines.join("\n"));
}

function deviceOf(n) {
  const id = randomUUID();
  const host = `${(n >> 16) + 64}.${(n >> 8) & 255}.${n & 255}`;
  const value = {
    id,
    ownerId: randomUUID(),
    tokenHash: randomBytes(32).toString("hex"),
    externalId: randomBytes(32).toString("hex"),
    name: `device-${n}`,
    version: "1.5.0",
    device: { device_serial: randomBytes(6).toString("hex"), device_uuid: randomUUID() },
    isHardwareChanged: false,
    seenAt: Date.now() - n * 1000,
    publicKey: randomBytes(32).toString("base64"),
    pskBase: randomBytes(32).toString("base64"),
    ipv4: `100.${host}`,
    ipv6: `fd00:2021:1111::${(n >> 16).toString(16)}:${(n & 0xffff).toString(16)}`,
    remote: `198.51.100.${n & 255}`,
  };
  return { key: id, value };
}
