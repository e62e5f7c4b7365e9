/** unbound in a namespace: a name server that knows what a test tells it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Child, Namespace } from "../../src/program/lab/index.ts";

const STARTED = /start of service/;
const WITHIN_MS = 15_000;

export interface NameServerOptions {
  /** Where it listens, UDP and TCP port 53. */
  readonly listen: readonly string[];
  /** As in a zone file, with full names: `wiki.corp.example. 60 IN A 172.20.0.100`. */
  readonly records?: readonly string[];
  /** Whom it asks what it does not know; without: no such name. */
  readonly forwardTo?: string;
  readonly name?: string;
}

export interface NameServer {
  readonly child: Child;
  /** Questions so far, `NAME TYPE` in lower case, as often as they came. */
  asked(): readonly string[];
}

/** Resolves when it answers. */
export async function startNameServer(where: Namespace, options: NameServerOptions): Promise<NameServer> {
  const name = options.name ?? "unbound";
  writeFileSync(join(where.runFolder, `${name}.conf`), configuration(options));
  const child = where.start({ name, command: "unbound", args: ["-d", "-p", "-c", `/run/${name}.conf`] });
  await child.waitForLine(STARTED, { withinMs: WITHIN_MS });
  return {
    child,
    asked: () =>
      [...child.stderr().matchAll(/ info: \S+ (\S+)\. (\w+) IN$/gm)].map(
        ([, question = "", type = ""]) => `${question.toLowerCase()} ${type}`,
      ),
  };
}

function configuration({ listen, records = [], forwardTo }: NameServerOptions): string {
  const server = [
    ...listen.map((address) => `interface: ${address}`),
    "access-control: 0.0.0.0/0 allow",
    "access-control: ::/0 allow",
    // Without a user of its own, root's files, syslog, and the root zone's keys.
    'username: ""',
    'chroot: ""',
    'directory: "/run"',
    'pidfile: ""',
    "use-syslog: no",
    "log-queries: yes",
    "verbosity: 1",
    'module-config: "iterator"',
    "do-not-query-localhost: no",
    // What it has no record of exists nowhere, unless somebody else is asked.
    `local-zone: "." ${forwardTo === undefined ? "static" : "transparent"}`,
    ...records.map((record) => `local-data: '${record}'`),
  ];
  const forward = forwardTo === undefined ? "" : `forward-zone:\n  name: "."\n  forward-addr: ${forwardTo}\n`;
  return `server:\n${server.map((line) => `  ${line}\n`).join("")}${forward}`;
}
