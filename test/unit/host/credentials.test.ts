import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openKernel } from "../../../bindings/linux/index.ts";
import { PosternError, SILENT, secret } from "../../../src/base/index.ts";
import {
  fromMachineId,
  isPrivileged,
  resolveIdentifier,
  resolveToken,
  type TokenSource,
  takeLock,
  toIdentifier,
  tokenFileProblem,
} from "../../../src/host/index.ts";
import { missingRequirement } from "../../lib/requirements.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-host-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The code and message of what `use` throws. */
function failure(use: () => unknown): string {
  try {
    use();
  } catch (error) {
    if (error instanceof PosternError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "nothing thrown";
}

describe("token", () => {
  const none = { variable: undefined };
  const write = (text: string, mode: number): string => {
    const path = join(folder, "token");
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };

  const tokenOf = (source: TokenSource): string => resolveToken(source).token.reveal();

  it.each([0o400, 0o600])("PG-20: a file of mode %o is read, white space cut off", (mode) => {
    expect(tokenOf({ ...none, path: write("  abc\n", mode) })).toBe("abc");
  });

  it.each([
    [0o644, "0644"],
    [0o640, "0640"],
    [0o604, "0604"],
    [0o620, "0620"],
    [0o700, "0700"],
  ])("PG-20: a file of mode %o is refused", (mode, text) => {
    const path = write("abc", mode);
    expect(failure(() => resolveToken({ ...none, path }))).toBe(
      `token-file: token file ${path} has mode ${text}, expected 0400 or 0600`,
    );
  });

  it("PG-20: owner and group are root or the process's own", () => {
    const file = { isFile: () => true, uid: 1000, gid: 1000, mode: 0o100600, size: 10 };
    expect(tokenFileProblem(file, 1000, 1000)).toBeUndefined();
    expect(tokenFileProblem({ ...file, uid: 0, gid: 0 }, 1000, 1000)).toBeUndefined();
    expect(tokenFileProblem({ ...file, uid: 1001 }, 1000, 1000)).toContain("belongs to uid 1001");
    expect(tokenFileProblem({ ...file, gid: 1001 }, 1000, 1000)).toContain("belongs to gid 1001");
    expect(tokenFileProblem({ ...file, size: 65536 }, 1000, 1000)).toBeUndefined();
    expect(tokenFileProblem({ ...file, size: 65537 }, 1000, 1000)).toContain("longer");
  });

  it.skipIf(missingRequirement(["users"]) !== undefined)(
    "PG-20: somebody else's file is refused (needs root)",
    () => {
      const path = write("abc", 0o600);
      chownSync(path, 4711, 0);
      expect(failure(() => resolveToken({ ...none, path }))).toContain("belongs to uid 4711");
    },
  );

  it("PG-20: links, FIFOs and folders are refused, without waiting for a writer", () => {
    const path = write("abc", 0o600);
    const link = join(folder, "link");
    symlinkSync(path, link);
    expect(failure(() => resolveToken({ ...none, path: link }))).toContain("is a symbolic link");
    const fifo = join(folder, "fifo");
    execFileSync("mkfifo", ["-m", "600", fifo], { timeout: 60_000 });
    expect(failure(() => resolveToken({ ...none, path: fifo }))).toContain("is not a regular file");
    expect(failure(() => resolveToken({ ...none, path: folder }))).toContain("is not a regular file");
  });

  it("PG-19: empty or missing is no token", () => {
    const path = write(" \n", 0o600);
    const message = `token-missing: no token in POSTERN_TOKEN and none in ${path}`;
    expect(failure(() => resolveToken({ ...none, path }))).toBe(message);
    rmSync(path);
    expect(failure(() => resolveToken({ ...none, path }))).toBe(message);
  });

  it("PG-19: the variable wins, then the credential, then the file", () => {
    const path = write("from-file", 0o600);
    const credentialsFolder = join(folder, "credentials");
    mkdirSync(credentialsFolder);
    writeFileSync(join(credentialsFolder, "FIREZONE_TOKEN"), "from-alias\n");
    const source = { path, credentialsFolder };
    expect(tokenOf({ ...source, variable: undefined })).toBe("from-alias");
    writeFileSync(join(credentialsFolder, "POSTERN_TOKEN"), "from-credential\n");
    expect(tokenOf({ ...source, variable: undefined })).toBe("from-credential");
    expect(tokenOf({ ...source, variable: secret(" from-variable ") })).toBe("from-variable");
    expect(tokenOf({ ...source, variable: secret("  ") })).toBe("from-credential");
  });

  it("PG-19: a variable that names a file means its content, under the same conditions", () => {
    const path = write("from-file", 0o600);
    const elsewhere = { variable: secret(path), path: "/nowhere" };
    expect(tokenOf(elsewhere)).toBe("from-file");
    chmodSync(path, 0o644);
    expect(failure(() => resolveToken(elsewhere))).toContain("has mode 0644");
    // No such file: then it is a token that begins with a slash.
    expect(tokenOf({ ...elsewhere, variable: secret("/not/a/file") })).toBe("/not/a/file");
  });
});

const VECTOR = {
  uuid: "7ae1b2c3-4d5e-4f60-8a9b-0c1d2e3f4a5b",
  id: "472f133e42ac31465e1198c4a58f2f0c2dbf292f71ea82c0f75498505c542ac7",
  machineId: "0123456789abcdef0123456789abcdef",
  client: "e3803214739c44093e11b39b09284bfb81909f31a80d676aeb34c5f897130001",
};

describe("identifier", () => {
  const source = (changes: { configured?: string; path?: string; machineIdPath?: string } = {}) => ({
    role: "client" as const,
    path: join(folder, "state", "client-id.json"),
    ...changes,
  });

  it("PG-24, PG-25: the vectors of the specification", () => {
    expect(toIdentifier(VECTOR.uuid)).toBe(VECTOR.id);
    expect(fromMachineId("client", `${VECTOR.machineId}\n`)).toBe(VECTOR.client);
    expect(fromMachineId("gateway", VECTOR.machineId)).not.toBe(VECTOR.client);
  });

  it("PG-23, PG-25: made once, kept in a file of mode 0640, found again", () => {
    const first = resolveIdentifier(source(), SILENT);
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(resolveIdentifier(source(), SILENT)).toBe(first);
    expect(JSON.parse(readFileSync(source().path, "utf8"))).toEqual({ id: first });
    expect(statSync(source().path).mode & 0o777).toBe(0o640);
    expect(statSync(join(folder, "state")).mode & 0o777).toBe(0o750);
    // Nothing half-written lies beside it.
    expect(readdirSync(join(folder, "state"))).toEqual(["client-id.json"]);
  });

  it("PG-25: an existing UUID is kept; option before file; empty option does not count", () => {
    mkdirSync(join(folder, "state"));
    writeFileSync(source().path, JSON.stringify({ id: VECTOR.uuid }));
    expect(resolveIdentifier(source(), SILENT)).toBe(VECTOR.uuid);
    expect(resolveIdentifier(source({ configured: "laptop" }), SILENT)).toBe("laptop");
    expect(resolveIdentifier(source({ configured: "" }), SILENT)).toBe(VECTOR.uuid);
  });

  it.each(["", "{}", '{"id":7}', '{"id":""}', "not json"])(
    "PG-23: a file of %j is an error, not replaced",
    (text) => {
      mkdirSync(join(folder, "state"));
      writeFileSync(source().path, text);
      expect(failure(() => resolveIdentifier(source(), SILENT))).toContain("id-invalid");
      expect(readFileSync(source().path, "utf8")).toBe(text);
    },
  );

  it("PG-25: where nothing can be saved, the machine-id decides, and a WARN says so", () => {
    const machineIdPath = join(folder, "machine-id");
    writeFileSync(machineIdPath, `${VECTOR.machineId}\n`);
    // A file in the way of a folder cannot be written, not even by root.
    const path = join(machineIdPath, "client-id.json");
    const warnings: string[] = [];
    const log = { ...SILENT, warn: (event: string) => void warnings.push(event) };
    expect(resolveIdentifier(source({ path, machineIdPath }), log)).toBe(VECTOR.client);
    expect(warnings).toEqual(["identifier not saved; derived from the machine-id"]);
    const gone = { path, machineIdPath: join(folder, "none") };
    expect(failure(() => resolveIdentifier(source(gone), SILENT))).toContain("id-unavailable");
  });
});

describe("privilege", () => {
  const status = (uid: string, capEff: string) =>
    `Name:\tnode\nUid:\t1000\t${uid}\t0\t0\nCapEff:\t${capEff}\n`;
  it.each([
    { uid: "0", capEff: "0000000000000000", expected: true },
    { uid: "1000", capEff: "0000000000001000", expected: true },
    { uid: "1000", capEff: "000001fffeffffff", expected: true },
    { uid: "1000", capEff: "0000000000000800", expected: false },
    { uid: "1000", capEff: "0000000000002000", expected: false },
  ])("PG-11: effective uid $uid with capabilities $capEff: $expected", ({ uid, capEff, expected }) => {
    expect(isPrivileged(status(uid, capEff))).toBe(expected);
  });
});

describe("lock", () => {
  const kernel = openKernel();

  it("PG-10: one holder at a time; the refusal names its process", () => {
    const lock = takeLock(kernel, "client", [join(folder, "run")]);
    expect(failure(() => takeLock(kernel, "client", [join(folder, "run")]))).toBe(
      `in-use: another instance of client is running (process ${process.pid})`,
    );
    const other = takeLock(kernel, "gateway", [join(folder, "run")]);
    other.release();
    lock.release();
    takeLock(kernel, "client", [join(folder, "run")]).release();
  });

  it("PG-10: nobody else can open it, and so keep an instance from starting that was killed", () => {
    const lock = takeLock(kernel, "client", [folder]);
    expect(statSync(lock.path).mode & 0o777).toBe(0o600);
    lock.release();
  });

  it("PG-15: nothing is left after release, and what a killed process left is no lock", () => {
    const lock = takeLock(kernel, "client", [folder]);
    expect(readFileSync(lock.path, "utf8")).toBe(`${process.pid}\n`);
    lock.release();
    expect(existsSync(lock.path)).toBe(false);
    writeFileSync(lock.path, "4194304 of a killed process\n");
    takeLock(kernel, "client", [folder]).release();
  });

  it("PG-10: a file that its holder removed while we opened it is not taken for the lock", () => {
    const path = join(folder, "client.lock");
    let calls = 0;
    const sys = {
      ...kernel.sys,
      flock(fd: number, operation: number) {
        if (calls++ === 0) rmSync(path);
        return kernel.sys.flock(fd, operation);
      },
    };
    const lock = takeLock({ ...kernel, sys }, "client", [folder]);
    expect(calls).toBe(2);
    expect(failure(() => takeLock(kernel, "client", [folder]))).toContain("in-use");
    lock.release();
  });

  it("PG-10: the next folder is taken when the first cannot be written", () => {
    writeFileSync(join(folder, "file"), "");
    const lock = takeLock(kernel, "client", [join(folder, "file"), join(folder, "own")]);
    expect(lock.path).toBe(join(folder, "own", "client.lock"));
    lock.release();
    expect(failure(() => takeLock(kernel, "client", [join(folder, "file")]))).toContain(
      "cannot write a lock file",
    );
  });
});
