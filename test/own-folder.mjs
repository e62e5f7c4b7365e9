/** The folder that a process of tests has of its own below the temporary one; its name tells whose it is (TS-81). */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const NAME = /^pt-own-(\d+)-/;

/** Makes one below `parent`, and takes away those of processes that are gone: they were killed. */
export function makeOwnFolder(parent) {
  for (const name of readdirSync(parent)) {
    const pid = NAME.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(parent, name), { recursive: true, force: true });
  }
  return mkdtempSync(join(parent, `pt-own-${process.pid}-`));
}
