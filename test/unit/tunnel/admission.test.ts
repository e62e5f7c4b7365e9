/** Who begins at a gateway to which many come at once, and who waits (TN-122). */
import { describe, expect, it } from "vitest";
import { type Instant, instant, ip, prefix, unixMs } from "../../../src/base/index.ts";
import type {
  AuthorizeFlow,
  Filter,
  GatewayMessage,
  GatewayResource,
} from "../../../src/portal/protocol/index.ts";
import {
  begin,
  createAdmission,
  end,
  handleAdmissionTimeout,
  putOff,
  succeed,
} from "../../../src/tunnel/admission.ts";
import { createTunnelGateway, type TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import { CREDENTIALS, createLoneFlows, createLoneTunnel, START, UNIX_START } from "./lone-tunnel.ts";

const later = (ms: number) => instant(START + ms);
const cidOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const ridOf = (n: number) => `00000000-0000-4000-9000-${String(n).padStart(12, "0")}`;

const resource = (n = 1, filters: readonly Filter[] = []): GatewayResource => ({
  ...{ kind: "cidr", rid: ridOf(n), name: `net ${n}`, address: prefix(`172.${n}.0.0/16`), filters },
});

function flowOf(client: number, { on = 1, key = client }: { on?: number; key?: number } = {}): AuthorizeFlow {
  return {
    kind: "authorize-flow",
    ref: `client ${client}, net ${on}`,
    resource: resource(on),
    client: {
      cid: cidOf(client),
      publicKey: new Uint8Array(32).fill(key),
      presharedKey: new Uint8Array(32),
      ipv4: ip(`100.64.0.${client}`),
      ipv6: ip(`fd00:2021:1111::${client}`),
      device: {},
    },
    clientCredentials: CREDENTIALS.client,
    gatewayCredentials: CREDENTIALS.gateway,
    subject: {},
  };
}

/** A gateway that sets up so many clients at a time, and whom it has answered. None of them ever has a session. */
function createCrowded(setUpsAtOnce: number) {
  const lone = createLoneTunnel<TunnelGatewayEvent, ReturnType<typeof createTunnelGateway>>(
    "gateway",
    (connections) =>
      createTunnelGateway({
        ...{ connections, flows: createLoneFlows(), now: START, unixNow: UNIX_START, isHostOpen: false },
        setUpsAtOnce,
      }),
  );
  let now: Instant = START;
  const tell = (message: GatewayMessage): void =>
    lone.apply((gateway) => gateway.handlePortalMessage(now, message));
  const interface_ = { ipv4: ip("100.64.1.1"), ipv6: ip("fd00:2021:1111::101") };
  const init = () => tell({ kind: "init", interface: interface_, relays: [], authorizations: [] });
  init();
  const said = (kind: "flow-authorized" | "flow-waiting"): readonly string[] =>
    lone.events.flatMap((event) =>
      event.kind === "request" && event.request.kind === kind ? [event.request.ref] : [],
    );
  return {
    ...lone,
    tell,
    init,
    at(ms: number) {
      now = later(ms);
      lone.apply((gateway) => gateway.handleTimeout(now));
    },
    answered: () => said("flow-authorized"),
    waiting: () => said("flow-waiting"),
    grants: (client: number) => lone.machine.grantsOf(cidOf(client), now),
  };
}

describe("a gateway to which many come at once", () => {
  it("TN-122: answers as many as it sets up at a time, the others in their order as places get free", () => {
    const gateway = createCrowded(2);
    for (const client of [1, 2, 3, 4, 5]) gateway.tell(flowOf(client));
    expect(gateway.answered()).toEqual(["client 1, net 1", "client 2, net 1"]);
    expect(gateway.waiting()).toEqual([3, 4, 5].map((client) => `client ${client}, net 1`));
    expect(gateway.connections.slotOf(cidOf(3))).toBeUndefined();
    gateway.at(2_999);
    expect(gateway.answered()).toHaveLength(2);
    gateway.at(3_000);
    expect(gateway.answered().slice(2)).toEqual(["client 3, net 1", "client 4, net 1"]);
    gateway.at(6_000);
    expect(gateway.answered().slice(4)).toEqual(["client 5, net 1"]);
  });

  it("TN-122: signals candidates behind the answer, also to those that have waited (PT-60)", () => {
    const gateway = createCrowded(1);
    gateway.tell(flowOf(1));
    gateway.tell(flowOf(2));
    gateway.events.length = 0;
    gateway.at(3_000);
    const requests = gateway.events.flatMap((event) =>
      event.kind === "request" ? [event.request.kind] : [],
    );
    expect(requests).toEqual(["flow-authorized", "broadcast-ice-candidates"]);
  });

  it("TN-122: who has a connection already does not wait, and takes no place", () => {
    const gateway = createCrowded(1);
    gateway.tell(flowOf(1));
    gateway.tell(flowOf(2));
    gateway.tell(flowOf(1, { on: 7 }));
    expect(gateway.answered()).toEqual(["client 1, net 1", "client 1, net 7"]);
  });

  it("TN-122: a connection that is gone gives its place away at once", () => {
    const gateway = createCrowded(1);
    gateway.tell(flowOf(1));
    gateway.tell(flowOf(2));
    gateway.tell({ kind: "reject-access", cid: cidOf(1), rid: ridOf(1) });
    expect(gateway.answered()).toEqual(["client 1, net 1", "client 2, net 1"]);
  });

  it("TN-122: all that a client waits for is answered together", () => {
    const gateway = createCrowded(1);
    for (const flow of [flowOf(1), flowOf(2), flowOf(3), flowOf(2, { on: 7 })]) gateway.tell(flow);
    gateway.at(3_000);
    expect(gateway.answered().slice(1)).toEqual(["client 2, net 1", "client 2, net 7"]);
  });

  it("TN-122: a repeated question keeps its place, one with another key goes to the end", () => {
    const gateway = createCrowded(1);
    for (const client of [1, 2, 3, 4]) gateway.tell(flowOf(client));
    gateway.tell(flowOf(2, { key: 99 }));
    gateway.tell(flowOf(3));
    for (const ms of [3_000, 6_000, 9_000]) gateway.at(ms);
    expect(gateway.answered().slice(1)).toEqual(["client 3, net 1", "client 4, net 1", "client 2, net 1"]);
  });
});

describe("what waits at a gateway", () => {
  it("TN-122: is granted as it is by then: filters and expiry", () => {
    const gateway = createCrowded(1);
    gateway.tell(flowOf(1));
    gateway.tell(flowOf(2));
    const filters = [{ protocol: "icmp" }] as const;
    gateway.tell({ kind: "resource-updated", resource: resource(1, filters) });
    const expiresAt = unixMs(UNIX_START + 60_000);
    gateway.tell({
      kind: "access-authorization-expiry-updated",
      cid: cidOf(2),
      rid: ridOf(1),
      expiresAt,
    });
    gateway.at(3_000);
    expect(gateway.grants(2)).toEqual([{ resource: resource(1, filters), expiresInMs: 57_000 }]);
  });

  it("TN-122: goes when the portal takes it back, or greets us anew", () => {
    for (const isInit of [false, true]) {
      const gateway = createCrowded(1);
      gateway.tell(flowOf(1));
      gateway.tell(flowOf(2));
      if (isInit) gateway.init();
      else gateway.tell({ kind: "reject-access", cid: cidOf(2), rid: ridOf(1) });
      gateway.at(60_000);
      expect(gateway.answered()).toEqual(["client 1, net 1"]);
      expect(gateway.grants(2)).toEqual([]);
    }
  });

  it("TN-122: is not begun by a gateway that ends, or whose network is another one", () => {
    for (const end of ["shutdown", "reset"] as const) {
      const gateway = createCrowded(1);
      gateway.tell(flowOf(1));
      gateway.tell(flowOf(2));
      gateway.apply((machine) => machine[end](START));
      gateway.at(60_000);
      expect(gateway.answered(), end).toEqual(["client 1, net 1"]);
    }
  });
});

describe("the places of set-ups", () => {
  /** How many count then, of those that begin at the start: one has a path. */
  function createPlaces(...cids: readonly string[]) {
    const admission = createAdmission(8, 8);
    for (const cid of cids) begin(admission, START, cid);
    const at = (ms: number): number => {
      handleAdmissionTimeout(admission, later(ms), (cid) => cid === "slow");
      return admission.underWay;
    };
    return { admission, at };
  }

  it("TN-122: one without a path counts for 3 s, one with a path for 15 s", () => {
    const { admission, at } = createPlaces("silent", "slow");
    expect([2_999, 3_000, 14_999, 15_000].map(at)).toEqual([2, 1, 1, 0]);
    expect(admission.counting.first()).toBeUndefined();
  });

  it("TN-122: where set-ups take long, one without a path counts for three times as long, 15 s at most", () => {
    for (const [tookMs, countsMs] of [
      [999, 3_000],
      [2_000, 6_000],
      [9_000, 15_000],
    ] as const) {
      const { admission, at } = createPlaces("done", "gone");
      // Also one that counts no more tells how long it took.
      at(tookMs);
      succeed(admission, later(tookMs), "done");
      end(admission, "gone");
      begin(admission, START, "silent");
      expect([countsMs - 1, countsMs].map(at), `${tookMs} ms`).toEqual([1, 0]);
    }
  });

  it("TN-122: what is usual follows what set-ups take, by an eighth", () => {
    const { admission } = createPlaces("first", "second");
    succeed(admission, later(1_000), "first");
    succeed(admission, later(9_000), "second");
    expect(admission.usualMs).toBe(2_000);
    succeed(admission, later(9_000), "second");
    expect([admission.usualMs, admission.underWay]).toEqual([2_000, 0]);
  });

  it("TN-122: so many clients wait at most, each for 256 resources", () => {
    const admission = createAdmission(1, 2);
    expect([1, 2, 3].map((client) => putOff(admission, START, flowOf(client)))).toEqual([true, true, false]);
    for (let on = 2; on <= 256; on++) {
      expect(putOff(admission, START, { ...flowOf(1), resource: { ...resource(), rid: ridOf(on) } })).toBe(
        true,
      );
    }
    expect(putOff(admission, START, { ...flowOf(1), resource: { ...resource(), rid: ridOf(257) } })).toBe(
      false,
    );
    expect(putOff(admission, START, flowOf(1))).toBe(true);
  });
});
