/** Commands that speak with a running program (PG-1, PG-111). */
import { setTimeout as wait } from "node:timers/promises";
import { PosternError } from "../../base/index.ts";
import { runFolders } from "../../host/index.ts";
import {
  type AnyStatus,
  type ConnectionView,
  type ControlClient,
  findInstances,
  type LookupView,
  openControlClient,
  type PeerStatus,
  type ResourceView,
  type WhyView,
} from "../control/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import { formatFlows } from "./format-flows.ts";
import { formatLookup } from "./format-lookup.ts";
import { formatConnections, formatResources, formatStatus } from "./format-status.ts";
import { explainAbsence, formatWhy, selectViews } from "./format-why.ts";

export interface AskOptions {
  /** Absent: the one that runs here. */
  readonly instance: string | undefined;
}

export interface ShowOptions extends AskOptions {
  readonly json: boolean;
}

export interface StatusOptions extends ShowOptions {
  readonly watch: boolean;
}

const WATCH_MS = 1_000;
/** Clears a terminal and goes to its first line. */
const CLEAR = "\x1b[H\x1b[2J";

/** @throws PosternError `no-instance` (exit 10); `usage` where several run and none is named */
async function connect({ instance }: AskOptions, io: ProgramIo): Promise<ControlClient> {
  const folders = runFolders(io.env);
  return await openControlClient(instance ?? (await onlyInstance(folders)), folders);
}

async function onlyInstance(folders: readonly string[]): Promise<string> {
  const [first, ...others] = await findInstances(folders);
  // Nobody answers; which it would have been is the likeliest guess.
  if (first === undefined) return "client";
  if (others.length === 0) return first;
  throw new PosternError(
    "usage",
    `several instances run here: ${[first, ...others].join(", ")}`,
    "choose one with --instance",
  );
}

async function withInstance<T>(
  options: AskOptions,
  io: ProgramIo,
  use: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = await connect(options, io);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/** Asks once and prints the answer, as JSON or for people. */
function show<T>(
  method: string,
  format: (result: T) => readonly string[],
): (options: ShowOptions, io: ProgramIo) => Promise<number> {
  return (options, io) =>
    withInstance(options, io, async (client) => {
      print(await client.ask(method), options.json, format, io);
      return EXIT.ok;
    });
}

function print<T>(
  result: unknown,
  json: boolean,
  format: (result: T) => readonly string[],
  io: ProgramIo,
): void {
  if (json) io.print(JSON.stringify(result));
  // The program answers by the types of `control/status.ts`.
  else for (const line of format(result as T)) io.print(line);
}

export const showConnections = show<readonly ConnectionView[]>("connections", formatConnections);
export const showResources = show<readonly ResourceView[]>("resources", formatResources);

/** PG-108: the newest flows of a gateway. */
export function showFlows(
  { limit, ...options }: ShowOptions & { readonly limit: number },
  io: ProgramIo,
): Promise<number> {
  return withInstance(options, io, async (client) => {
    print(await client.ask("flows", { limit }), options.json, formatFlows, io);
    return EXIT.ok;
  });
}

export function showStatus(options: StatusOptions, io: ProgramIo): Promise<number> {
  return withInstance(options, io, async (client) => {
    const format = (status: AnyStatus): readonly string[] => formatStatus(status);
    const isTerminal = options.watch && !options.json && process.stdout.isTTY === true;
    for (;;) {
      const status = await client.ask("status");
      if (isTerminal) io.print(`${CLEAR}${format(status as AnyStatus).join("\n")}`);
      else print(status, options.json, format, io);
      if (!options.watch) return EXIT.ok;
      await wait(WATCH_MS);
    }
  });
}

/** PG-190: why each connection goes as it does, or those that `word` names. */
export function explainConnections(
  { word, ...options }: ShowOptions & { readonly word: string | undefined },
  io: ProgramIo,
): Promise<number> {
  return withInstance(options, io, async (client) => {
    const [views, status] = [await client.ask("why"), (await client.ask("status")) as PeerStatus];
    const chosen = selectViews(views as readonly WhyView[], status, word);
    if (options.json) io.print(JSON.stringify(chosen));
    else if (chosen.length === 0) for (const line of explainAbsence(status, word)) io.print(line);
    else for (const line of chosen.flatMap(formatWhy)) io.print(line);
    return EXIT.ok;
  });
}

/** PG-195: what the client makes of a name, and why. */
export function lookUpName(
  { name, type, ...options }: ShowOptions & { readonly name: string; readonly type?: string | undefined },
  io: ProgramIo,
): Promise<number> {
  return withInstance(options, io, async (client) => {
    const views = (await client.ask(
      "lookup",
      type === undefined ? { name } : { name, type },
    )) as readonly LookupView[];
    if (options.json) io.print(JSON.stringify(views));
    else for (const line of formatLookup(views)) io.print(line);
    return views.some(({ records }) => records > 0) ? EXIT.ok : EXIT.failure;
  });
}

export function commandReset(
  { reason, ...options }: AskOptions & { readonly reason: string | undefined },
  io: ProgramIo,
): Promise<number> {
  return command(options, io, "reset", reason === undefined ? {} : { reason });
}

export function commandStop(options: AskOptions, io: ProgramIo): Promise<number> {
  return command(options, io, "stop", {});
}

/** PG-108, TN-23: the switch is the user's, so it may be set before the resource is granted. */
export function commandInternet(
  { active, ...options }: AskOptions & { readonly active: boolean },
  io: ProgramIo,
): Promise<number> {
  return withInstance(options, io, async (client) => {
    const result = (await client.ask("setInternetResource", { active })) as { readonly granted: boolean };
    const state = `the internet resource is ${active ? "on" : "off"}`;
    io.print(result.granted || !active ? state : `${state}, but the portal has granted none`);
    return EXIT.ok;
  });
}

async function command(
  options: AskOptions,
  io: ProgramIo,
  method: string,
  params: Readonly<Record<string, unknown>>,
): Promise<number> {
  await withInstance(options, io, (client) => client.ask(method, params));
  return EXIT.ok;
}

/** PG-92. @param filter absent: back to that of the start */
export function commandLog(
  { filter, ...options }: AskOptions & { readonly filter: string | undefined },
  io: ProgramIo,
): Promise<number> {
  return withInstance(options, io, async (client) => {
    const result = await client.ask("setLogFilter", filter === undefined ? {} : { filter });
    const { previous, filter: present } = result as { previous: string; filter: string };
    io.print(`log filter is '${present}', was '${previous}'`);
    return EXIT.ok;
  });
}

/** Exit 0 if the program is ready (PG-1, PG-84); one line says why it is not. */
export async function checkHealth(options: AskOptions, io: ProgramIo): Promise<number> {
  try {
    const status = await withInstance(options, io, (client) => client.ask("status"));
    const { ready, role } = status as AnyStatus;
    if (ready) return EXIT.ok;
    io.printError(`postern: ${role} is not ready`);
  } catch (error) {
    if (!(error instanceof PosternError) || error.code === "usage") throw error;
    io.printError(`postern: ${error.message}`);
  }
  return EXIT.failure;
}
