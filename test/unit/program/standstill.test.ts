import { describe, expect, it } from "vitest";
import { instant, SILENT } from "../../../src/base/index.ts";
import { clientRole } from "../../../src/program/client/client-role.ts";
import { handleStandstill } from "../../../src/program/endpoint/standstill.ts";
import { gatewayRole } from "../../../src/program/gateway/gateway-role.ts";

const CLIENT = clientRole({ maxPartitionTime: undefined, caFile: undefined }, { isInternetOn: false });
const GATEWAY = gatewayRole(
  { maxPartitionTime: undefined, caFile: undefined },
  { isHostOpen: false, isLinkLocalAllowed: false },
);

function actsOf(role: typeof CLIENT | typeof GATEWAY, stillMs: number): readonly string[] {
  const acts: string[] = [];
  handleStandstill(
    {
      role,
      machine: { checkPaths: () => acts.push("paths") },
      shell: { input: (give) => give(instant(1_000)) },
      wiring: { check: () => acts.push("portal") },
      resets: { request: (reason) => acts.push(reason) },
      log: SILENT,
    },
    stillMs,
  );
  return acts;
}

describe("after a standstill", () => {
  it("PG-74, SN-153, PT-34: a gateway checks its paths and the portal, as long as its sessions live", () => {
    expect(actsOf(GATEWAY, 5_001)).toEqual(["paths", "portal"]);
    expect(actsOf(GATEWAY, 179_999)).toEqual(["paths", "portal"]);
    expect(actsOf(GATEWAY, 180_000)).toEqual(["resume from suspend"]);
  });

  it("PG-74: a client connects anew", () => {
    expect(actsOf(CLIENT, 5_001)).toEqual(["resume from suspend"]);
  });
});
