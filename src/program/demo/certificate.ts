/** A certificate for the demo's relay, which signs itself and is good for a day. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PosternError } from "../../base/index.ts";
import { findHelper } from "../../host/index.ts";

const NAME = "relay.demo";

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** @throws PosternError `demo-certificate` where there is no openssl, or it refuses */
export function makeCertificate(): Certificate {
  const openssl = findHelper("openssl");
  if (openssl === undefined) {
    const what = "the demo over TLS needs the program 'openssl'";
    throw new PosternError("demo-certificate", what, "install the package openssl");
  }
  const folder = mkdtempSync(join(tmpdir(), "postern-demo-"));
  try {
    const [key, cert] = [join(folder, "key"), join(folder, "cert")];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
    const names = ["-subj", `/CN=${NAME}`, "-addext", `subjectAltName=DNS:${NAME}`];
    const args = ["req", "-x509", ...kind, ...names, "-keyout", key, "-out", cert];
    const { status, stderr } = spawnSync(openssl, args, { encoding: "utf8" });
    if (status !== 0) {
      throw new PosternError("demo-certificate", `openssl made no certificate: ${stderr.trim().slice(-300)}`);
    }
    return { cert: readFileSync(cert), key: readFileSync(key) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
