import { describe, expect, it } from "vitest";
import { PosternError as BaseError } from "../../../src/base/index.ts";
import {
  type ClientOptions,
  connectClient,
  type GatewayOptions,
  type LogRecord,
  PosternError,
  startGateway,
} from "../../../src/index.ts";
import { toLibraryError } from "../../../src/library/error.ts";
import { createRecordLog } from "../../../src/library/log.ts";

describe("the library's errors", () => {
  it("PG-120: keep the library's codes, and have others as a detail of `host`", () => {
    const refused = new BaseError("refused", "nobody listens there");
    expect(toLibraryError(refused)).toBe(refused);
    const denied = toLibraryError(new BaseError("tun-open-denied", "cannot open it", "run as root"));
    expect(denied).toBeInstanceOf(PosternError);
    expect(denied).toMatchObject({
      code: "host",
      detail: "tun-open-denied",
      message: "cannot open it",
      hint: "run as root",
    });
  });

  it("PG-120: are no others' errors", () => {
    const defect = new TypeError("ours");
    expect(toLibraryError(defect)).toBe(defect);
    expect(defect).not.toBeInstanceOf(PosternError);
  });

  it.each([
    [{ apiUrl: "ftp://portal.example" }, /no portal address/],
    [{ id: "" }, /id is empty/],
    [{ addresses: ["localhost"] }, /no IP address/],
    [{ systemResolvers: ["dns.example"] }, /no IP address/],
    [{ log: () => {}, logFilter: "loud" }, /unknown level/],
    [{ mode: "tap" as "userspace" }, /no mode/],
    [{ tunName: "tun7" }, /tunName is an option of mode 'tun' alone/],
    [{ dnsControl: "disabled" }, /dnsControl is an option of mode 'tun'/],
    [{ mode: "tun", sockets: "fast" }, /sockets is an option of mode 'userspace' alone/],
    [{ mode: "tun", systemResolvers: [] }, /systemResolvers is an option of mode 'userspace'/],
    [{ mode: "tun", apiUrl: "ftp://portal.example" }, /no portal address/],
    [{ mode: "tun", id: "" }, /id is empty/],
    [{ mode: "tun", tunName: "a/b" }, /no device name/],
    [{ mode: "tun", egressInterface: ".." }, /no device name/],
    [{ mode: "tun", instance: "../client" }, /no name of an instance/],
    [{ mode: "tun", threads: 17 }, /threads is 17/],
    [{ mode: "tun", log: () => {}, logFilter: "loud" }, /unknown level/],
    [{ token: undefined }, /token is no text but undefined/],
    [{ token: " " }, /token is empty/],
    [{ token: async () => null }, /token is no text but null/],
    [{ mode: "tun", token: "" }, /token is empty/],
    [{ id: undefined }, /id is missing/],
    [{ mode: "tun", id: 7 }, /id is 7/],
    [{ listenPort: 70_000 }, /listenPort is 70000/],
    [{ mode: "tun", listenPort: -1 }, /listenPort is -1/],
    [{ maxPartitionMs: Number.NaN }, /maxPartitionMs is NaN/],
    [{ ca: "-----BEGIN CERTIFICATE-----" }, /ca is text/],
    [{ log: "info" }, /log is text/],
    [{ internetResource: "no" }, /internetResource is text/],
    [{ mode: "tun", dnsControl: "resolvconf" }, /dnsControl is text/],
    [{ mode: "tun", tunName: null }, /tunName is null/],
  ])("PG-120: options %o are refused before anything is opened", async (wrong, message) => {
    const options = { apiUrl: "ws://127.0.0.1:1", token: "x", id: "x", ...wrong };
    await expect(connectClient(options as ClientOptions)).rejects.toMatchObject({
      code: "host",
      detail: "usage",
      message: expect.stringMatching(message),
    });
  });

  it("PG-120: a gateway with a device leaves flows to the kernel", async () => {
    const options = { apiUrl: "ws://127.0.0.1:1", token: "x", id: "x", mode: "tun" } as const;
    for (const wrong of [{ onFlow: () => {} }, { resolver: async () => [] }]) {
      const [name = ""] = Object.keys(wrong);
      await expect(startGateway({ ...options, ...wrong } as unknown as GatewayOptions)).rejects.toMatchObject(
        {
          ...{ code: "host", detail: "usage", message: `${name} is an option of mode 'userspace' alone` },
        },
      );
    }
  });

  it("PG-120: what a gateway with a device lets happen is one of the choices", async () => {
    for (const wrong of [{ masquerade: "no" }, { hostAccess: "none" }, { allowLinkLocal: "no" }]) {
      const options = { apiUrl: "ws://127.0.0.1:1", token: "x", id: "x", mode: "tun", ...wrong };
      await expect(startGateway(options as unknown as GatewayOptions)).rejects.toMatchObject({
        ...{
          code: "host",
          detail: "usage",
          message: `${Object.keys(wrong)[0]} is text that it does not take`,
        },
      });
    }
  });

  it.each(["userspace", "tun"])(
    "PG-120: the signal ends the start while a token is asked for (%s)",
    async (mode) => {
      const ending = new AbortController();
      const token = () => {
        ending.abort(new Error("enough"));
        return new Promise<string>(() => {});
      };
      const options = { mode: mode as "userspace", apiUrl: "ws://127.0.0.1:1", token, id: "x" };
      const started = connectClient({ ...options, signal: ending.signal });
      await expect(started).rejects.toThrow("enough");
    },
  );

  it.each(["userspace", "tun"])(
    "PG-120: a signal that is aborted already starts nothing (%s)",
    async (mode) => {
      const options = {
        mode: mode as "userspace",
        apiUrl: "ws://127.0.0.1:1",
        token: "x",
        id: "x",
        signal: AbortSignal.abort(new Error("no")),
      };
      await expect(connectClient(options)).rejects.toThrow("no");
    },
  );
});

describe("the library's log", () => {
  it("PG-91, PG-120: hands on records that the filter lets pass, with the fields of their scope", () => {
    const records: LogRecord[] = [];
    const log = createRecordLog((record) => records.push(record), "warn,dns=debug");
    log.info?.("not wanted");
    expect(log.info).toBeUndefined();
    log.scope("dns", { cid: "c" }).debug?.("asked", { name: "x" });
    expect(records).toMatchObject([
      { level: "debug", target: "dns", event: "asked", fields: { cid: "c", name: "x" } },
    ]);
  });

  it("PG-120: is silent without a function", () => {
    expect(createRecordLog(undefined, undefined).error).toBeUndefined();
  });
});
