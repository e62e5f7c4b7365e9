/** Certificates that sign themselves, for servers of a test; made by openssl. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { findHelper } from "../../src/host/index.ts";

export const hasOpenssl = findHelper("openssl") !== undefined;

/** Writes `crt` and `key` into the folder, good for two days. @param names as in `DNS:a.example,IP:127.0.0.1` */
export function makeCertificate(folder: string, commonName: string, names: string): void {
  const files = ["-keyout", join(folder, "key"), "-out", join(folder, "crt")];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const request = ["req", "-x509", "-subj", `/CN=${commonName}`, "-addext", `subjectAltName=${names}`];
  execFileSync("openssl", [...request, ...kind, ...files], { timeout: 60_000, stdio: "pipe" });
}
