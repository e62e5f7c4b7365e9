/** The course of `postern client` and `gateway` with `--mode userspace`: as PG-9 without what needs a host. */
import { createEventBus, type EventBus, runOnEvents } from "../control/index.ts";
import { createEnding, type Ending } from "../ending.ts";
import { identify, portalUrl } from "../endpoint/peer.ts";
import type { PeerMachine } from "../endpoint/role.ts";
import { createUndoStack, type UndoStack } from "../shell/index.ts";
import type { UserspaceOptions } from "./peer.ts";
import { createWatch, type OpenedPeer, type WatchedProgram } from "./watch.ts";

export interface Program extends WatchedProgram {
  readonly open: (
    common: Pick<
      UserspaceOptions<PeerMachine>,
      | "url"
      | "token"
      | "askToken"
      | "login"
      | "port"
      | "sockets"
      | "env"
      | "tell"
      | "onChange"
      | "onTurn"
      | "log"
    > & {
      readonly cipher: string | undefined;
      readonly caFile: string | undefined;
    },
    undo: UndoStack,
  ) => Promise<OpenedPeer>;
}

/** Runs until it is told to stop; resolves to the exit code. @throws PosternError with PG-14's codes */
export async function runProgram(program: Program): Promise<number> {
  const { role, options, io, open } = program;
  const startedAt = performance.now();
  const undo = createUndoStack(io.log);
  const url = portalUrl(options.apiUrl);
  try {
    const { login, token, askToken } = identify(role, options, io);
    if (options.check) {
      io.print("check passed");
      return 0;
    }
    const ending = createEnding(io);
    undo.add("signals", () => ending.close());
    const events = createEventBus();
    runCommands(program, events, undo);
    sayWhatIsNotServed(program);
    const watch = createWatch({ program, login, events, ending, undo, startedAt });
    const { onChange, onTurn } = watch;
    const opened = await open(
      {
        ...{ url, token, askToken, login, port: options.listenPort },
        ...{ env: io.env, tell: events.emit, onChange, onTurn, log: io.log },
        ...{ sockets: options.sockets, cipher: options.cipher, caFile: options.caFile },
      },
      undo,
    );
    undo.add("tunnel", () => opened.close());
    void opened.peer.failed.then(ending.fail);
    await watch.open(opened);
    void opened.peer.ready.then(
      () => becomeReady(program, ending, startedAt),
      () => {},
    );
    const code = await ending.wait();
    io.log.info?.("stopping");
    watch.stopping();
    return code;
  } finally {
    await undo.run();
  }
}

function becomeReady({ options, io }: Program, ending: Ending, startedAt: number): void {
  if (!options.exit) return;
  io.print(`ready in ${Math.round(performance.now() - startedAt)} ms`);
  ending.stop();
}

function runCommands({ options, io }: Program, events: EventBus, undo: UndoStack): void {
  if (options.onEvent === undefined) return;
  const commands = runOnEvents({ command: options.onEvent, events, env: io.env, log: io.log });
  undo.add("commands for events", () => commands.close());
}

function sayWhatIsNotServed({ options, io }: Program): void {
  const { egressInterface, flowRecords } = options;
  const given = Object.entries({ egressInterface, flowRecords });
  const idle = given.flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (idle.length > 0) io.log.warn?.("options without effect in mode userspace", { options: idle });
}
