import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import type { IpFamily } from "../../../src/plane/index.ts";
import { encodeFrame } from "../../../src/stun/index.ts";
import { METHOD_ALLOCATE, type TurnFields } from "../../../src/turn/index.ts";
import {
  codeOf,
  createClient,
  createWorld,
  LIMITS,
  newTransaction,
  PUBLIC_V4,
  PUBLIC_V6,
  portOf,
  UDP,
  utf8,
  type World,
} from "./relay-world.ts";

const ADDRESS = "192.0.2.1:51820";
const DUAL: TurnFields = { ...UDP, additionalFamily: 2 };

function allocationsOf(world: World): number {
  return world.server.stats().allocations;
}

describe("the life of an allocation", () => {
  it("RL-20: binds the sockets of both families before it answers", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const asked: (readonly IpFamily[])[] = [];
    world.onBind = (_, families) => {
      asked.push(families);
      return undefined;
    };
    expect(client.allocate(DUAL)).toBeUndefined();
    expect(asked).toEqual([[4, 6]]);
    expect(world.server.stats()).toMatchObject({ allocations: 0, pending: 1 });
    world.server.handlePortBound(world.now, { token: 1, result: "ok" });
    expect(world.drain().map(codeOf)).toEqual(["success"]);
    expect(world.server.stats()).toMatchObject({ allocations: 1, pending: 0 });
  });

  it("RL-17: while its sockets are being bound, the same request waits and another one is refused", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    world.onBind = () => undefined;
    const transactionId = newTransaction();
    expect(client.allocate(UDP, { transactionId })).toBeUndefined();
    expect(client.allocate(UDP, { transactionId })).toBeUndefined();
    expect(codeOf(client.allocate(UDP))).toBe(437);
    expect(world.commands.filter(({ kind }) => kind === "bind-port")).toHaveLength(1);
  });

  it("RL-22: answers with the public addresses, one port, and the client's own address", () => {
    const world = createWorld();
    const { fields } = createClient(world, ADDRESS).allocate(DUAL) ?? {};
    const port = world.commands[0]?.kind === "bind-port" ? world.commands[0].port : 0;
    expect(fields).toEqual({
      software: "postern-relay",
      relayedAddresses: [
        { address: PUBLIC_V4, port },
        { address: PUBLIC_V6, port },
      ],
      mappedAddress: { address: ip("192.0.2.1"), port: 51820 },
      lifetimeSeconds: 600,
    });
    expect(port).toBeGreaterThanOrEqual(49152);
  });

  it("RL-26: ends with its lifetime, not a millisecond sooner, and its port is free again", () => {
    const world = createWorld({ ports: { lowest: 50000, highest: 50000 } });
    const client = createClient(world, ADDRESS);
    const other = createClient(world, "192.0.2.2:51820", { user: "bob" });
    expect(codeOf(client.allocate())).toBe("success");
    world.wait(599_999);
    expect(allocationsOf(world)).toBe(1);
    expect(codeOf(other.allocate())).toBe(508);
    world.wait(1);
    expect(allocationsOf(world)).toBe(0);
    expect(world.commands.at(-1)).toEqual({ kind: "free-port", port: 50000, families: [4] });
    expect(codeOf(other.allocate())).toBe("success");
  });

  it("RL-26: ends on time even when nobody called the timer", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    client.allocate();
    world.now = (world.now + 600_000) as typeof world.now;
    expect(codeOf(client.refresh())).toBe(437);
  });

  it.each([
    [undefined, 600],
    [0, 600],
    [5, 600],
    [600, 600],
    [601, 601],
    [3600, 3600],
    [3601, 3600],
    [0xffff_ffff, 3600],
  ])("RL-18: an Allocate for %s s gets %s s", (lifetimeSeconds, granted) => {
    const world = createWorld();
    const fields = { ...UDP, ...(lifetimeSeconds !== undefined && { lifetimeSeconds }) };
    expect(createClient(world, ADDRESS).allocate(fields)?.fields.lifetimeSeconds).toBe(granted);
    world.wait(granted * 1000 - 1);
    expect(allocationsOf(world)).toBe(1);
    world.wait(1);
    expect(allocationsOf(world)).toBe(0);
  });

  it("RL-17: a retransmitted Allocate gets the same answer with what is left of its lifetime", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const transactionId = newTransaction();
    const first = client.allocate(DUAL, { transactionId });
    world.wait(1500);
    const second = client.allocate(DUAL, { transactionId });
    expect(second?.fields).toEqual({ ...first?.fields, lifetimeSeconds: 598 });
    expect(allocationsOf(world)).toBe(1);
  });

  it("RL-17: another Allocate of the same client address is refused with 437, whoever sends it", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const transactionId = newTransaction();
    client.allocate(UDP, { transactionId });
    expect(codeOf(client.allocate())).toBe(437);
    const bob = createClient(world, ADDRESS, { user: "bob" });
    expect(codeOf(bob.allocate(UDP, { transactionId }))).toBe(437);
  });

  it("RL-23: a Refresh counts from now and is not added to what was left", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    expect(codeOf(client.refresh())).toBe(437);
    client.allocate();
    world.wait(100_000);
    expect(client.refresh({ lifetimeSeconds: 700 })?.fields).toEqual({ lifetimeSeconds: 700 });
    world.wait(699_999);
    expect(allocationsOf(world)).toBe(1);
    world.wait(1);
    expect(allocationsOf(world)).toBe(0);
  });

  it("RL-23: a Refresh with lifetime 0 deletes the allocation", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const port = portOf(client.allocate(DUAL));
    client.bind(0x4000, "203.0.113.9:40000");
    expect(client.refresh({ lifetimeSeconds: 0 })?.fields).toEqual({ lifetimeSeconds: 0 });
    expect(world.server.stats()).toMatchObject({ allocations: 0, boundChannels: 0, coolingChannels: 0 });
    expect(world.commands.slice(-2)).toMatchObject([
      { kind: "remove-binding", binding: { channel: 0x4000 } },
      { kind: "free-port", port, families: [4, 6] },
    ]);
    expect(world.server.pollTimeout()).toBeUndefined();
    expect(codeOf(client.refresh({ lifetimeSeconds: 0 }))).toBe(437);
    expect(codeOf(client.allocate())).toBe("success");
  });
});

