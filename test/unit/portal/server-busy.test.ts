/** Many requests at once: a gateway that is busy, and requests that cross their answers (PT-85.5, PT-86). */
import { describe, expect, it } from "vitest";
import { createFlow, createWorld, OFFICE, ridOf } from "./server-world.ts";

const TWO = `version: 1
resources:
  - { name: Office, type: cidr, address: 172.20.0.0/16, site: default }
  - { name: Lab, type: cidr, address: 172.21.0.0/16, site: default }
policies: [{ group: dev, resource: Office }, { group: dev, resource: Lab }]
`;

/** A client with a flow through the only gateway. */
function connected() {
  const world = createWorld();
  const gateway = world.gateway();
  const client = world.client();
  const rid = ridOf(client);
  client.send(createFlow(rid));
  gateway.answer();
  return { world, gateway, client, rid, flow: client.last("flow-created") };
}

/** So many clients ask one gateway, which has answered nobody yet. */
function queue(count: number) {
  const world = createWorld();
  const gateway = world.gateway();
  const clients = Array.from({ length: count }, (_, i) => world.client({ id: `client-${i}` }));
  for (const client of clients) client.send(createFlow(ridOf(client)));
  const refs = gateway.messages.flatMap((message) =>
    message.kind === "authorize-flow" ? [message.ref] : [],
  );
  const answer = (i: number) => gateway.send({ kind: "flow-authorized", ref: refs[i] ?? "" });
  const wait = (i: number) => gateway.send({ kind: "flow-waiting", ref: refs[i] ?? "" });
  return { world, gateway, clients, answer, wait };
}

describe("a gateway that is busy", () => {
  it("PT-85.5: the only gateway is waited for while it answers what it was asked before", () => {
    const { world, clients, answer } = queue(4);
    world.pass(4_999);
    answer(0);
    world.pass(4_999);
    answer(1);
    world.pass(4_999);
    answer(2);
    expect(clients.map(({ log }) => log.at(-1))).toEqual([
      "flow_created",
      "flow_created",
      "flow_created",
      "init",
    ]);
    world.pass(4_999);
    expect(clients[3]?.log.at(-1)).toBe("init");
    world.pass(1);
    expect(clients[3]?.last("flow-creation-failed").reason).toBe("offline");
  });

  it("PT-85.5: it may answer later questions first, for 300 s", () => {
    const { world, gateway, clients } = queue(1);
    for (let i = 0; i < 75; i++) {
      const later = world.client({ id: `later-${i}` });
      later.send(createFlow(ridOf(later)));
      gateway.answer();
      expect(later.log).toContain("flow_created");
      world.pass(i < 74 ? 4_000 : 3_999);
    }
    expect(clients[0]?.log.at(-1)).toBe("init");
    world.pass(1);
    expect(clients[0]?.last("flow-creation-failed").reason).toBe("offline");
  });

  it("PT-85.5: nor where another one can serve", () => {
    const { world, gateway, clients, answer } = queue(2);
    const other = world.gateway({ id: "other" });
    world.pass(4_999);
    answer(0);
    world.pass(1);
    expect(gateway.log.at(-1)).toBe("reject_access");
    expect(other.log.at(-1)).toBe("authorize_flow");
    other.answer();
    expect(clients[1]?.log).toContain("flow_created");
  });

  it("PT-85.5: nor for a client that has left, whose place in the queue it gives away", () => {
    const { world, gateway, clients, answer } = queue(2);
    world.pass(2_000);
    answer(0);
    clients[1]?.close();
    world.pass(3_000);
    expect(gateway.log.at(-1)).toBe("reject_access");
  });

  it("PT-85.5: one that lets a client wait is waited for, for 300 s, without any other answer", () => {
    for (const isAnswered of [true, false]) {
      const { world, gateway, clients, wait, answer } = queue(1);
      wait(0);
      expect(gateway.log.at(-1)).toBe("reply ok");
      world.pass(299_999);
      expect(clients[0]?.log.at(-1)).toBe("init");
      if (isAnswered) answer(0);
      world.pass(1);
      expect(clients[0]?.log.at(-1)).toBe(isAnswered ? "flow_created" : "flow_creation_failed");
    }
  });

  it("PT-85.5: a client that is to wait goes to another gateway, at once or within 5 s of when there is one", () => {
    const { world, gateway, clients, wait } = queue(1);
    wait(0);
    world.pass(3_000);
    const other = world.gateway({ id: "other" });
    world.pass(2_000);
    expect(gateway.log.at(-1)).toBe("reject_access");
    other.send({ kind: "flow-waiting", ref: other.last("authorize-flow").ref });
    expect(other.log.at(-1), "both have been tried").toBe("reply ok");
    const late = world.client({ id: "late" });
    late.send(createFlow(ridOf(late)));
    const [first, second] = gateway.log.at(-1) === "authorize_flow" ? [gateway, other] : [other, gateway];
    first.send({ kind: "flow-waiting", ref: first.last("authorize-flow").ref });
    expect(second.log.at(-1)).toBe("authorize_flow");
    expect(clients[0]?.log.at(-1)).toBe("init");
  });

  it("PT-85.5: a client that has left waits for nothing any more", () => {
    const { world, gateway, clients, wait } = queue(1);
    wait(0);
    clients[0]?.close();
    world.pass(5_000);
    expect(gateway.log.at(-1)).toBe("reject_access");
    wait(0);
    expect(gateway.log.at(-1)).toBe("reply invalid_ref");
  });

  it("PT-86: what waits is not asked again", () => {
    const { world, gateway, clients, wait } = queue(1);
    wait(0);
    world.pass(60_000);
    for (const client of clients) client.send(createFlow(ridOf(client)));
    expect(gateway.log.filter((event) => event === "authorize_flow")).toHaveLength(1);
  });

  it("PT-86: a busy gateway is not asked the same twice", () => {
    const { world, gateway, clients, answer } = queue(3);
    const repeat = (): number => {
      const before = gateway.log.filter((event) => event === "authorize_flow").length;
      for (const client of clients) client.send(createFlow(ridOf(client)));
      return gateway.log.filter((event) => event === "authorize_flow").length - before;
    };
    world.pass(1_000);
    expect(repeat(), "it has answered nothing yet").toBe(3);
    world.pass(1_000);
    answer(1);
    expect(repeat(), "it answers").toBe(0);
    world.pass(4_999);
    expect(repeat(), "it still counts as one that does").toBe(0);
  });

  it("PT-86: that it answered something before it was asked does not make it busy", () => {
    const { world, gateway } = connected();
    const late = world.client({ id: "late" });
    world.pass(1_000);
    late.send(createFlow(ridOf(late)));
    world.pass(1_000);
    late.send(createFlow(ridOf(late)));
    expect(gateway.log.filter((event) => event === "authorize_flow")).toHaveLength(3);
  });
});

