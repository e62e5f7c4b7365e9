/** The log in files (PG-100, PG-101), in a folder of the test's own. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLogFile, type LogFile } from "../../../src/program/log-file.ts";

let folder: string;
let troubles: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "log-"));
  troubles = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function open(instance = "client", below = folder): LogFile {
  return createLogFile({
    folder: below,
    instance,
    wallMs: () => Date.parse("2026-01-27T10:00:00.123Z"),
    onTrouble: (level, event) => troubles.push(`${level} ${event}`),
  });
}

describe("the log in files", () => {
  it("PG-100: one file per run, named after instance and start, made with its folders when the first line comes", async () => {
    const below = join(folder, "a", "b");
    const log = open("gateway", below);
    expect(log.path).toBe(join(below, "postern-gateway.2026-01-27-10-00-00.log"));
    expect(existsSync(below)).toBe(false);
    log.write("one");
    log.write("two");
    await log.drain();
    expect(readFileSync(log.path, "utf8")).toBe("one\ntwo\n");
    expect(statSync(log.path).mode & 0o777).toBe(0o640);
    expect(readlinkSync(join(below, "latest"))).toBe("postern-gateway.2026-01-27-10-00-00.log");
  });

  it("PG-100: a file that is deleted or moved away while the program runs is made anew", async () => {
    const log = open();
    log.write("one");
    await log.drain();
    rmSync(log.path);
    log.write("two");
    await log.drain();
    expect(readFileSync(log.path, "utf8")).toBe("two\n");
    renameSync(log.path, `${log.path}.1`);
    log.write("three");
    await log.drain();
    expect(readFileSync(`${log.path}.1`, "utf8")).toBe("two\n");
    expect(readFileSync(log.path, "utf8")).toBe("three\n");
  });

  it("PT-114: it can be opened anew on demand", async () => {
    const log = open();
    log.write("one");
    await log.drain();
    log.reopen();
    log.write("two");
    await log.drain();
    expect(readFileSync(log.path, "utf8")).toBe("one\ntwo\n");
  });

  it("PG-100: 1,024 lines wait; of more the next line says how many were lost", async () => {
    const log = open();
    for (let n = 0; n < 1_030; n++) log.write(String(n));
    expect(log.dropped()).toBe(6);
    await log.drain();
    log.write("next");
    await log.drain();
    const lines = readFileSync(log.path, "utf8").split("\n");
    expect(lines.slice(1_022, 1_026)).toEqual(["1022", "1023", "… 6 lines were not taken", "next"]);
  });

  it("PG-100: a folder that cannot be had is said once, lines are counted, and a later try may work", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const log = open("client", join(file, "below"));
    log.write("one");
    await log.drain();
    log.write("two");
    await log.drain();
    expect(troubles.filter((one) => one.startsWith("warn"))).toEqual(["warn cannot write the log file"]);
    expect(log.dropped()).toBe(2);
    rmSync(file);
    log.write("three");
    await log.drain();
    expect(readFileSync(log.path, "utf8")).toBe("… 2 lines were not taken\nthree\n");
  });

  it("PG-100: at the end of the process what still waits goes out at once", () => {
    const log = open();
    log.write("last words");
    log.flushSync();
    expect(readFileSync(log.path, "utf8")).toBe("last words\n");
  });

  it("PG-101: above 100 MiB the oldest go, but none younger than 300 s, nor other files", () => {
    const now = Date.parse("2026-01-27T10:00:00.123Z") / 1000;
    const make = (name: string, ageS: number): void => {
      writeFileSync(join(folder, name), "");
      truncateSync(join(folder, name), 60 << 20);
      utimesSync(join(folder, name), now - ageS, now - ageS);
    };
    make("postern-client.a.log", 4_000);
    make("postern-client.b.log", 3_000);
    make("postern-client.c.log", 200);
    make("postern-client.d.log", 100);
    make("notes.txt", 9_000);
    open();
    expect(readdirSync(folder).sort()).toEqual(["notes.txt", "postern-client.c.log", "postern-client.d.log"]);
    expect(troubles).toEqual([]);
  });
});