describe("a Refresh of one family", () => {
  it("RL-24: deletes that family with its bindings, and with the last one the allocation", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const port = portOf(client.allocate(DUAL));
    client.bind(0x4000, "203.0.113.9:40000");
    client.bind(0x4001, "[2001:db8:1::1]:40000");
    expect(codeOf(client.refresh({ lifetimeSeconds: 0, requestedFamily: 2 }))).toBe("success");
    expect(world.commands.slice(-2)).toMatchObject([
      { kind: "remove-binding", binding: { channel: 0x4001 } },
      { kind: "free-port", port, families: [6] },
    ]);
    expect(world.server.stats().boundChannels).toBe(1);
    expect(codeOf(client.bind(0x4002, "[2001:db8:1::1]:40000"))).toBe(443);
    expect(codeOf(client.refresh({ requestedFamily: 2 }))).toBe(443);
    expect(codeOf(client.refresh({ requestedFamily: 3 }))).toBe(443);
    expect(codeOf(client.refresh({ lifetimeSeconds: 0, requestedFamily: 1 }))).toBe("success");
    expect(world.commands.at(-1)).toEqual({ kind: "free-port", port, families: [4] });
    expect(allocationsOf(world)).toBe(0);
  });

  it("RL-24: prolongs that family alone", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const port = portOf(client.allocate(DUAL));
    world.wait(300_000);
    expect(codeOf(client.refresh({ requestedFamily: 1 }))).toBe("success");
    world.wait(300_000);
    expect(world.commands.at(-1)).toEqual({ kind: "free-port", port, families: [6] });
    world.wait(299_999);
    expect(allocationsOf(world)).toBe(1);
    world.wait(1);
    expect(allocationsOf(world)).toBe(0);
  });

  it("RL-24: REQUESTED-TRANSPORT and ADDITIONAL-ADDRESS-FAMILY do no harm", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    client.allocate();
    expect(codeOf(client.refresh(DUAL))).toBe("success");
  });
});

