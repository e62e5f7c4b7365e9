/**
 * Writes docs/commands.md from the tables of commands and options.
 *
 *   npm run build && node scripts/gen/commands.mjs
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { COMMANDS } from "../../build/src/cli/commands.js";
import { formatDocument } from "../../build/src/cli/help.js";
import { ROOT } from "../steps.mjs";

writeFileSync(join(ROOT, "docs", "commands.md"), formatDocument(COMMANDS));
