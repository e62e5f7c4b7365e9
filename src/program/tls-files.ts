/** Certificate and key of portal and relay, read at the start and again on SIGHUP (PT-114, RL-200). */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContext } from "node:tls";
import { currentRuntime } from "../../bindings/runtime/index.ts";
import { PosternError } from "../base/index.ts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const KEY = /-----BEGIN ([A-Z]+ )?PRIVATE KEY-----[^-]*-----END ([A-Z]+ )?PRIVATE KEY-----/;

export interface TlsPaths {
  readonly certPath: string;
  readonly keyPath: string;
}

/** In PEM. */
export interface TlsPair {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

/** @throws PosternError `config-unreadable` for files that cannot be read or do not belong together */
export function readTlsFiles({ certPath, keyPath }: TlsPaths): {
  readonly cert: Buffer;
  readonly key: Buffer;
} {
  try {
    const files = { cert: readFileSync(certPath), key: readFileSync(keyPath) };
    createTlsContext(files);
    return files;
  } catch (cause) {
    const what = `cannot use the certificate ${certPath} with the key ${keyPath}`;
    const hint = "both must be readable PEM files that belong together";
    throw new PosternError("config-unreadable", what, hint, { cause });
  }
}

/**
 * What TLS connections of a server are made with, as both portal and relay want it.
 *
 * @throws what the runtime says of a pair that does not fit
 */
export function createTlsContext(pair: TlsPair): SecureContext {
  // It makes a context of anything, and then fails each handshake (2.9.6); the others look themselves.
  if (currentRuntime() === "deno") checkPair(pair);
  return createSecureContext({ ...pair, minVersion: "TLSv1.2" });
}

function checkPair({ cert, key }: TlsPair): void {
  const [own, ...chain] = `${cert}`.match(CERTIFICATE) ?? [];
  const [ownKey] = KEY.exec(`${key}`) ?? [];
  if (own === undefined) throw new Error("no certificate in PEM");
  if (ownKey === undefined) throw new Error("no private key in PEM");
  for (const one of chain) new X509Certificate(one);
  if (!new X509Certificate(own).checkPrivateKey(createPrivateKey(ownKey)))
    throw new Error("certificate and key do not belong together");
}
