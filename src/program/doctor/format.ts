/** Findings for people: one line each, with the remedy below it (PG-141). Pure. */
import { printable, wrap } from "../ask/index.ts";
import type { Finding } from "./judge.ts";

const CHECK_WIDTH = 16;
const INDENT = " ".repeat("fail".length + 2 + CHECK_WIDTH + 1);

export function formatFindings(findings: readonly Finding[]): readonly string[] {
  const lines = findings.flatMap(({ check, verdict, says, remedy }) => [
    ...wrap(printable(says), INDENT, `${verdict.padEnd(4)}  ${check.padEnd(CHECK_WIDTH)} `),
    ...(remedy === undefined ? [] : wrap(printable(remedy), `${INDENT}  `, `${INDENT}→ `)),
  ]);
  const count = (verdict: Finding["verdict"]): number =>
    findings.filter((finding) => finding.verdict === verdict).length;
  return [...lines, "", `${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} wrong`];
}
