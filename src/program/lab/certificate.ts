/** Certificates that sign themselves and are good for a day. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PosternError } from "../../base/index.ts";
import { findHelper } from "../../host/index.ts";

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** @throws PosternError `lab-certificate` where there is no openssl, or it refuses */
export function makeCertificate(name: string): Certificate {
  const openssl = findHelper("openssl");
  if (openssl === undefined) {
    const what = "a certificate needs the program 'openssl'";
    throw new PosternError("lab-certificate", what, "install the package openssl");
  }
  const folder = mkdtempSync(join(tmpdir(), "postern-lab-"));
  try {
    const [key, cert] = [join(folder, "key"), join(folder, "cert")];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
    const names = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
    const args = ["req", "-x509", ...kind, ...names, "-keyout", key, "-out", cert];
    const { status, stderr } = spawnSync(openssl, args, { timeout: 60_000, encoding: "utf8" });
    if (status !== 0) {
      throw new PosternError("lab-certificate", `openssl made no certificate: ${stderr.trim().slice(-300)}`);
    }
    return { cert: readFileSync(cert), key: readFileSync(key) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
