/** What can be seen of a running portal, and by whom (PG-85, PG-107, PT-117, PT-192). */
import { hostname } from "node:os";
import { equalSecret, type Log } from "../../base/index.ts";
import { readTokenFile, runFolders } from "../../host/index.ts";
import {
  type ControlServer,
  commonMethods,
  createEventBus,
  openControlServer,
  type PortalServerStatus,
} from "../control/index.ts";
import type { ProgramIo } from "../io.ts";
import { formatMetrics, openServices, processSamples, type Sample } from "../metrics/index.ts";
import type { PortalOptions } from "../options.ts";
import { plainTcp } from "../portal-transport.ts";
import { createSupervisor } from "../supervisor.ts";
import { VERSION } from "../version.ts";
import type { PortalDocuments } from "./http-answer.ts";
import type { PortalLoop } from "./portal-loop.ts";
import { portalSamples } from "./portal-samples.ts";
import { logPortalStatus, readPortalStatus } from "./portal-status.ts";

export interface PortalWatchParts {
  readonly options: PortalOptions;
  readonly io: ProgramIo;
  readonly log: Log;
  readonly loop: PortalLoop;
  /** Of `performance.now()`. */
  readonly startedAt: number;
  readonly stop: () => void;
}

export interface PortalWatch {
  ready(): void;
  /** Writes the snapshot to the log (PG-16). */
  log(): void;
  stopping(): void;
  close(): Promise<void>;
}

/** @throws PosternError `usage`, `socket-listen` */
export async function openPortalWatch(parts: PortalWatchParts): Promise<PortalWatch> {
  const { options, io, log, loop, startedAt } = parts;
  const events = createEventBus();
  const supervisor = createSupervisor(io.supervisor, log);
  let state: "starting" | "ready" | "stopping" = "starting";
  const status = (): PortalServerStatus =>
    readPortalStatus({
      loop,
      instance: options.instance ?? "portal",
      startedAt,
      isReady: state === "ready",
    });
  const samples = (): readonly Sample[] => [
    ...processSamples({ role: "portal", isReady: state === "ready", log: io.logControl.counters() }),
    ...portalSamples(status(), loop),
  ];
  loop.listener.serve(documents(options, status));
  const services = await openServices(options, {
    samples,
    unhealthy: () => undefined,
    unready: () => (state === "ready" ? undefined : state),
    push: {
      attributes: () => ({
        "service.name": "postern-portal",
        "service.version": VERSION,
        // A portal has no identifier: host and instance tell it from others.
        "service.instance.id": `${hostname()}/${options.instance ?? "portal"}`,
        "os.type": "linux",
      }),
      openTcp: plainTcp,
      caFile: undefined,
      env: io.env,
    },
    log,
  });
  const control = await openControl(parts, events, {
    status,
    metrics: () => formatMetrics(samples()),
  });
  return {
    ready() {
      state = "ready";
      events.emit({ event: "ready", data: { ms: Math.round(performance.now() - startedAt) } });
      supervisor.ready({
        statusLine() {
          const { clients, gateways, relays } = status();
          return `clients: ${clients.length}, gateways: ${gateways.length}, relays: ${relays}`;
        },
        isAlive: () => true,
      });
    },
    log: () => logPortalStatus(log, status()),
    stopping() {
      state = "stopping";
      control?.refuse("the portal is stopping");
      events.emit({ event: "stopping", data: {} });
      supervisor.stopping();
    },
    async close() {
      await services.close();
      control?.close();
    },
  };
}

/** Without an instance nobody can ask: so it is where the portal is part of another program. */
async function openControl(
  { options: { instance }, io, log, stop }: PortalWatchParts,
  events: ReturnType<typeof createEventBus>,
  shown: { readonly status: () => PortalServerStatus; readonly metrics: () => string },
): Promise<ControlServer | undefined> {
  if (instance === undefined) return undefined;
  return await openControlServer({
    instance,
    folders: runFolders(io.env),
    methods: commonMethods({ ...shown, logControl: io.logControl, stop }),
    events,
    log,
  });
}

/** `/status.json`, for who shows the token (PT-117). */
function documents({ statusToken }: PortalOptions, status: () => PortalServerStatus): PortalDocuments {
  if (statusToken === undefined) return () => undefined;
  const wanted = new TextEncoder().encode(`Bearer ${readTokenFile(statusToken)}`);
  return (path, { authorization = "" }) => {
    if (path !== "/status.json") return undefined;
    if (!equalSecret(new TextEncoder().encode(authorization), wanted)) {
      return { status: 401, body: "Unauthorized\n" };
    }
    return { type: "application/json", body: `${JSON.stringify(status())}\n` };
  };
}
