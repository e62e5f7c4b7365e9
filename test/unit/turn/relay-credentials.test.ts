import { describe, expect, it } from "vitest";
import { unixMs } from "../../../src/base/index.ts";
import { verifyIntegrity } from "../../../src/stun/index.ts";
import { areUsableCredentials } from "../../../src/turn/index.ts";
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
  UNIX_START,
} from "./lone-relay-client.ts";

const MINUTE = 60_000;

function active(): LoneRelayClient {
  return createLoneRelayClient().activate();
}

describe("credentials of a relay client", () => {
  const RENEWED = { username: `${UNIX_START + 2 * 86_400}:salt`, password: "other" };

  it("RL-117: renewed ones are tested by one Refresh, and the allocation lives on", () => {
    const lone = active();
    lone.events.length = 0;
    lone.run((machine, now) => machine.renew(now, RENEWED));
    const refresh = lone.last("refresh");
    expect(verifyIntegrity(refresh.message.frame, keyFor(RENEWED))).toBe(true);
    lone.succeed(refresh, { lifetimeSeconds: 600 }, { key: keyFor(RENEWED) });
    expect(lone.events).toEqual([]);
    expect(lone.machine.state()).toBe("active");
  });

  it("RL-117: 437 to that Refresh makes a new allocation with the new ones", () => {
    const lone = active();
    lone.run((machine, now) => machine.renew(now, RENEWED));
    lone.refuse(lone.last("refresh"), 437, {}, { key: keyFor(RENEWED) });
    expect(lone.machine.state()).toBe("allocating");
    expect(verifyIntegrity(lone.last("allocate").message.frame, keyFor(RENEWED))).toBe(true);
  });

  it("RL-117: a refusal of the old ones after the renewal is not one of the new", () => {
    const lone = active();
    lone.run((machine, now) => machine.refresh(now));
    lone.refuse(lone.last("refresh"), 438, NONCE);
    lone.run((machine, now) => machine.bindChannel(now, PEER));
    lone.run((machine, now) => machine.renew(now, RENEWED));
    lone.refuse(lone.last("bind"), 401, NONCE);
    expect(lone.machine.state()).toBe("active");
    expect(verifyIntegrity(lone.last("bind").message.frame, keyFor(RENEWED))).toBe(true);
  });

  it("RL-117: in the rfc dialect the old allocation is deleted with the old ones, then all begins anew", () => {
    const lone = createLoneRelayClient({ dialect: "rfc" }).activateRfc();
    lone.run((machine, now) => machine.renew(now, RENEWED));
    const deletion = lone.last("refresh");
    expect(deletion.message.fields.lifetimeSeconds).toBe(0);
    expect(verifyIntegrity(deletion.message.frame, KEY)).toBe(true);
    expect(lone.sent.slice(-3).map(({ method }) => method)).toEqual(["refresh", "binding", "binding"]);
    expect(lone.machine.state()).toBe("probing");
  });

  it("RL-118: expired ones are not used: neither for Allocate nor for Refresh", () => {
    const lone = createLoneRelayClient({
      credentials: { username: `${UNIX_START + 1}:salt`, password: "password" },
    });
    lone.pass(999);
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    expect(lone.count("allocate")).toBe(1);
    const late = createLoneRelayClient({
      credentials: { username: `${UNIX_START + 1}:salt`, password: "password" },
    });
    late.pass(1_000);
    late.succeed(late.last("binding"), { mappedAddress: LOCAL6 });
    expect(late.count("allocate")).toBe(0);
    expect(late.machine.state()).toBe("suspended");
    late.run((machine, now) => machine.renew(now, CREDENTIALS));
    expect(late.count("allocate")).toBe(1);
  });

  it("RL-118: an allocation outlives its credentials until its lifetime ends", () => {
    const credentials = { username: `${UNIX_START + 60}:salt`, password: "password" };
    const lone = createLoneRelayClient({ credentials });
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    lone.succeed(
      lone.last("allocate"),
      { relayedAddresses: [RELAYED4], lifetimeSeconds: 600 },
      { key: keyFor(credentials) },
    );
    lone.keepAnswering();
    lone.pass(10 * MINUTE - 1);
    expect([lone.machine.state(), lone.count("refresh")]).toEqual(["active", 0]);
    lone.pass(1);
    expect([lone.machine.state(), lone.count("allocate")]).toEqual(["suspended", 1]);
    expect(lone.machine.pollTimeout()).toBeUndefined();
  });

  it("RL-118: the wall clock is told", () => {
    const lone = createLoneRelayClient();
    lone.machine.handleWallClock(lone.now, unixMs((UNIX_START + 86_400) * 1_000));
    lone.succeed(lone.last("binding"), { mappedAddress: LOCAL6 });
    expect(lone.machine.state()).toBe("suspended");
  });

  it.each([
    ["508 bytes", "u".repeat(508), "firezone", true],
    ["509 bytes", "u".repeat(509), "firezone", false],
    ["254 times two bytes", "ü".repeat(254), "firezone", true],
    ["255 times two bytes", "ü".repeat(255), "firezone", false],
    ["a realm of 763 bytes", "1:s", "r".repeat(763), true],
    ["a realm of 764 bytes", "1:s", "r".repeat(764), false],
    ["a control character", "1:\n", "firezone", false],
    ["a control character in the realm", "1:s", "fire\u007fzone", false],
  ])("RL-118: usable or not: %s", (_what, username, realm, expected) => {
    expect(areUsableCredentials({ username, password: "" }, realm)).toBe(expected);
  });
});