describe("users", () => {
  it("RL-17: who roamed gets a new allocation, and the old one ends", () => {
    const world = createWorld();
    const before = createClient(world, ADDRESS);
    const port = portOf(before.allocate());
    const after = createClient(world, "192.0.2.99:1024", { lifeSeconds: 2_000_000 });
    expect(codeOf(after.allocate())).toBe("success");
    expect(world.commands).toContainEqual({ kind: "free-port", port, families: [4] });
    expect(allocationsOf(world)).toBe(1);
    expect(codeOf(before.refresh())).toBe(437);
    expect(codeOf(after.refresh())).toBe("success");
  });

  it.each([
    [0, 3],
    [2, 2],
  ])("RL-17: with a limit of %s, %s of three allocations of one user stay", (allocationsPerUser, left) => {
    const world = createWorld({ limits: { ...LIMITS, allocationsPerUser } });
    for (const port of [1, 2, 3]) createClient(world, `192.0.2.1:${port}`).allocate();
    expect(allocationsOf(world)).toBe(left);
  });

  it("RL-25: another user may refresh an allocation and owns it from then on", () => {
    const world = createWorld();
    const alice = createClient(world, ADDRESS);
    alice.allocate();
    const bob = createClient(world, ADDRESS, { user: "bob" });
    expect(codeOf(bob.bind(0x4000, "203.0.113.9:40000"))).toBe("success");
    expect(codeOf(createClient(world, "192.0.2.2:1", { user: "bob" }).allocate())).toBe("success");
    expect(allocationsOf(world)).toBe(2);
    expect(codeOf(alice.refresh())).toBe("success");
    const carol = createClient(world, ADDRESS, { user: "carol" });
    expect(codeOf(carol.refresh())).toBe("success");
    createClient(world, "192.0.2.3:1", { user: "alice" }).allocate();
    expect(allocationsOf(world)).toBe(3);
    createClient(world, "192.0.2.4:1", { user: "carol" }).allocate();
    expect(allocationsOf(world)).toBe(3);
    expect(codeOf(carol.refresh())).toBe(437);
  });
});

describe("address families", () => {
  const MISSING_6 = { family: 2, code: 440, phrase: "Address Family not Supported" };
  const MISSING_4 = { ...MISSING_6, family: 1 };

  it.each([
    ["IPv4 only", undefined, undefined, [4], undefined],
    ["IPv6 only", undefined, undefined, 440, undefined],
    ["both", undefined, undefined, [4], undefined],
    ["IPv4 only", 1, undefined, [4], undefined],
    ["IPv6 only", 1, undefined, 440, undefined],
    ["both", 1, undefined, [4], undefined],
    ["IPv4 only", 2, undefined, 440, undefined],
    ["IPv6 only", 2, undefined, [6], undefined],
    ["both", 2, undefined, [6], undefined],
    ["IPv4 only", undefined, 2, [4], MISSING_6],
    ["IPv6 only", undefined, 2, [6], MISSING_4],
    ["both", undefined, 2, [4, 6], undefined],
    ["both", undefined, 1, 400, undefined],
    ["IPv4 only", undefined, 1, 400, undefined],
    ["IPv6 only", undefined, 1, 400, undefined],
    ["both", 1, 1, 400, undefined],
    ["both", 1, 2, 400, undefined],
    ["both", 2, 2, 400, undefined],
    ["both", 3, undefined, 440, undefined],
    ["both", undefined, 3, 440, undefined],
  ] as const)(
    "RL-19: a relay with %s, R %s and A %s: %j",
    (has, requested, additional, expected, missing) => {
      const without = { "IPv4 only": 6, "IPv6 only": 4, both: undefined }[has] as IpFamily | undefined;
      for (const name of ["additionalFamily", "additionalFamilyCoturn"] as const) {
        const world = createWorld(without === undefined ? {} : { without });
        const answer = createClient(world, ADDRESS).allocate({
          ...UDP,
          ...(requested !== undefined && { requestedFamily: requested }),
          ...(additional !== undefined && { [name]: additional }),
        });
        const families = answer?.fields.relayedAddresses?.map(({ address }) =>
          address.length === 4 ? 4 : 6,
        );
        expect(families ?? codeOf(answer)).toEqual(expected);
        expect(answer?.fields.addressError).toEqual(missing);
      }
    },
  );
});

