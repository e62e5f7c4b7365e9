import { describe, expect, it } from "vitest";
import { unixMs } from "../../../src/base/index.ts";
import type { Service } from "../../../src/portal/protocol/index.ts";
import { explainAccess } from "../../../src/portal/server/index.ts";
import { modelOf, WALL_START } from "./server-world.ts";

const FILE = `version: 1
actors:
  - {name: ci, type: service_account}
  - {name: Alice, type: user}
  - {name: Bob, type: user, disabled: true}
groups:
  - {name: Ops, members: [ci, Bob]}
  - {name: Night, members: [ci]}
resources:
  - {name: Git, type: dns, address: "*.git.example", site: default, filters: [{protocol: tcp, ports: ["443", "8000-8100"]}, {protocol: icmp}]}
  - {name: Office, type: cidr, address: 10.0.0.0/8, site: default}
  - {name: Lab, type: cidr, address: 10.9.0.0/16, site: default}
policies:
  - {group: Ops, resource: Git, conditions: [{property: remote_ip, operator: is_in_cidr, values: [198.51.100.0/24]}, {property: client_verified, operator: is, values: ["true"]}]}
  - {group: Night, resource: Office, conditions: [{property: current_utc_datetime, operator: is_in_day_of_week_time_ranges, values: ["T/22-24/UTC"]}]}
`;

const model = modelOf(FILE);

function ask(client: string, name: string, service?: Service, wallNow = WALL_START) {
  const actor = [...model.actors.values()].find((one) => one.name === client);
  const resource = [...model.resources.values()].find((one) => one.name === name);
  if (actor === undefined || resource === undefined) throw new Error("no such name");
  return explainAccess(model, { actor, resource, wallNow: unixMs(wallNow), ...(service && { service }) });
}

const TCP = (port: number): Service => ({ protocol: "tcp", port });

describe("may a client reach a resource", () => {
  it("PT-196: allowed, by which policy, and if what", () => {
    expect(ask("ci", "Git", TCP(443))).toEqual({
      isAllowed: true,
      lines: [
        "allowed: ci may reach Git, tcp 443",
        "by the policy Ops → Git, if remote_ip is_in_cidr 198.51.100.0/24 and the device is verified",
      ],
    });
  });

  it("PT-196: without a service it says what of it", () => {
    expect(ask("ci", "Git").lines[0]).toBe("allowed: ci may reach Git, tcp 443, tcp 8000-8100, icmp");
  });

  it.each<[string, Service, boolean]>([
    ["the first port of a range", TCP(8000), true],
    ["the last one", TCP(8100), true],
    ["the port behind it", TCP(8101), false],
    ["the same port of another protocol", { protocol: "udp", port: 443 }, false],
    ["icmp", { protocol: "icmp" }, true],
  ])("PT-196: filters decide: %s", (_, service, isAllowed) => {
    const answer = ask("ci", "Git", service);
    expect(answer.isAllowed).toBe(isAllowed);
    if (isAllowed) return;
    expect(answer.lines).toEqual([
      "forbidden: the filters of Git let pass only tcp 443, tcp 8000-8100, icmp",
    ]);
  });

  it("PT-196: times are judged now", () => {
    expect(ask("ci", "Office").lines).toEqual([
      "forbidden: the conditions of every policy are violated",
      "the policy Night → Office: the time of day lies in its ranges",
    ]);
    expect(ask("ci", "Office", undefined, WALL_START + 11 * 3_600_000).isAllowed).toBe(true);
  });

  it.each([
    ["Bob", "Git", "forbidden: Bob is disabled"],
    ["Alice", "Git", "forbidden: no policy grants Git to Alice; there are policies for Ops"],
    ["ci", "Lab", "forbidden: no policy grants Lab"],
  ])("PT-196: %s and %s: what forbids it", (client, resource, line) => {
    expect(ask(client, resource)).toEqual({ isAllowed: false, lines: [line] });
  });
});
