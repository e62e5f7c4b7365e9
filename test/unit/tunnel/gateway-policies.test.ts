/** A client that comes, changes or goes costs a gateway the same however many others there are (TN-110). */
import { describe, expect, it } from "vitest";
import { type Instant, instant, ip, prefix, unixMs } from "../../../src/base/index.ts";
import type { PeerPolicy } from "../../../src/plane/index.ts";
import type { AuthorizeFlow, GatewayResource } from "../../../src/portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import { CREDENTIALS, createLoneFlows, createLoneTunnel, START, UNIX_START } from "./lone-tunnel.ts";

const OWN = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
const ridOf = (n: number) => `00000000-0000-4000-8000-0000000002${String(n).padStart(2, "0")}`;
const cidOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const addressOf = (n: number) => ip(`100.64.${1 + (n >> 8)}.${n & 255}`);

const office = (n = 1): GatewayResource => ({
  ...{ kind: "cidr", rid: ridOf(n), name: "office", filters: [] },
  address: prefix(`172.${20 + n}.0.0/16`),
});

const authorize = (n: number, change: Partial<AuthorizeFlow> = {}): AuthorizeFlow => ({
  ...{ kind: "authorize-flow", ref: `ref-${n}`, resource: office() },
  client: {
    ...{ cid: cidOf(n), ipv4: addressOf(n), ipv6: ip(`fd00:2021:1111::1:${n}`), device: {} },
    publicKey: new Uint8Array(32).fill(1).map((byte, i) => (i < 4 ? (n >> (8 * i)) & 255 : byte)),
    presharedKey: new Uint8Array(32),
  },
  clientCredentials: CREDENTIALS.client,
  gatewayCredentials: CREDENTIALS.gateway,
  subject: {},
  ...change,
});

/** What the plane was told of policy. */
type Told = "tables" | { readonly slot: number; readonly policy: PeerPolicy | undefined };

function createGateway(own = OWN) {
  const lone = createLoneTunnel<TunnelGatewayEvent, ReturnType<typeof createTunnelGateway>>(
    "gateway",
    (connections) =>
      createTunnelGateway({
        ...{ connections, flows: createLoneFlows(), now: START, unixNow: UNIX_START, isHostOpen: false },
        // None of them ever has a session.
        setUpsAtOnce: 1_000,
      }),
  );
  const tell = (message: Parameters<typeof lone.machine.handlePortalMessage>[1], now: Instant = START) =>
    lone.apply((gateway) => gateway.handlePortalMessage(now, message));
  const init = (addresses: typeof OWN, cids: readonly number[] = []) =>
    tell({
      ...{ kind: "init", interface: addresses, relays: [] },
      authorizations: cids.map((n) => ({
        cid: cidOf(n),
        rid: ridOf(1),
        expiresAt: unixMs(UNIX_START + 1e9),
      })),
    });
  init(own);
  /** What an input has the plane told of policy. */
  const told = (input: () => void) => {
    lone.commands.length = 0;
    input();
    return lone.commands.flatMap((command): readonly Told[] => {
      if (command.kind === "publish") return ["tables"];
      if (command.kind !== "set-policy") return [];
      return [{ slot: command.slot, policy: command.policy }];
    });
  };
  return { ...lone, tell, init, told };
}

const addressesIn = (told: readonly Told[]) =>
  told.map((one) => (typeof one === "string" ? one : one.policy?.addresses));

describe("policies of a gateway's clients", () => {
  it("TN-110: each client that comes is one policy, of itself; no table is published again", () => {
    const gateway = createGateway();
    for (let n = 1; n <= 300; n++) {
      const told = gateway.told(() => gateway.tell(authorize(n)));
      expect(addressesIn(told)).toEqual([[addressOf(n), ip(`fd00:2021:1111::1:${n}`)]]);
    }
  });

  it("TN-110: a grant more, one that ends by itself, and one that is taken back concern their client alone", () => {
    const gateway = createGateway();
    for (let n = 1; n <= 20; n++) gateway.tell(authorize(n));
    const slot = gateway.connections.slotOf(cidOf(7)) ?? -1;
    const networks = (told: ReturnType<typeof gateway.told>) =>
      told.map((one) =>
        typeof one === "string" ? one : [one.slot, one.policy?.permits.destinations?.length],
      );
    const more = authorize(7, { resource: office(2), expiresAt: unixMs(UNIX_START + 3_000) });
    expect(networks(gateway.told(() => gateway.tell(more)))).toEqual([[slot, 2]]);
    const expire = () => gateway.apply((machine) => machine.handleTimeout(instant(START + 3_000)));
    expect(networks(gateway.told(expire))).toEqual([[slot, 1]]);
    const reject = () => gateway.tell({ kind: "reject-access", cid: cidOf(7), rid: ridOf(1) });
    expect(networks(gateway.told(reject))).toEqual([[slot, undefined]]);
  });

  it("TN-50: a client whose connection is gone has none, at once, and again when it comes back", () => {
    const gateway = createGateway();
    gateway.tell(authorize(1));
    const slot = gateway.connections.slotOf(cidOf(1));
    const fail = () => gateway.apply((machine) => machine.handleTimeout(instant(START + 10_000)));
    expect(gateway.told(fail)).toEqual([{ slot, policy: undefined }]);
    const back = gateway.told(() => gateway.tell(authorize(1), instant(START + 10_000)));
    expect(addressesIn(back)).toEqual([[addressOf(1), ip("fd00:2021:1111::1:1")]]);
  });

  it("TN-52: an address that another client gets leads there, and the first has nothing any more", () => {
    const gateway = createGateway();
    gateway.tell(authorize(1));
    const slot = gateway.connections.slotOf(cidOf(1));
    const { client } = authorize(2);
    const taken = { ...client, ipv4: addressOf(1) };
    const told = gateway.told(() => gateway.tell(authorize(2, { client: taken })));
    expect(told[0]).toEqual({ slot, policy: undefined });
    expect(addressesIn(told.slice(1))).toEqual([[addressOf(1), ip("fd00:2021:1111::1:2")]]);
  });

  it("TN-55: a greeting tells each client's policy once more, by what we are now, and no tables", () => {
    const gateway = createGateway();
    for (const n of [1, 2]) gateway.tell(authorize(n));
    const told = gateway.told(() => gateway.init({ ...OWN, ipv4: ip("100.64.0.99") }, [1, 2]));
    const sources = told.map((one) =>
      typeof one === "string" ? one : one.policy?.permits.egressSources?.map(({ address }) => address),
    );
    expect(sources).toHaveLength(2);
    for (const list of sources) expect(list).toContainEqual(ip("100.64.0.99"));
  });

  it("SN-115: after a reset nobody has a policy, and who comes back gets it", () => {
    const gateway = createGateway();
    for (const n of [1, 2]) gateway.tell(authorize(n));
    const slots = [1, 2].map((n) => gateway.connections.slotOf(cidOf(n)));
    const told = gateway.told(() => gateway.apply((machine) => machine.reset(START)));
    expect(told).toEqual(slots.map((slot) => ({ slot, policy: undefined })));
    gateway.init(OWN, [1, 2]);
    const host = { address: ip("192.0.2.10"), port: 52_625 };
    gateway.apply((machine) => machine.handleOwnAddresses(START, [host]));
    const back = gateway.told(() => gateway.tell(authorize(2)));
    expect(addressesIn(back)).toEqual([[addressOf(2), ip("fd00:2021:1111::1:2")]]);
  });
});
