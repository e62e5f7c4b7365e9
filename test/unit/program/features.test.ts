import { expect, it } from "vitest";
import { type Log, SILENT } from "../../../src/base/index.ts";
import { readFeatures } from "../../../src/program/shell/index.ts";

function read(env: Record<string, string>) {
  const warnings: string[] = [];
  const log: Log = { ...SILENT, warn: (event, fields) => warnings.push(`${event}: ${fields?.["variable"]}`) };
  return { features: readFeatures(env, log), warnings };
}

const all = {
  ...{ gso: true, gro: true, tunOffload: true, enobufsRetry: true },
  icmpErrorCreatesFlow: true,
};

it("PG-118: all flags are on, and each can be switched off", () => {
  expect(read({ OTHER: "false", POSTERN_FF_GSO: "" })).toEqual({ features: all, warnings: [] });
  expect(read({ POSTERN_FF_ENOBUFS_RETRY: "Off", POSTERN_FF_TUN_OFFLOAD: "0" })).toEqual({
    features: { ...all, enobufsRetry: false, tunOffload: false },
    warnings: [],
  });
});

it("PG-118: a name that is unknown, and a value that is neither, are a WARN each", () => {
  expect(
    read({ POSTERN_FF_NEW: "1", POSTERN_FF_GRO: "perhaps", POSTERN_FF_ICMP_ERROR_CREATES_FLOW: "false" }),
  ).toEqual({
    features: { ...all, icmpErrorCreatesFlow: false },
    warnings: [
      "unknown feature flag: POSTERN_FF_NEW",
      "feature flag is neither true nor false: its default applies: POSTERN_FF_GRO",
    ],
  });
});
