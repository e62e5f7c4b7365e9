/**
 * A device or gateway as it lies in text (PT-115), and as the portal works with it.
 *
 * A start reads 100,000 of them and uses a few. What was read stays as it is until somebody asks for it:
 * bytes and addresses made at once would cost three times the time and the memory.
 */
import { formatIp, fromBase64, type IpAddress, parseIp, toBase64 } from "../../base/index.ts";
import type { PackedPeer, StoredPeer } from "./stored-state.ts";

/** 32 bytes: of the last character only the upper four bits are used. */
const KEY_TEXT = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

export function pack(of: StoredPeer): PackedPeer {
  return {
    ...of,
    publicKey: toBase64(of.publicKey),
    pskBase: toBase64(of.pskBase),
    ipv4: formatIp(of.ipv4),
    ipv6: formatIp(of.ipv6),
    remote: formatIp(of.remote),
  };
}

/** @param of checked when it was read (`isPackedPeer`) */
export function unpack(of: PackedPeer): StoredPeer {
  return {
    ...of,
    publicKey: keyOf(of.publicKey),
    pskBase: keyOf(of.pskBase),
    ipv4: addressOf(of.ipv4),
    ipv6: addressOf(of.ipv6),
    remote: addressOf(of.remote),
  };
}

/** Checked by hand: a schema of so many members takes three times as long. */
export function isPackedPeer(value: unknown): value is PackedPeer {
  if (!isRecord(value)) return false;
  const { id, ownerId, tokenHash, externalId, name, version, device, isHardwareChanged, seenAt } = value;
  return (
    [id, ownerId, tokenHash, externalId, name, version].every((text) => typeof text === "string") &&
    [value["publicKey"], value["pskBase"]].every((text) => typeof text === "string" && KEY_TEXT.test(text)) &&
    [value["ipv4"], value["ipv6"], value["remote"]].every(
      (text) => typeof text === "string" && parseIp(text).ok,
    ) &&
    isRecord(device) &&
    Object.values(device).every((text) => typeof text === "string") &&
    typeof isHardwareChanged === "boolean" &&
    Number.isSafeInteger(seenAt)
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function keyOf(text: string): Uint8Array {
  const key = fromBase64(text);
  if (key === undefined) throw new Error("a key that was checked is readable");
  return key;
}

function addressOf(text: string): IpAddress {
  const address = parseIp(text);
  if (!address.ok) throw new Error("an address that was checked is readable");
  return address.value;
}