describe("what an Allocate asks for", () => {
  it.each([
    ["no transport", {}, 400],
    ["TCP", { requestedTransport: 6 }, 442],
    ["a token and EVEN-PORT", { ...UDP, reservationToken: new Uint8Array(8), evenPort: false }, 400],
    ["a token and a family", { ...UDP, reservationToken: new Uint8Array(8), requestedFamily: 1 }, 400],
    ["a token and a second family", { ...DUAL, reservationToken: new Uint8Array(8) }, 400],
    ["a token that nobody has", { ...UDP, reservationToken: new Uint8Array(8) }, 508],
    ["DONT-FRAGMENT", { ...UDP, dontFragment: true as const }, "success"],
  ])("RL-17, RL-21: with %s", (_, fields, expected) => {
    expect(codeOf(createClient(createWorld(), ADDRESS).allocate(fields))).toBe(expected);
  });

  it("RL-17: with reserved bits of the transport set it is refused with 400", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    client.refresh();
    const signed = (flags: number) => requestWith(client, 0x0019, Uint8Array.of(17, 0, 0, flags));
    expect(codeOf(world.send(client.address, signed(1)))).toBe(400);
    expect(codeOf(world.send(client.address, signed(0)))).toBe("success");
  });

  it("RL-3, RL-15: unknown mandatory attributes are listed, after authentication; optional ones are skipped", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    client.refresh();
    const answer = world.send(client.address, requestWith(client, 0x7ffe, new Uint8Array(4)));
    expect(codeOf(answer)).toBe(420);
    expect(answer?.fields.unknownAttributes).toEqual([0x7ffe]);
    const optional = requestWith(client, 0xfffe, new Uint8Array(4));
    expect(codeOf(world.send(client.address, optional))).toBe(400);
  });
});

describe("allocation ports", () => {
  it("RL-20: when one is in use another one is tried, 8 in all", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const tried: number[] = [];
    world.onBind = (port) => {
      tried.push(port);
      return tried.length < 8 ? "in-use" : "ok";
    };
    expect(portOf(client.allocate())).toBe(tried.at(-1));
    expect(new Set(tried).size).toBe(8);
    world.onBind = (port) => {
      tried.push(port);
      return "in-use";
    };
    expect(codeOf(createClient(world, "192.0.2.2:1", { user: "bob" }).allocate())).toBe(508);
    expect(tried).toHaveLength(16);
    expect(world.server.stats()).toMatchObject({ allocations: 1, pending: 0 });
  });

  it("RL-20: any other error gives up at once", () => {
    const world = createWorld();
    world.onBind = () => "error";
    expect(codeOf(createClient(world, ADDRESS).allocate())).toBe(508);
    expect(world.commands).toHaveLength(1);
  });

  it("RL-17: a range of four ports serves four clients", () => {
    const world = createWorld({ ports: { lowest: 50001, highest: 50004 } });
    const answers = [1, 2, 3, 4, 5].map((n) =>
      createClient(world, `192.0.2.${n}:1`, { user: `user ${n}` }).allocate(),
    );
    expect(answers.map(codeOf)).toEqual(["success", "success", "success", "success", 508]);
    expect(answers.slice(0, 4).map(portOf).sort()).toEqual([50001, 50002, 50003, 50004]);
  });

  it("RL-17: the limit of allocations counts those in the making", () => {
    const world = createWorld({ limits: { ...LIMITS, allocationsMax: 2 } });
    createClient(world, "192.0.2.1:1", { user: "a" }).allocate();
    world.onBind = () => undefined;
    createClient(world, "192.0.2.2:1", { user: "b" }).allocate();
    expect(codeOf(createClient(world, "192.0.2.3:1", { user: "c" }).allocate())).toBe(508);
  });

  it("RL-73: while draining nothing is allocated, and everything else goes on", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    client.allocate();
    world.server.startDrain(world.now);
    expect(codeOf(createClient(world, "192.0.2.2:1", { user: "bob" }).allocate())).toBe(508);
    expect(codeOf(client.refresh())).toBe("success");
    expect(codeOf(client.bind(0x4000, "203.0.113.9:1"))).toBe("success");
    expect(codeOf(client.refresh({ lifetimeSeconds: 0 }))).toBe("success");
    expect(allocationsOf(world)).toBe(0);
  });
});

