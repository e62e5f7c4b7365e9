import { describe, expect, it } from "vitest";
import { createSeededRandom, instant, ip, type Log, toHex } from "../../../src/base/index.ts";
import { verifyIntegrity } from "../../../src/stun/index.ts";
import { parseTurn } from "../../../src/turn/index.ts";
import fc from "../../lib/property.ts";
import {
  CREDENTIALS,
  createLoneRelayClient,
  KEY,
  keyFor,
  LOCAL6,
  type LoneRelayClient,
  NONCE,
  PEER,
  RELAYED4,
  SERVER4,
  SERVER6,
  texts,
} from "./lone-relay-client.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const ALLOCATED = { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 };

function allocating(dialect: "strict" | "rfc" = "strict"): LoneRelayClient {
  const lone = createLoneRelayClient({ dialect });
  lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
  return lone;
}

function active(dialect: "strict" | "rfc" = "strict"): LoneRelayClient {
  const lone = createLoneRelayClient({ dialect });
  return dialect === "rfc" ? lone.activateRfc() : lone.activate();
}

describe("authentication of a relay client", () => {
  it("RL-90: strict signs the first Allocate without a nonce, rfc sends it without credentials", () => {
    const strict = allocating().last("allocate").message;
    expect(verifyIntegrity(strict.frame, KEY)).toBe(true);
    expect(strict.fields.nonce).toBeUndefined();
    const rfc = allocating("rfc").last("allocate").message;
    expect(rfc.frame.integrityOffset).toBeUndefined();
    expect(rfc.fields).toEqual({
      requestedTransport: 17,
      additionalFamily: 2,
      additionalFamilyCoturn: 2,
      software: "postern/test",
    });
  });

  it.each(["strict", "rfc"] as const)(
    "RL-92: %s takes the nonce of a challenge and asks again",
    (dialect) => {
      const lone = allocating(dialect);
      lone.refuse(lone.last("allocate"), 401, NONCE, dialect === "rfc" ? { key: undefined } : {});
      const { message } = lone.last("allocate");
      expect(message.fields).toMatchObject({ ...NONCE, username: utf8(CREDENTIALS.username) });
      expect(verifyIntegrity(message.frame, KEY)).toBe(true);
      lone.succeed(lone.last("allocate"), ALLOCATED);
      expect(lone.machine.state()).toBe("active");
    },
  );

  it("RL-93: the newest nonce is used for all that follows, also for a new allocation", () => {
    const lone = allocating();
    lone.refuse(lone.last("allocate"), 401, NONCE);
    lone.succeed(lone.last("allocate"), ALLOCATED);
    lone.run((machine, now) => machine.refresh(now));
    expect(lone.last("refresh").message.fields).toMatchObject(NONCE);
    const newer = { ...NONCE, nonce: utf8("nonce-2") };
    lone.refuse(lone.last("refresh"), 438, newer);
    lone.refuse(lone.last("refresh"), 437);
    expect(lone.last("allocate").message.fields).toMatchObject(newer);
  });

  it("RL-92: 401 to a request with a nonce: the credentials are wrong", () => {
    const lone = allocating();
    lone.refuse(lone.last("allocate"), 401, NONCE);
    lone.refuse(lone.last("allocate"), 401, NONCE);
    expect(lone.machine.freeReason()).toBe("auth");
    expect(lone.warnings).toEqual(["relay freed"]);
  });

  it.each([
    ["another realm", { ...NONCE, realm: utf8("other") }],
    ["none", { nonce: utf8("n") }],
  ])("RL-92: a challenge with %s is the end", (_what, challenge) => {
    const lone = allocating();
    lone.refuse(lone.last("allocate"), 401, challenge);
    expect(lone.machine.freeReason()).toBe("realm");
  });

  it("RL-92: more than three challenges for one request: suspended", () => {
    const lone = allocating();
    for (let i = 0; i < 3; i++) {
      lone.refuse(lone.last("allocate"), 438, NONCE);
      expect(lone.machine.state()).toBe("allocating");
    }
    lone.refuse(lone.last("allocate"), 438, NONCE);
    expect([lone.machine.state(), lone.count("allocate")]).toEqual(["suspended", 4]);
  });

  it("RL-91: an answer with wrong or without integrity changes nothing, and the request stays in flight", () => {
    const lone = allocating();
    const request = lone.last("allocate");
    for (const key of [undefined, keyFor({ ...CREDENTIALS, password: "guess" })]) {
      expect(lone.succeed(request, ALLOCATED, { key })).toBe(true);
      expect(lone.refuse(request, 401, NONCE, { key })).toBe(true);
      expect(lone.refuse(request, 437, {}, { key })).toBe(true);
    }
    expect([lone.machine.state(), lone.machine.rttMs(), lone.count("allocate")]).toEqual([
      "allocating",
      0,
      1,
    ]);
    expect(lone.warnings).toEqual(["answer without right integrity"]);
    lone.pass(1_000);
    expect(lone.count("allocate")).toBe(2);
    lone.succeed(request, ALLOCATED);
    expect(lone.machine.state()).toBe("active");
  });

  it("RL-91: a warning about forgeries comes once a minute", () => {
    const lone = active();
    lone.keepAnswering();
    lone.run((machine, now) => machine.bindChannel(now, PEER));
    const forge = () => lone.refuse(lone.last("bind"), 437, {}, { key: undefined });
    forge();
    lone.pass(4_000);
    forge();
    expect(lone.warnings).toHaveLength(1);
  });

  it("RL-90: in the rfc dialect errors need no integrity, but a success does", () => {
    const lone = active("rfc");
    lone.run((machine, now) => machine.refresh(now));
    lone.succeed(lone.last("refresh"), { lifetimeSeconds: 600 }, { key: undefined });
    expect(lone.machine.pollTimeout()).toBe(lone.now + 1_000);
    lone.refuse(lone.last("refresh"), 437, {}, { key: keyFor({ ...CREDENTIALS, password: "guess" }) });
    expect(lone.machine.state()).toBe("active");
    lone.refuse(lone.last("refresh"), 437, {}, { key: undefined });
    expect(lone.machine.state()).toBe("allocating");
  });

  it("RL-90: in the rfc dialect a success to an unsigned request is not believed", () => {
    const lone = allocating("rfc");
    expect(lone.succeed(lone.last("allocate"), ALLOCATED, { key: undefined })).toBe(true);
    expect(lone.machine.state()).toBe("allocating");
  });

  it("RL-91: another source, method, class or transaction is none of ours", () => {
    const lone = allocating();
    const request = lone.last("allocate");
    expect(lone.succeed(request, ALLOCATED, { from: SERVER4 })).toBe(false);
    expect(lone.succeed(request, ALLOCATED, { from: { ...SERVER6, port: 3479 } })).toBe(false);
    expect(lone.succeed({ ...request, method: "binding", message: lone.last("binding").message }, {})).toBe(
      false,
    );
    const own = lone.run((machine, now) =>
      machine.handleStun(now, { from: SERVER6, local: LOCAL6, message: request.message }),
    );
    expect(own).toBe(false);
    lone.succeed(request, ALLOCATED);
    expect(lone.succeed(request, ALLOCATED)).toBe(false);
  });
});

