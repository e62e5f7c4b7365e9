import { describe, expect, it } from "vitest";
import {
  spawnPlaneThreads,
  type ThreadBackEnd,
  type WorkerReport,
  type WorkerStart,
} from "../../../../bindings/thread/index.ts";

const START: WorkerStart = {
  memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
  module: new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])),
  kind: "egress",
  worker: 64,
};

/** Threads that only say what is said to them: another runtime's, as far as the pool can tell. */
function scriptedThreads() {
  const started: {
    name: string;
    url: URL;
    posted: unknown[];
    isKept: boolean;
    say(report: WorkerReport): void;
  }[] = [];
  const backEnd: ThreadBackEnd = {
    port: () => undefined,
    start(url, name) {
      // A back end does not look into messages; what these threads say is reports.
      const handles: ((message: never) => void)[] = [];
      const thread = {
        name,
        url,
        posted: [] as unknown[],
        isKept: false,
        say(report: WorkerReport) {
          for (const handle of handles) handle(report as never);
        },
      };
      started.push(thread);
      return {
        post: (message) => void thread.posted.push(message),
        onMessage: (handle) => void handles.push(handle),
        keepAlive() {
          thread.isKept = true;
        },
        exited: new Promise(() => {}),
        failed: new Promise(() => {}),
      };
    },
  };
  return { started, backEnd };
}

describe("threads of the plane (G-15, PG-120)", () => {
  it("come up on any back end before there is anything to do, and keep no process alive", async () => {
    const { started, backEnd } = scriptedThreads();
    const threads = spawnPlaneThreads(undefined, backEnd);
    expect(started.map(({ name }) => name)).toEqual(["postern-egress", "postern-ingress"]);
    expect(started.map(({ url }) => url.pathname.split("/").slice(-2).join("/"))).toEqual(
      Array(2).fill("worker/main.ts"),
    );
    let isLoaded = false;
    const loaded = threads.loaded.then(() => {
      isLoaded = true;
    });
    started[0]?.say({ kind: "loaded" });
    await Promise.resolve();
    expect(isLoaded).toBe(false);
    started[1]?.say({ kind: "loaded" });
    await loaded;
    expect(started.some(({ isKept, posted }) => isKept || posted.length > 0)).toBe(false);
  });

  it("PG-66: are told what to run as often as needed, keep the process, and report to whoever took them", () => {
    const { started, backEnd } = scriptedThreads();
    const threads = spawnPlaneThreads(undefined, backEnd);
    const thread = threads.take("egress");
    const reports: WorkerReport[] = [];
    thread.onReport((report) => void reports.push(report));
    thread.run(START);
    expect(started[0]).toMatchObject({ isKept: true, posted: [START] });
    started[0]?.say({ kind: "ready" });
    started[0]?.say({ kind: "ended", code: 2 });
    expect(reports).toEqual([{ kind: "ready" }, { kind: "ended", code: 2 }]);
    thread.run(START);
    thread.end();
    expect(started[0]?.posted).toEqual([START, START, "end"]);
    expect(started[1]?.isKept).toBe(false);
  });

  it("taken twice is another thread: a worker that ended is started anew", () => {
    const { started, backEnd } = scriptedThreads();
    const threads = spawnPlaneThreads(undefined, backEnd);
    threads.take("ingress");
    threads.take("ingress");
    expect(started.map(({ name }) => name)).toEqual(["postern-egress", "postern-ingress", "postern-ingress"]);
  });
});
