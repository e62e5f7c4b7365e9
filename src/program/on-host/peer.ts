/**
 * A client or gateway with a TUN device as a part of another program (PG-120): the course of the programs
 * (`endpoint/peer.ts`), begun, watched and ended by whoever embeds it.
 */

import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { type Log, PosternError } from "../../base/index.ts";
import { requirePrivilege } from "../../host/index.ts";
import type { ControlEvent, PeerStatus } from "../control/index.ts";
import type { PeerEmbedding, PeerFacts, PeerMachine } from "../endpoint/role.ts";
import type { ProgramIo } from "../io.ts";
import { loadWithThreads } from "../load-with-threads.ts";

/** How the program is given what it needs, and told to end. */
export interface HostSetting {
  readonly io: ProgramIo;
  /** As a first SIGTERM does. */
  readonly stop: () => void;
  readonly ca?: readonly string[] | undefined;
  readonly tell: (event: ControlEvent) => void;
}

/** With which mode it is, as embedded ones have it. */
export interface HostStatus extends PeerStatus {
  readonly mode: "tun";
}

export interface HostPeer<Machine extends PeerMachine> {
  readonly facts: PeerFacts<Machine>;
  /** When the portal has sent the first configuration; rejects with what ended it before. */
  readonly ready: Promise<void>;
  /** What ended it by itself, when all is undone; never settles otherwise. */
  readonly failed: Promise<unknown>;
  reset(reason: string): void;
  status(): HostStatus;
  /** Says goodbye and undoes what was set on the host. */
  close(): Promise<void>;
}

export interface HostProgram<Machine extends PeerMachine, Loaded> {
  readonly role: "client" | "gateway";
  readonly setting: HostSetting;
  readonly load: () => Promise<Loaded>;
  readonly run: (loaded: Loaded, threads: PlaneThreads, embedding: PeerEmbedding<Machine>) => Promise<number>;
}

/** Resolves when device, sockets and threads are there. @throws PosternError with PG-14's codes */
export async function openHostPeer<Machine extends PeerMachine, Loaded>(
  program: HostProgram<Machine, Loaded>,
): Promise<HostPeer<Machine>> {
  const { role, setting, load } = program;
  // Threads need not start for this.
  requirePrivilege(role);
  const { program: loaded, threads } = await loadWithThreads(load).catch(noThreads);
  const opened = deferred<PeerFacts<Machine>>();
  const ready = deferred<void>();
  const embedding: PeerEmbedding<Machine> = {
    ca: setting.ca,
    onOpen: opened.resolve,
    tell(event) {
      if (event.event === "ready") ready.resolve();
      // Whoever embeds it says so when the end is asked for.
      if (event.event !== "stopping") setting.tell(event);
    },
  };
  let isAsked = false;
  const ended = program.run(loaded, threads, embedding).finally(() => threads.endSpare());
  const failure = ended.then(
    (): unknown => undefined,
    (error: unknown) => error ?? new PosternError("host", `the ${role} ended`),
  );
  void failure.then((error) => {
    const reason = error ?? new PosternError("closed", "the instance is closed");
    opened.reject(reason);
    ready.reject(reason);
  });
  const facts = await opened.promise;
  return {
    facts,
    ready: ready.promise,
    failed: new Promise((resolve) => {
      void failure.then((error) => error !== undefined && !isAsked && resolve(error));
    }),
    reset: facts.reset,
    status: () => ({ ...facts.status(), mode: "tun" }),
    async close() {
      isAsked = true;
      setting.stop();
      const error = await failure;
      if (error !== undefined) warn(setting.io.log, error);
    },
  };
}

/** Nobody waits for more than the end. */
function warn(log: Log, error: unknown): void {
  log.warn?.("the end was not an orderly one", { error });
}

/** Where the package was taken apart, for one: a bundle has no file for them. */
function noThreads(cause: unknown): never {
  if (cause instanceof PosternError) throw cause;
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new PosternError("host", `the plane's threads do not start: ${reason}`, undefined, { cause });
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** One that may be rejected before anybody waits. */
function deferred<T>(): Deferred<T> {
  let [resolve, reject] = [(_: T): void => {}, (_: unknown): void => {}];
  const promise = new Promise<T>((accept, refuse) => {
    [resolve, reject] = [accept, refuse];
  });
  promise.catch(() => {});
  return { promise, resolve: (value) => resolve(value), reject: (reason) => reject(reason) };
}