describe("errors of the relay (RL-97)", () => {
  it("RL-97: 437 to Allocate: deletes, then allocates after 0, 1 and 2 s, then is suspended", () => {
    const lone = allocating();
    for (const waitMs of [0, 1_000, 2_000]) {
      lone.refuse(lone.last("allocate"), 437);
      expect(lone.last("refresh").message.fields.lifetimeSeconds).toBe(0);
      const before = lone.count("allocate");
      const since = lone.now;
      lone.succeed(lone.last("refresh"), { lifetimeSeconds: 0 });
      lone.pass(waitMs);
      expect(lone.times("allocate", since).at(-1)).toBe(waitMs);
      expect(lone.count("allocate")).toBe(before + 1);
    }
    lone.refuse(lone.last("allocate"), 437);
    expect([lone.machine.state(), lone.count("refresh")]).toEqual(["suspended", 3]);
  });

  it.each([437, 500])("RL-97: %i to the deleting Refresh: Allocate", (code) => {
    const lone = allocating();
    lone.refuse(lone.last("allocate"), 437);
    lone.refuse(lone.last("refresh"), code);
    expect([lone.machine.state(), lone.count("allocate")]).toEqual(["allocating", 2]);
  });

  it("RL-97: 437 to a Refresh: the candidates are withdrawn, and a new allocation is made", () => {
    const lone = active();
    lone.run((machine, now) => machine.refresh(now));
    lone.events.length = 0;
    lone.refuse(lone.last("refresh"), 437);
    expect(texts(lone.events)).toEqual([
      "invalidated relay 198.51.100.7:50000",
      "invalidated relay [2001:db8::7]:50000",
    ]);
    expect(lone.count("allocate")).toBe(2);
  });

  it("RL-97: 437 to a ChannelBind: besides, the peer waits for the new allocation", () => {
    const lone = active();
    lone.run((machine, now) => machine.bindChannel(now, PEER));
    lone.refuse(lone.last("bind"), 437);
    expect(lone.machine.channelTo(lone.now, PEER)).toBeUndefined();
    lone.succeed(lone.last("allocate"), ALLOCATED);
    expect(lone.count("bind")).toBe(2);
    expect(lone.last("bind").message.fields.peerAddress).toEqual(PEER);
  });

  it("RL-97: a relay that takes every Allocate and refuses every ChannelBind with 437 is suspended", () => {
    const lone = active();
    lone.run((machine, now) => machine.bindChannel(now, PEER));
    for (let i = 0; i < 3; i++) {
      lone.refuse(lone.last("bind"), 437);
      lone.succeed(lone.last("allocate"), ALLOCATED);
    }
    lone.refuse(lone.last("bind"), 437);
    expect([lone.machine.state(), lone.count("allocate")]).toEqual(["suspended", 4]);
  });

  it("RL-97: a Refresh that succeeds ends the counting of mismatches", () => {
    const lone = active();
    for (let i = 0; i < 6; i++) {
      lone.run((machine, now) => machine.refresh(now));
      lone.refuse(lone.last("refresh"), 437);
      lone.succeed(lone.last("allocate"), ALLOCATED);
      lone.run((machine, now) => machine.refresh(now));
      lone.succeed(lone.last("refresh"), { lifetimeSeconds: 600 });
    }
    expect(lone.machine.state()).toBe("active");
  });

  it.each(["allocate", "refresh", "bind"])(
    "RL-97: 420 to %s: freed, with the attributes in a warning",
    (method) => {
      const lone = method === "allocate" ? allocating() : active();
      if (method === "refresh") lone.run((machine, now) => machine.refresh(now));
      if (method === "bind") lone.run((machine, now) => machine.bindChannel(now, PEER));
      lone.refuse(lone.last(method), 420, { unknownAttributes: [0x19] });
      expect(lone.machine.freeReason()).toBe("protocol");
      expect(lone.warnings).toEqual(["relay does not know attributes", "relay freed"]);
    },
  );

  it.each([440, 442])("RL-97: %i to Allocate: freed", (code) => {
    const lone = allocating();
    lone.refuse(lone.last("allocate"), code);
    expect(lone.machine.freeReason()).toBe("protocol");
  });

  it("RL-97: 441: wrong credentials in strict, suspended in rfc", () => {
    const strict = allocating();
    strict.refuse(strict.last("allocate"), 441);
    expect(strict.machine.freeReason()).toBe("auth");
    const rfc = allocating("rfc");
    rfc.refuse(rfc.last("allocate"), 441, {}, { key: undefined });
    expect(rfc.machine.state()).toBe("suspended");
  });

  it("RL-97: 441 to a deleting Refresh in rfc: the other user's allocation is on its way out, Allocate", () => {
    const lone = allocating("rfc");
    lone.refuse(lone.last("allocate"), 401, NONCE, { key: undefined });
    for (const waitMs of [0, 1_000]) {
      lone.refuse(lone.last("allocate"), 437, {}, { key: undefined });
      const before = lone.count("allocate");
      lone.refuse(lone.last("refresh"), 441, {}, { key: undefined });
      lone.pass(waitMs);
      expect([lone.machine.state(), lone.count("allocate")]).toEqual(["allocating", before + 1]);
    }
  });

  it.each([486, 500, 508, 300, 699])(
    "RL-97: %i to Allocate: suspended, and nobody waits any more",
    (code) => {
      const lone = allocating();
      lone.run((machine, now) => machine.bindChannel(now, PEER));
      lone.refuse(lone.last("allocate"), code);
      expect(lone.machine.state()).toBe("suspended");
      lone.pass(30_000);
      lone.succeed(lone.last("allocate"), ALLOCATED);
      expect(lone.count("bind")).toBe(0);
    },
  );

  it("RL-97: a relay that refuses Binding has nothing to say: freed when the last probe is refused", () => {
    const lone = createLoneRelayClient();
    const [v4, v6] = lone.sent;
    if (v4 === undefined || v6 === undefined) throw new Error("two requests");
    lone.refuse(v4, 500);
    expect(lone.machine.state()).toBe("probing");
    lone.refuse(v6, 500);
    expect(lone.machine.freeReason()).toBe("protocol");
  });
});

