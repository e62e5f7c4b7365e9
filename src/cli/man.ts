/** The man page, made from the tables of commands and options (PG-140). Pure: roff of man(7). */
import { VERSION } from "../program/version.ts";
import type { Command } from "./define.ts";
import { describeOption, optionName } from "./help.ts";
import type { OptionSpec } from "./options.ts";

/** The codes of PG-14. */
const EXIT_CODES: readonly (readonly [code: string, meaning: string])[] = [
  ["0", "clean stop"],
  ["1", "other failure; not healthy"],
  ["2", "bad command, option, variable or content of a configuration file"],
  ["3", "no token, permissions of its file, bad identifier, unreadable file"],
  ["4", "the portal refused the token or the join"],
  ["5", "missing privilege"],
  ["6", "portal unreachable"],
  ["7", "the portal's certificate is invalid"],
  ["8", "setting the host up failed"],
  ["9", "another instance holds the lock"],
  ["10", "no running instance answers"],
  ["70", "a defect, or a worker died"],
];

export function formatMan(commands: readonly Command[]): string {
  return [
    `.TH POSTERN 1 "" "postern ${VERSION}" "Postern"`,
    ".SH NAME",
    roff("postern - access to private resources through WireGuard tunnels"),
    ".SH SYNOPSIS",
    ".B postern",
    ".I COMMAND",
    roff("[OPTIONS]"),
    ".SH DESCRIPTION",
    roff("Clients reach resources behind gateways; a portal says who may reach what, relays help where no"),
    roff("direct path exists. Options may be given as variables: --some-name as POSTERN_SOME_NAME."),
    ".SH COMMANDS",
    ...commands.flatMap(formatSection),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, meaning]) => [".TP", `.B ${code}`, roff(meaning)]),
    ".SH FILES",
    ...FILES.flatMap(([path, meaning]) => [".TP", `.I ${roff(path)}`, roff(meaning)]),
    "",
  ].join("\n");
}

const FILES: readonly (readonly [path: string, meaning: string])[] = [
  ["/etc/postern/ROLE-token", "the token of a role, readable by its owner only"],
  ["/etc/postern/ROLE.env", "options of a service, as variables"],
  ["/var/lib/postern", "identifiers, and the portal's state"],
  ["/run/postern", "locks and control sockets"],
];

function formatSection({ name, summary, usage, options, examples }: Command): readonly string[] {
  const line = [name, usage].filter((part) => part !== "").join(" ");
  return [
    `.SS ${roff(`postern ${line}`)}`,
    roff(summary),
    ...Object.entries<OptionSpec>(options).flatMap(([option, spec]) => [
      ".TP",
      `.B ${roff(optionName(option, spec))}`,
      roff(describeOption(option, spec)),
    ]),
    ".PP",
    "Examples:",
    ...examples.flatMap(([command, what]) => [".IP", `.B ${roff(command)}`, ".br", roff(what)]),
  ];
}

function hex4(character: string): string {
  return (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
}

/** Text that roff takes as it is: no escapes, no request at the beginning of a line, real hyphens. */
function roff(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    // roff reads Latin-1; others by their number (groff_char(7)).
    .replace(/[^\n\x20-\x7e]/g, (character) => `\\[u${hex4(character)}]`);
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}
