import { describe, expect, it } from "vitest";
import { createSeededRandom } from "../../../src/base/index.ts";
import { createLoneConnections, requestFor } from "./lone-connections.ts";

describe("credentials", () => {
  const password = "a".repeat(22);
  const CASES: readonly (readonly [string, string, string, boolean])[] = [
    ["4 characters of user name", "abcd", password, true],
    ["3", "abc", password, false],
    ["256", "a".repeat(256), password, true],
    ["257", "a".repeat(257), password, false],
    ["a colon", "ab:d", password, false],
    ["plus and slash", "a+/d", password, true],
    ["an umlaut", "äbcd", password, false],
    ["22 characters of password", "abcd", "a".repeat(22), true],
    ["21", "abcd", "a".repeat(21), false],
    ["256", "abcd", "a".repeat(256), true],
    ["257", "abcd", "a".repeat(257), false],
    ["a space", "abcd", "a".repeat(21).concat(" "), false],
    ["a line feed at the end", "abcd", `${password}\n`, false],
  ];

  it.each(CASES)("SN-13: %s (%j, %j): %s", (_what, username, secret, isGood) => {
    for (const side of ["localCredentials", "remoteCredentials"] as const) {
      const lone = createLoneConnections("client");
      const request = requestFor("gateway-1", { [side]: { username, password: secret } });
      const outcome = lone.apply((connections, now) => connections.upsertConnection(now, request));
      expect(outcome.kind).toBe(isGood ? "created" : "bad-credentials");
      expect(lone.connections.slotOf("gateway-1") !== undefined).toBe(isGood);
    }
  });

  it("SN-12, PT-104: the credentials of either portal are accepted", () => {
    const lone = createLoneConnections("client");
    const reference = requestFor("gateway-1", {
      localCredentials: { username: "t6t4", password: "lhxqky7z6xkphuklmqollk" },
      remoteCredentials: { username: "sb64", password: "pzynddqm6pcwhq3bza7iqa" },
    });
    expect(lone.apply((connections, now) => connections.upsertConnection(now, reference)).kind).toBe(
      "created",
    );
  });

  it.each([31, 33])("SN-13: keys of %i bytes are refused", (length) => {
    for (const field of ["remoteKey", "presharedKey"] as const) {
      const lone = createLoneConnections("client");
      const request = requestFor("gateway-1", { [field]: new Uint8Array(length).fill(3) });
      expect(lone.apply((connections, now) => connections.upsertConnection(now, request)).kind).toBe(
        "bad-credentials",
      );
    }
  });

  it("SN-69: our own key is refused, and the existing connection stays", () => {
    const lone = createLoneConnections("client");
    const request = requestFor("gateway-1");
    lone.apply((connections, now) => connections.upsertConnection(now, request));
    const slot = lone.connections.slotOf("gateway-1");
    const own = { ...request, remoteKey: lone.connections.publicKey() };
    expect(lone.apply((connections, now) => connections.upsertConnection(now, own)).kind).toBe(
      "bad-credentials",
    );
    expect(lone.connections.slotOf("gateway-1")).toBe(slot);
  });

  it("a full table refuses the connection, not the process", () => {
    const lone = createLoneConnections("gateway", { connectionsMax: 2 });
    const kinds = ["a", "b", "c"].map(
      (id) => lone.apply((connections, now) => connections.upsertConnection(now, requestFor(id))).kind,
    );
    expect(kinds).toEqual(["created", "created", "bad-credentials"]);
  });

  it("TN-52: a gateway lets in as many as its plane has rows for, a client 1,024", () => {
    const room = { client: 1_024, gateway: 1_025 };
    for (const role of ["client", "gateway"] as const) {
      const lone = createLoneConnections(role);
      const kinds = Array.from({ length: 1_025 }, (_, i) => {
        const request = requestFor(`${i}`, { remoteKey: createSeededRandom(i).fill(new Uint8Array(32)) });
        return lone.apply((connections, now) => connections.upsertConnection(now, request)).kind;
      });
      expect(kinds.filter((kind) => kind === "created").length).toBe(room[role]);
    }
  });
});