type Step =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "answer"; readonly code: number; readonly which: number }
  | { readonly kind: "bind" | "data" | "refresh" | "restart"; readonly peer: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.oneof(fc.nat(2_000), fc.integer({ min: 1, max: 700_000 })),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      code: fc.constantFrom(0, 0, 0, 0, 401, 437, 438, 403, 500),
      which: fc.nat(3),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom("bind" as const, "data" as const, "refresh" as const, "restart" as const),
      peer: fc.nat(3),
    }),
  },
);

/** What it sends, when, and what it says. `tickMs`: it is looked at that often besides. */
function transcriptOf(steps: readonly Step[], tickMs: number | undefined): readonly string[] {
  const lone = createLoneRelayClient({ random: createSeededRandom(3) }).activate();
  for (const one of steps) {
    if (one.kind === "wait") wait(lone, one.ms, tickMs);
    else if (one.kind === "answer") respond(lone, one);
    else {
      const peer = { address: ip(`203.0.113.${one.peer}`), port: 9 };
      lone.run((machine, now) => {
        if (one.kind === "bind") machine.bindChannel(now, peer);
        else if (one.kind === "data") machine.noteChannelDataSent(now, 0x4000 + one.peer);
        else machine[one.kind](now);
      });
    }
  }
  return [
    ...lone.sent.map(({ at, to, hex }) => `${at} ${toHex(to.address)} ${hex}`),
    ...texts(lone.events),
    lone.machine.state(),
  ];
}

