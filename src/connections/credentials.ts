/** ICE credentials: what is accepted (SN-13), and how they appear in logs (SN-134). */

import { sha256 } from "@noble/hashes/sha2.js";
import { toHex } from "../base/index.ts";
import type { IceCredentials } from "../ice/index.ts";
import { KEY_BYTES } from "../wireguard/index.ts";
import type { ConnectionRequest } from "./face.ts";

const USERNAME = /^[A-Za-z0-9+/]{4,256}$/;
const PASSWORD = /^[A-Za-z0-9+/]{22,256}$/;

export function isUsableRequest(request: ConnectionRequest): boolean {
  return (
    areUsable(request.localCredentials) &&
    areUsable(request.remoteCredentials) &&
    request.remoteKey.length === KEY_BYTES &&
    request.presharedKey.length === KEY_BYTES
  );
}

function areUsable({ username, password }: IceCredentials): boolean {
  return USERNAME.test(username) && PASSWORD.test(password);
}

export function areEqual(a: IceCredentials, b: IceCredentials): boolean {
  return a.username === b.username && a.password === b.password;
}

/** Names both ends' credentials without a secret. */
export function fragmentFields(request: ConnectionRequest): Readonly<Record<string, string>> {
  return {
    localFragment: request.localCredentials.username,
    remoteFragment: request.remoteCredentials.username,
  };
}

/** Shows a mismatch between two ends without showing the secret; for DEBUG (SN-134). */
export function passwordHashes(request: ConnectionRequest): Readonly<Record<string, string>> {
  return {
    localPasswordHash: hashPrefix(request.localCredentials.password),
    remotePasswordHash: hashPrefix(request.remoteCredentials.password),
  };
}

function hashPrefix(password: string): string {
  return toHex(sha256(new TextEncoder().encode(password)).subarray(0, 4));
}
