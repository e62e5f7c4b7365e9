/** `postern service print|install|enable|disable ROLE` (PG-78). */

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { programVariables, programWords } from "../../../bindings/runtime/index.ts";
import { PosternError } from "../../base/index.ts";
import { findHelper, helperEnvironment } from "../../host/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { ServiceOptions } from "../options.ts";
import {
  environmentTemplate,
  POLKIT_RULE,
  SERVICE_ROLES,
  type ServiceRole,
  SYSUSERS,
  TMPFILES,
  type UnitOptions,
  unitName,
  unitOf,
} from "./units.ts";

const ACTIONS = ["print", "install", "enable", "disable"] as const;
const COMMAND_MS_MAX = 60_000;

/** @throws PosternError `usage`, `privilege`, `host` */
export function runService(options: ServiceOptions, io: ProgramIo): number {
  const action = ACTIONS.find((one) => one === options.words[0]);
  const role = SERVICE_ROLES.find((one) => one === options.words[1]);
  if (action === undefined || role === undefined) {
    const what =
      action === undefined ? `'${options.words[0]}' is no action` : `'${options.words[1]}' is no service`;
    throw new PosternError(
      "usage",
      `service: ${what}`,
      `usage: postern service ${ACTIONS.join("|")} ${SERVICE_ROLES.join("|")}`,
    );
  }
  if (action === "print") {
    io.print(unitOf(role, unitOptions(role, options)).trimEnd());
    return EXIT.ok;
  }
  requireRoot(options);
  if (action === "install") install(role, options, io);
  else switchService(action, role, options, io);
  return EXIT.ok;
}

/** @throws PosternError `usage` where the role has no DNS to control */
function unitOptions(role: ServiceRole, options: ServiceOptions): UnitOptions {
  const ownsResolvConf = options.dnsControl === "etc-resolv-conf";
  if (ownsResolvConf && role !== "client") {
    throw new PosternError("usage", `service: ${role} controls no DNS`, "leave out --dns-control");
  }
  return { ...ownCommand(options), ownsResolvConf };
}

function requireRoot({ dryRun }: ServiceOptions): void {
  if (dryRun || process.geteuid?.() === 0) return;
  throw new PosternError("privilege", "service needs root", "or look at what it does with --dry-run");
}

function install(role: ServiceRole, options: ServiceOptions, io: ProgramIo): void {
  const { command } = ownCommand(options);
  const hidden = command.find((word) => /^\/(home|root|run\/user)\//.test(word));
  if (hidden !== undefined) {
    // ProtectHome=true, for one, and other users may not read there.
    io.printError(`postern: the service cannot see ${hidden}; install the package for all users first`);
  }
  const files: readonly (readonly [path: string, text: string])[] = [
    [`/etc/systemd/system/${unitName(role)}`, unitOf(role, unitOptions(role, options))],
    ["/etc/sysusers.d/postern.conf", SYSUSERS],
    ["/etc/tmpfiles.d/postern.conf", TMPFILES],
    ...(role === "client" && options.dnsControl !== "etc-resolv-conf"
      ? [["/etc/polkit-1/rules.d/50-postern.rules", POLKIT_RULE] as const]
      : []),
  ];
  for (const [path, text] of files) write(path, text, options, io);
  const environment = `/etc/postern/${role}.env`;
  // What an administrator has written there stays.
  if (!existsSync(inRoot(environment, options))) write(environment, environmentTemplate(role), options, io);
  // Another root has a service manager of its own.
  if (options.root !== undefined) return;
  for (const words of [
    ["systemd-sysusers", "postern.conf"],
    ["systemd-tmpfiles", "--create", "postern.conf"],
    ["systemctl", "daemon-reload"],
  ])
    run(words, options, io);
}

function switchService(
  action: "enable" | "disable",
  role: ServiceRole,
  options: ServiceOptions,
  io: ProgramIo,
): void {
  const where = options.root === undefined ? ["--now"] : [`--root=${resolve(options.root)}`];
  run(["systemctl", action, ...where, unitName(role)], options, io);
}

function write(path: string, text: string, options: ServiceOptions, io: ProgramIo): void {
  const target = inRoot(path, options);
  io.print(`${options.dryRun ? "would write" : "writing"} ${target}`);
  if (options.dryRun) return;
  try {
    mkdirSync(dirname(target), { recursive: true });
    // Whole or not at all, also for a service manager that reads meanwhile.
    const temporary = `${target}.${process.pid}.new`;
    writeFileSync(temporary, text, { mode: 0o644 });
    // Whatever the umask is: others read these files.
    chmodSync(temporary, 0o644);
    renameSync(temporary, target);
  } catch (cause) {
    throw new PosternError("host", `cannot write ${target}`, undefined, { cause });
  }
}

function inRoot(path: string, { root }: ServiceOptions): string {
  return root === undefined ? path : join(resolve(root), path);
}

function run(words: readonly string[], { dryRun }: ServiceOptions, io: ProgramIo): void {
  io.print(`${dryRun ? "would run" : "running"} ${words.join(" ")}`);
  if (dryRun) return;
  const [command = "", ...rest] = words;
  const child = spawnSync(command, rest, {
    env: helperEnvironment(),
    stdio: ["ignore", "inherit", "inherit"],
    timeout: COMMAND_MS_MAX,
  });
  if (child.status === 0) return;
  const hint = child.error === undefined ? "its own message says why" : "is this a host with systemd?";
  throw new PosternError("host", `${words.join(" ")} failed`, hint, { cause: child.error });
}

/** What starts this program: the command that is installed, else this very file with this runtime. */
function ownCommand({ main }: ServiceOptions): Pick<UnitOptions, "command" | "variables"> {
  const installed = findHelper("postern");
  if (installed !== undefined) return { command: [installed] };
  return { command: programWords(main), variables: programVariables() };
}
