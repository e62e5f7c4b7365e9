#!/usr/bin/env -S node --
/**
 * The executable `postern-wg`: `postern wg --bare --detach`, in one word, as wg-quick wants its userspace
 * implementation named (WG-68).
 */
process.argv.splice(2, 0, "wg", "--bare", "--detach");
await import("./main.ts");