describe("a request that crosses its answer", () => {
  it("PT-86: a request that crossed the answer changes nothing, for 5 s, or 1 s if the client knew the gateway", () => {
    const { world, client, gateway, flow, rid } = connected();
    const asked = () => gateway.log.filter((event) => event === "authorize_flow").length;
    world.pass(4_999);
    client.send(createFlow(rid));
    expect(asked()).toBe(1);
    expect(client.log.at(-1)).toBe("flow_created");
    world.pass(1);
    client.send(createFlow(rid, flow.gid));
    expect(asked()).toBe(2);
    gateway.answer();
    world.pass(999);
    client.send(createFlow(rid, flow.gid));
    expect(asked()).toBe(2);
    world.pass(1);
    client.send(createFlow(rid, flow.gid));
    expect(asked()).toBe(3);
  });

  it("PT-86: a client that knows the gateway only by the answer begins anew, and is answered at once", () => {
    const { client, gateway, flow, rid } = connected();
    const before = client.log.length;
    client.send(createFlow(rid, flow.gid));
    expect(gateway.log.at(-1)).toBe("authorize_flow");
    gateway.answer();
    expect(client.log.slice(before)).toContain("flow_created");
  });

  it("PT-86: not so one that knows it by another resource", () => {
    const world = createWorld(TWO);
    const gateway = world.gateway();
    const client = world.client();
    for (const name of ["Office", "Lab"]) {
      client.send(createFlow(ridOf(client, name)));
      gateway.answer();
    }
    const asked = gateway.log.length;
    client.send(createFlow(ridOf(client, "Lab"), client.last("flow-created").gid));
    expect(gateway.log).toHaveLength(asked);
  });

  it("PT-86: none of which either end came back meanwhile, or whose access is gone, has crossed anything", () => {
    for (const change of ["client", "gateway", "access"]) {
      const { world, client, gateway, rid } = connected();
      const now = change === "client" ? world.client() : client;
      const serving = change === "gateway" ? world.gateway() : gateway;
      if (change === "access") {
        world.reload("version: 1\n");
        world.reload(OFFICE);
      }
      const before = serving.log.length;
      now.send(createFlow(rid));
      expect(serving.log.slice(before), change).toEqual(["authorize_flow"]);
    }
  });
});