describe("pairs of ports", () => {
  const NEXT = { ...UDP, evenPort: true };

  it("RL-21: EVEN-PORT gets an even one", () => {
    const world = createWorld({ ports: { lowest: 50001, highest: 50003 } });
    expect(portOf(createClient(world, ADDRESS).allocate({ ...UDP, evenPort: false }))).toBe(50002);
    const bob = createClient(world, "192.0.2.2:1", { user: "bob" });
    expect(codeOf(bob.allocate({ ...UDP, evenPort: false }))).toBe(508);
  });

  it("RL-21: with the reserve bit the next port is kept for its token, 30 s, and for nobody else", () => {
    const world = createWorld({ ports: { lowest: 50000, highest: 50001 } });
    const first = createClient(world, ADDRESS).allocate(NEXT);
    const reservationToken = first?.fields.reservationToken ?? new Uint8Array();
    expect(portOf(first)).toBe(50000);
    expect(reservationToken).toHaveLength(8);
    const bob = createClient(world, "192.0.2.2:1", { user: "bob" });
    expect(codeOf(bob.allocate())).toBe(508);
    expect(codeOf(bob.allocate({ ...UDP, reservationToken }))).toBe(508);
    world.wait(29_999);
    expect(codeOf(bob.allocate())).toBe(508);
    world.wait(1);
    expect(portOf(bob.allocate())).toBe(50001);
  });

  it("RL-21: the same user gets the kept port with its token, once", () => {
    const world = createWorld({ limits: { ...LIMITS, allocationsPerUser: 0 } });
    const first = createClient(world, ADDRESS).allocate(NEXT);
    const reservationToken = first?.fields.reservationToken ?? new Uint8Array();
    const second = createClient(world, "192.0.2.1:51821").allocate({ ...UDP, reservationToken });
    expect(portOf(second)).toBe(portOf(first) + 1);
    expect(world.server.stats().reservations).toBe(0);
    const third = createClient(world, "192.0.2.1:51822").allocate({ ...UDP, reservationToken });
    expect(codeOf(third)).toBe(508);
    world.wait(600_000);
    expect(allocationsOf(world)).toBe(0);
    expect(world.server.pollTimeout()).toBeUndefined();
  });

  it("RL-21: neither port of a pair may be in use", () => {
    const world = createWorld({ ports: { lowest: 50000, highest: 50003 } });
    const ports = new Set<number>();
    for (let n = 1; ports.size < 3; n++) {
      ports.add(portOf(createClient(world, `192.0.2.${n}:1`, { user: `user ${n}` }).allocate()));
    }
    expect(codeOf(createClient(world, "192.0.2.99:1", { user: "last" }).allocate(NEXT))).toBe(508);
  });

  it("RL-21: the highest port has none above it", () => {
    const world = createWorld({ ports: { lowest: 50000, highest: 50000 } });
    expect(codeOf(createClient(world, ADDRESS).allocate(NEXT))).toBe(508);
    expect(codeOf(createClient(world, ADDRESS).allocate({ ...UDP, evenPort: false }))).toBe("success");
  });

  it("RL-21: what cannot be bound leaves nothing behind", () => {
    const world = createWorld({ ports: { lowest: 50000, highest: 50001 } });
    world.onBind = () => "in-use";
    const client = createClient(world, ADDRESS);
    expect(codeOf(client.allocate(NEXT))).toBe(508);
    world.onBind = () => "ok";
    expect(portOf(client.allocate(NEXT))).toBe(50000);
  });

  it("RL-60: a user has one reservation at most", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    for (let i = 0; i < 5; i++) {
      client.allocate(NEXT);
      client.refresh({ lifetimeSeconds: 0 });
    }
    expect(world.server.stats().reservations).toBe(1);
  });
});

/** A signed Allocate with one attribute that the codec would not write. */
function requestWith(
  { username, key, nonce }: { username: string; key: Uint8Array; nonce: string | undefined },
  type: number,
  value: Uint8Array,
): Uint8Array {
  const text = (attribute: number, content: string) => ({ type: attribute, value: utf8(content) });
  const into = new Uint8Array(1500);
  const length = encodeFrame(
    into,
    {
      method: METHOD_ALLOCATE,
      class: "request",
      transactionId: newTransaction(),
      attributes: [
        { type, value },
        text(0x0006, username),
        text(0x0014, "firezone"),
        text(0x0015, nonce ?? ""),
      ],
    },
    { key, omitsFingerprint: true },
  );
  return into.slice(0, length);
}
