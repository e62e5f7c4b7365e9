/**
 * Keeps the host as it was set up (PG-153): looks again when something tells of a change, and every 30 s
 * without that; repairs once, says what it repaired, and does not fight.
 */
import { type NetworkEvent, RT_TABLE_MAIN } from "../../../bindings/linux/index.ts";
import { after, type Instant, type Log, PosternError } from "../../base/index.ts";
import {
  compareHost,
  createRepairLimit,
  describeChange,
  type HostChange,
  type HostSnapshot,
  type KeptTable,
  readHostState,
  repairChange,
  type WantedHost,
} from "../../host/index.ts";
import type { PlaneHost } from "./plane-host.ts";

const CHECK_EVERY_MS = 30_000;

export interface HostKeeper {
  /** From now on the host should look like this. */
  want(wanted: WantedHost): void;
  /** From now on this table is looked after as well. */
  keep(table: KeptTable): void;
  /** Takes what the kernel told, then looks if there is reason to. */
  look(events: readonly NetworkEvent[]): void;
  stop(): void;
}

interface Keeping {
  readonly host: PlaneHost;
  readonly log: Log;
  readonly limit: ReturnType<typeof createRepairLimit>;
  readonly tables: Map<KeptTable, TableWatch>;
  /** Changes that the host did not let us repair; they are mentioned once. */
  readonly givenUp: Set<string>;
  wanted: WantedHost | undefined;
  nextCheck: Instant;
  isStopped: boolean;
}

interface TableWatch {
  state: "idle" | "checking" | "again";
  /** Since when nobody has seen the table intact. */
  doubtedSince: Instant;
}

export function createHostKeeper(host: PlaneHost, log: Log): HostKeeper {
  const keeping: Keeping = {
    host,
    log,
    limit: createRepairLimit(),
    tables: new Map(),
    givenUp: new Set(),
    wanted: undefined,
    nextCheck: after(host.now(), CHECK_EVERY_MS),
    isStopped: false,
  };
  return {
    want(wanted) {
      keeping.wanted = wanted;
      keeping.givenUp.clear();
    },
    keep(table) {
      keeping.tables.set(table, { state: "idle", doubtedSince: host.now() });
    },
    look: (events) => look(keeping, events),
    stop() {
      keeping.isStopped = true;
    },
  };
}

function look(keeping: Keeping, events: readonly NetworkEvent[]): void {
  const { host, tables, wanted } = keeping;
  const now = host.now();
  const isDue = now >= keeping.nextCheck || events.some(({ kind }) => kind === "overrun");
  if (isDue) keeping.nextCheck = after(now, CHECK_EVERY_MS);
  if (isDue || events.some((event) => concernsHost(event, wanted))) checkHost(keeping, now);
  for (const [table, watch] of tables) {
    const isTold = events.some((event) => concernsTable(event, table));
    if (isTold && watch.state === "idle") watch.doubtedSince = now;
    if (isDue || isTold) void checkTable(keeping, table, watch);
  }
}

function concernsHost(event: NetworkEvent, wanted: WantedHost | undefined): boolean {
  const device = wanted?.link.index;
  switch (event.kind) {
    case "rule":
    case "parameter":
      return true;
    case "link":
    case "address":
      return event.index === device;
    case "route":
      return event.index === device || isOurTable(event.table, wanted);
    default:
      return false;
  }
}

/** In the main table others' routes come and go. */
function isOurTable(table: number | undefined, wanted: WantedHost | undefined): boolean {
  return table !== RT_TABLE_MAIN && (wanted?.routes.some((route) => route.table === table) ?? false);
}

function concernsTable(event: NetworkEvent, { name, neighbours }: KeptTable): boolean {
  if (event.kind !== "firewall") return false;
  const { table } = event;
  return table === undefined || name === `inet ${table}` || neighbours.includes(table);
}

function checkHost(keeping: Keeping, now: Instant): void {
  const { host, wanted, log, givenUp, limit } = keeping;
  if (wanted === undefined) return;
  const device = wanted.link.name;
  const present = readPresent(keeping, wanted);
  if (present === undefined) return;
  const changes = compareHost(wanted, present).filter(
    (change) => !givenUp.has(describeChange(change, device)),
  );
  if (changes.length === 0 || !mayRepair(keeping, now, describeAll(changes, device))) return;
  const repaired: HostChange[] = [];
  for (const change of changes) {
    const refusal = repairChange(host.rtnetlink, wanted.link.index, change);
    if (refusal === undefined) {
      repaired.push(change);
      continue;
    }
    const [what, { reason }] = [describeChange(change, device), refusal];
    if (refusal.isPassing) {
      // Tried again with the next look (PG-210).
      keeping.nextCheck = now;
      log.warn?.("host state cannot be repaired: tried again", { change: what, reason });
      continue;
    }
    givenUp.add(what);
    log.warn?.("host state cannot be repaired", { change: what, reason });
  }
  if (repaired.length === 0) {
    limit.takeBack();
    return;
  }
  log.warn?.(repairEvent(describeAll(repaired, device)));
}

/** `undefined` when the kernel does not tell: then it is asked again the next time (PG-210). */
function readPresent(keeping: Keeping, wanted: WantedHost): HostSnapshot | undefined {
  const { host, log } = keeping;
  try {
    return readHostState(host.rtnetlink, wanted);
  } catch (error) {
    if (!(error instanceof PosternError)) throw error;
    keeping.nextCheck = host.now();
    log.warn?.("the host's state cannot be read: tried again", { reason: error.message });
    return undefined;
  }
}

function describeAll(changes: readonly HostChange[], device: string): readonly string[] {
  return changes.map((change) => describeChange(change, device));
}

/** The change is part of the event, else the next one would be held back as a repetition (PG-106). */
function repairEvent(changes: readonly string[]): string {
  return `host state repaired: ${changes.join(", ")}`;
}

/** Whether one more repair is no fight yet. */
function mayRepair({ limit, log }: Keeping, now: Instant, changes: readonly string[]): boolean {
  const answer = limit.ask(now);
  if (answer === "give-up") {
    log.error?.("something on this host keeps changing what Postern has set; repairs pause for a minute", {
      changes,
    });
  }
  return answer === "repair";
}

async function checkTable(keeping: Keeping, table: KeptTable, watch: TableWatch): Promise<void> {
  if (watch.state !== "idle") {
    watch.state = "again";
    return;
  }
  do {
    watch.state = "checking";
    await checkTableOnce(keeping, table, watch);
    // What came meanwhile may be newer than what was read.
  } while (isAskedAgain(watch));
  watch.state = "idle";
}

function isAskedAgain({ state }: TableWatch): boolean {
  return state === "again";
}

async function checkTableOnce(keeping: Keeping, table: KeptTable, watch: TableWatch): Promise<void> {
  const { host, log } = keeping;
  const isIntact = await table.isIntact();
  if (keeping.isStopped) return;
  const change = `table ${table.name} is gone or changed`;
  if (!isIntact) {
    if (!mayRepair(keeping, host.now(), [change])) return;
    try {
      table.setUp();
    } catch (error) {
      keeping.limit.takeBack();
      const reason = error instanceof Error ? error.message : String(error);
      log.warn?.("host state cannot be repaired", { change, reason });
      return;
    }
    // For so long its rules may have been without effect.
    log.warn?.(repairEvent([change]), { gapMs: host.now() - watch.doubtedSince });
  }
  watch.doubtedSince = host.now();
}
