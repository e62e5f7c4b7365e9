/** Certificate and key of portal and relay, read at the start and again on SIGHUP (PT-114, RL-200). */
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { PosternError } from "../base/index.ts";

export interface TlsPaths {
  readonly certPath: string;
  readonly keyPath: string;
}

/** @throws PosternError `config-unreadable` for files that cannot be read or do not belong together */
export function readTlsFiles({ certPath, keyPath }: TlsPaths): {
  readonly cert: Buffer;
  readonly key: Buffer;
} {
  try {
    const files = { cert: readFileSync(certPath), key: readFileSync(keyPath) };
    createSecureContext(files);
    return files;
  } catch (cause) {
    const what = `cannot use the certificate ${certPath} with the key ${keyPath}`;
    const hint = "both must be readable PEM files that belong together";
    throw new PosternError("config-unreadable", what, hint, { cause });
  }
}