function wait(lone: LoneRelayClient, ms: number, tickMs: number | undefined): void {
  const end = lone.now + ms;
  for (let next = lone.now + (tickMs ?? ms); next < end; next += tickMs ?? ms) {
    lone.pass(next - lone.now);
    lone.run((machine, now) => machine.handleTimeout(now));
  }
  lone.pass(end - lone.now);
}

function respond(lone: LoneRelayClient, { code, which }: Extract<Step, { kind: "answer" }>): void {
  const request = lone.sent.at(-1 - which);
  if (request === undefined) return;
  if (code !== 0) lone.refuse(request, code, NONCE);
  else if (request.method === "binding") lone.succeed(request, { mappedAddress: LOCAL6 });
  else lone.succeed(request, request.method === "allocate" ? ALLOCATED : { lifetimeSeconds: 600 });
}

it("RL-120, PG-103: control messages are DEBUG lines of wire.turn, without secrets; data is none", () => {
  const lines: string[] = [];
  const log = (target: string): Log => ({
    debug: (event, fields) => lines.push(`${target} ${event} ${JSON.stringify(fields)}`),
    scope: log,
  });
  const lone = createLoneRelayClient({ log: log("") }).activate();
  lone.run((machine, now) => machine.bindChannel(now, PEER));
  lone.pass(30);
  lone.refuse(lone.last("bind"), 403);
  const wire = lines.filter((line) => line.startsWith("wire.turn"));
  const { transactionId } = lone.last("bind").message.frame;
  const named = `"transaction":"${toHex(transactionId)}","relay":"198.51.100.7:3478"`;
  expect(wire.slice(-2)).toEqual([
    `wire.turn TURN request {"method":"bind",${named},"sends":1}`,
    `wire.turn TURN response {"method":"bind","class":"error",${named},"code":403,"rttMs":30}`,
  ]);
  const before = lines.length;
  lone.machine.peerOf(lone.now, 0x4000);
  lone.machine.noteChannelDataSent(lone.now, 0x4000);
  expect(lines.length).toBe(before);
  expect(lines.join()).not.toContain(CREDENTIALS.password);
});

describe("the relay client as a machine", () => {
  it("poll law: no deadline is hidden, none in the past, early ticks change nothing", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 20 }),
        fc.integer({ min: 1_000, max: 90_000 }),
        (steps, tickMs) => {
          expect(transcriptOf(steps, tickMs)).toEqual(transcriptOf(steps, undefined));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("poll law: after a late tick nothing is due any more, and a second one does nothing", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.integer({ min: 1, max: 4_000_000 }), (steps, ms) => {
        const lone = createLoneRelayClient();
        for (const one of steps) if (one.kind === "answer") respond(lone, one);
        lone.jump(ms);
        const due = lone.machine.pollTimeout();
        expect(due === undefined || due > lone.now).toBe(true);
        const before = lone.sent.length;
        lone.jump(0);
        expect(lone.sent.length).toBe(before);
      }),
    );
  });

  it("TS-33: mutated answers never throw, and what is not signed changes no phase", () => {
    fc.assert(
      fc.property(fc.nat(3), fc.nat(200), fc.nat(255), fc.boolean(), (which, at, value, isError) => {
        const lone = active();
        lone.run((machine, now) => machine.bindChannel(now, PEER));
        const request = lone.sent.at(-1 - which) ?? lone.last("bind");
        const datagram = Uint8Array.from(request.hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
        datagram[0] = 0x01;
        datagram[1] = (datagram[1] ?? 0) | (isError ? 0x10 : 0);
        if (at >= 2) datagram[at % datagram.length] = value;
        const message = parseTurn(datagram);
        if (!message.ok) return;
        const state = lone.machine.state();
        lone.run((machine, now) =>
          machine.handleStun(now, { from: request.to, local: LOCAL6, message: message.value }),
        );
        if (request.method !== "binding") expect(lone.machine.state()).toBe(state);
      }),
    );
  });

  it("RL-83, SN-122: an hour of sleep is one tick", () => {
    const lone = active();
    lone.now = instant(lone.now + 3_600_000);
    lone.run((machine, now) => machine.handleTimeout(now));
    expect(lone.machine.state()).toBe("allocating");
    expect(lone.count("allocate")).toBe(2);
  });
});
