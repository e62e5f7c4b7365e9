/**
 * Control that decides about flows by chance (TN-76): it links records for what was punted, takes them out, revokes,
 * sweeps, lets go, on the plane and on its twin, which must agree about every stamp.
 */
import { isDeepStrictEqual } from "node:util";
import { type Instant, type IpAddress, ip } from "../../src/base/index.ts";
import { viewPacket } from "../../src/packet/index.ts";
import type { DataPunt, EndedFlow, FlowRecord, FlowVerdict } from "../../src/plane/index.ts";
import type { DrivenPlane } from "../twin/driven-plane.ts";
import type { Chance } from "./chance.ts";
import { OUTSIDE, type PlaneWorld } from "./plane-world.ts";

export interface FlowControl {
  /** A packet without a record, or of one that is held. */
  decide(now: Instant, punt: Extract<DataPunt, { readonly reason: "flow" }>): void;
  /** Something else that control does by itself. */
  act(now: Instant): void;
  /** Every record's stamps. */
  check(): void;
}

const PROXIES = [ip("10.96.0.5"), ip("fd96::5")];
const VERDICTS: readonly FlowVerdict[] = ["pass", "nat", "nat", "prohibited", "unreachable", "drop", "punt"];
/** Fewer than there is room for: the twin has always some. */
const LINKED_MAX = 500;

interface Control extends Pick<PlaneWorld, "plane" | "peers"> {
  readonly chance: Chance;
  readonly twin: DrivenPlane;
  /** Ids of the twin by those of the plane. */
  readonly ids: Map<number, number>;
}

type FlowPunt = Extract<DataPunt, { readonly reason: "flow" }>;

export function createFlowControl(
  chance: Chance,
  { plane, peers }: PlaneWorld,
  twin: DrivenPlane,
): FlowControl {
  const control: Control = { plane, peers, chance, twin, ids: new Map() };
  return {
    decide: (now, punt) => decide(control, now, punt),
    act: (now) => act(control, now),
    check() {
      for (const [id, idOfTwin] of control.ids)
        same("usage", plane.flows.usage(id), twin.flows.usage(idOfTwin));
    },
  };
}

function decide(control: Control, now: Instant, punt: FlowPunt): void {
  const { plane, twin, chance, ids } = control;
  if (ids.size >= LINKED_MAX || chance.isOneIn(4)) return;
  const record = recordOf(control, punt);
  const id = plane.flows.link(now, record);
  const idOfTwin = twin.flows.link(now, record);
  if (id === undefined || idOfTwin === undefined) throw new Error("there is room for a record");
  ids.set(id, idOfTwin);
  if (chance.isOneIn(2)) release(control);
}

function act(control: Control, now: Instant): void {
  const { plane, twin, chance, ids, peers } = control;
  const [id, idOfTwin] = ids.size === 0 ? [] : chance.pick([...ids]);
  const slot = chance.isOneIn(4) ? undefined : chance.pick(peers).slot;
  switch (chance.below(8)) {
    case 0:
      if (id === undefined || idOfTwin === undefined) return;
      ids.delete(id);
      return same("unlinked record", plane.flows.unlink(id), twin.flows.unlink(idOfTwin));
    case 1:
      for (const { flows } of chance.isOneIn(2) ? [plane, twin] : []) flows.revoke(slot);
      return;
    case 2:
      return sweep(control, now);
    default:
      return release(control);
  }
}

function recordOf({ chance, peers }: Control, { direction, slot, packet }: FlowPunt): FlowRecord {
  const { source, destination, ports, protocol } = viewPacket(packet);
  const ofFamily = (list: readonly IpAddress[]) =>
    chance.pick(list.filter(({ length }) => length === source.length));
  const isEcho = protocol === 1 || protocol === 58;
  const isOut = direction === "out";
  const client = {
    address: isOut ? source : destination,
    port: (isOut ? ports?.source : ports?.destination) ?? 0,
  };
  const remotePort = isEcho ? 0 : ((isOut ? ports?.destination : ports?.source) ?? 0);
  const far = isOut ? destination : source;
  const isTranslated = chance.isOneIn(2);
  const verdict = () => (chance.isOneIn(6) ? undefined : chance.pick(VERDICTS));
  const [out, into] = [verdict(), verdict()];
  return {
    protocol,
    // Inward, what came has the outside port and address; outward it is the other way round.
    client: isOut ? client : { ...client, port: chance.pick([client.port, 7, 50_000]) },
    remote: { address: isTranslated && !isOut ? ofFamily(PROXIES) : far, port: remotePort },
    outside: {
      address: isTranslated && isOut ? ofFamily([...OUTSIDE, ...PROXIES]) : far,
      port: isOut ? chance.pick([client.port, 1, 65_535]) : client.port,
    },
    ...(out !== undefined && { out }),
    ...(into !== undefined && { in: into }),
    ...(chance.isOneIn(2) && { reason: "expired-nat" }),
    slot: slot ?? chance.pick(peers).slot,
  };
}

function sweep({ plane, twin, ids }: Control, now: Instant): void {
  const mine = new Map(plane.flows.sweep(now).map((ended) => [ids.get(ended.id), ended] as const));
  const theirs = twin.flows.sweep(now);
  same("number of records swept", mine.size, theirs.length);
  for (const expected of theirs) {
    const got = mine.get(expected.id);
    same("swept record", got && withoutId(got), withoutId(expected));
    if (got !== undefined) ids.delete(got.id);
  }
}

function release({ plane, twin }: Control): void {
  same("flows held", plane.releaseFlows(), twin.releaseFlows());
}

function same(what: string, got: unknown, expected: unknown): void {
  if (isDeepStrictEqual(got, expected)) return;
  throw new Error(`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(expected)}`);
}

function withoutId({ ending, out, in: into }: EndedFlow): Omit<EndedFlow, "id"> {
  return { ending, out, in: into };
}
