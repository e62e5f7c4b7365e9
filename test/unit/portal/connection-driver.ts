/** A portal connection in virtual time, with everything it says collected. */
import { createSeededRandom, type Instant, instant, SILENT, unixMs } from "../../../src/base/index.ts";
import {
  type ClientMessage,
  type ClientRequest,
  type ConnectFailure,
  clientChannel,
  createPortalConnection,
  type LoginParams,
  type PortalConnection,
  type PortalEvent,
  type PortalTransmit,
  parsePortalUrl,
} from "../../../src/portal/protocol/index.ts";
import { dueUntil, nextTurn } from "../../lib/bounds.ts";

export type Open = Extract<PortalTransmit, { kind: "open" }>;
export type Text = Extract<PortalTransmit, { kind: "text" }>;

export const LOGIN: LoginParams = {
  externalId: "id-1",
  name: "büro 1",
  publicKey: Uint8Array.from({ length: 32 }, (_, i) => i),
};

/** Noon of a day in 2026. */
export const WALL = unixMs(Date.UTC(2026, 0, 27, 12));

export interface Driver {
  readonly machine: PortalConnection<ClientMessage, ClientRequest>;
  readonly transmits: PortalTransmit[];
  readonly events: PortalEvent<ClientMessage>[];
  now: Instant;
  /** Runs an input at the present time and collects what follows. */
  run(input: (now: Instant) => void): void;
  /** Lets time pass, waking the machine exactly when it wants. */
  pass(ms: number): void;
  /** One tick, however late. */
  jump(ms: number): void;
  readonly attempt: number;
  open(): void;
  text(frame: object): void;
  /** Answers the last frame with this event. */
  reply(event: string, payload?: object): void;
  fail(failure: ConnectFailure): void;
  join(): void;
  /** Sent frames with this event, parsed. */
  sent(event: string): readonly { readonly ref: number; readonly payload: unknown; readonly topic: string }[];
  eventsOf<K extends PortalEvent<ClientMessage>["kind"]>(
    kind: K,
  ): readonly Extract<PortalEvent<ClientMessage>, { kind: K }>[];
}

export function createDriver(
  options: { readonly url?: string; readonly maxPartitionMs?: number; readonly seed?: number } = {},
): Driver {
  const url = parsePortalUrl(options.url ?? "ws://192.0.2.1:8080/");
  if (!url.ok) throw new Error(url.reason);
  const machine = createPortalConnection({
    url: url.value,
    channel: clientChannel,
    random: createSeededRandom(options.seed ?? 1),
    log: SILENT,
    ...(options.maxPartitionMs === undefined ? {} : { maxPartitionMs: options.maxPartitionMs }),
  });
  const transmits: PortalTransmit[] = [];
  const events: PortalEvent<ClientMessage>[] = [];

  function drain(): void {
    for (let next = machine.pollTransmit(); next !== undefined; next = machine.pollTransmit())
      transmits.push(next);
    for (let next = machine.pollEvent(); next !== undefined; next = machine.pollEvent()) events.push(next);
  }

  const driver: Driver = {
    machine,
    transmits,
    events,
    now: instant(1_000_000),
    run(input) {
      input(driver.now);
      drain();
    },
    pass(ms) {
      const end = driver.now + ms;
      let turns = 0;
      for (let at = dueUntil(machine, end); at !== undefined; at = dueUntil(machine, end)) {
        turns = nextTurn(turns, "a connection to the portal");
        driver.now = instant(Math.max(at, driver.now));
        driver.run((now) => machine.handleTimeout(now));
      }
      driver.now = instant(end);
    },
    jump(ms) {
      driver.now = instant(driver.now + ms);
      driver.run((now) => machine.handleTimeout(now));
    },
    get attempt() {
      return transmits.findLast((transmit): transmit is Open => transmit.kind === "open")?.attempt ?? 0;
    },
    open: () => driver.run((now) => machine.handleOpen(now, driver.attempt)),
    text: (frame) => driver.run((now) => machine.handleText(now, driver.attempt, JSON.stringify(frame))),
    reply(event, payload = { status: "ok", response: {} }) {
      const { ref, topic } = driver.sent(event).at(-1) ?? { ref: -1, topic: "client" };
      driver.text({ topic, event: "phx_reply", payload, ref });
    },
    fail: (failure) => driver.run((now) => machine.handleFailure(now, driver.attempt, failure, WALL)),
    join() {
      driver.open();
      driver.reply("phx_join");
    },
    sent: (event) =>
      transmits
        .filter((transmit): transmit is Text => transmit.kind === "text")
        .map(({ text }) => JSON.parse(text))
        .filter((frame) => frame.event === event),
    eventsOf: <K extends PortalEvent<ClientMessage>["kind"]>(kind: K) =>
      events.filter(
        (event): event is Extract<PortalEvent<ClientMessage>, { kind: K }> => event.kind === kind,
      ),
  };
  return driver;
}

/** A connection that has begun to connect. */
export function connecting(options: Parameters<typeof createDriver>[0] = {}): Driver {
  const driver = createDriver(options);
  driver.run((now) => driver.machine.connect(now, LOGIN));
  return driver;
}

/** Nobody listens. */
export const REFUSED = { kind: "unreachable", code: "ECONNREFUSED" } as const satisfies ConnectFailure;

/** A connection that has joined. */
export function joined(options: Parameters<typeof createDriver>[0] = {}): Driver {
  const driver = createDriver(options);
  driver.run((now) => driver.machine.connect(now, LOGIN));
  driver.join();
  return driver;
}

export const CREATE_FLOW = {
  kind: "create-flow",
  rid: "733e8d14-c18d-4931-af30-3639fa09c0c0",
  connectedGatewayIds: [],
} as const satisfies ClientRequest;

/** Different requests, by number. */
export function candidates(n: number): ClientRequest {
  return {
    kind: "broadcast-ice-candidates",
    gids: ["d263d490-a0bb-452a-8990-01d27a1f1144"],
    candidates: [`c${n}`],
  };
}
