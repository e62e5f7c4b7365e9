import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openKernel } from "../../../bindings/linux/index.ts";
import { instant, ip, type Log, SILENT } from "../../../src/base/index.ts";
import { openRelayStreams, type RelayStreams, streamsMax } from "../../../src/program/relay/relay-streams.ts";
import { readStreamSettings, type StreamOptions } from "../../../src/program/relay/stream-settings.ts";

const VECTORS = new URL("../../vectors/portal/", import.meta.url).pathname;
const NONE: StreamOptions = {
  tlsListen: undefined,
  tlsCert: undefined,
  tlsKey: undefined,
  tlsName: undefined,
  tcpListen: undefined,
  devInsecure: false,
};
const TLS = { ...NONE, tlsListen: "127.0.0.1:0", tlsCert: "c.pem", tlsKey: "k.pem" };

let folder: string;
let streams: RelayStreams | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "postern-streams-"));
  for (const name of ["localhost.crt", "localhost.key"]) copyFileSync(VECTORS + name, join(folder, name));
});

afterEach(() => {
  streams?.close();
  streams = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function open(options: Partial<StreamOptions>, log: Log = SILENT): Promise<RelayStreams> {
  const files = { tlsCert: join(folder, "localhost.crt"), tlsKey: join(folder, "localhost.key") };
  const settings = readStreamSettings({ ...NONE, ...(options.tlsListen && files), ...options });
  const relay = { address: ip("127.0.0.1"), port: 9 };
  const rest = { kernel: openKernel(), maxConnections: 8, now: () => instant(0), onGone: () => {}, log };
  streams = await openRelayStreams({ settings, relay, ...rest });
  return streams;
}

/** Resolves when TLS is up with a certificate that is trusted for `localhost`. */
function shakeHands(port: number): Promise<string> {
  const ca = readFileSync(join(VECTORS, "localhost.crt"), "utf8");
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", servername: "localhost", ca }, () => {
      resolve(socket.getProtocol() ?? "");
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

describe("the relay's options for streams", () => {
  it.each([
    ["a certificate without a listener", { ...TLS, tlsListen: undefined }, "go together"],
    ["a listener without a key", { ...TLS, tlsKey: undefined }, "go together"],
    ["an address without a port", { ...TLS, tlsListen: "0.0.0.0" }, "--tls-listen 0.0.0.0 is not ADDR:PORT"],
    ["TCP on an open address", { ...NONE, tcpListen: "0.0.0.0:3478" }, "is not on loopback"],
  ])("RL-200: %s is refused", (_, options, message) => {
    expect(() => readStreamSettings(options)).toThrow(message);
  });

  it("RL-200: TCP without TLS is for loopback, or where the operator insists", () => {
    expect(readStreamSettings({ ...NONE, tcpListen: "[::1]:1" })).toHaveProperty("tcp");
    expect(readStreamSettings({ ...NONE, tcpListen: "0.0.0.0:1", devInsecure: true })).toHaveProperty("tcp");
  });

  it.each([
    [256, 32],
    [32_767, 4_095],
    [32_768, 4_096],
    [1_000_000, 4_096],
  ])("RL-203: %i open files allow %i streams", (files, most) => {
    expect(streamsMax(files)).toBe(most);
  });
});

describe("the relay's listeners for streams", () => {
  it("RL-207: the portal is told the port and the certificate's first name, or the name given", async () => {
    const { join: told } = await open({ tlsListen: "127.0.0.1:0", tcpListen: "127.0.0.1:0" });
    expect(told).toEqual({
      tls: { port: expect.any(Number), name: "localhost" },
      tcp: { port: expect.any(Number) },
    });
    expect(told.tls?.port).not.toBe(0);
    streams?.close();
    const named = await open({ tlsListen: "127.0.0.1:0", tlsName: "relay.example" });
    expect(named.join.tls?.name).toBe("relay.example");
  });

  it("RL-200: without options there is no listener", async () => {
    const { join: told, counts } = await open({});
    expect([told, counts()]).toEqual([{}, undefined]);
  });

  it("RL-200: a certificate that cannot be read leaves the old one in use, with an error", async () => {
    const errors: string[] = [];
    const log = { ...SILENT, error: (text: string) => void errors.push(text) };
    const { join: told, reloadCertificate } = await open({ tlsListen: "127.0.0.1:0" }, log);
    const port = told.tls?.port ?? 0;
    expect(await shakeHands(port)).toBe("TLSv1.3");
    writeFileSync(join(folder, "localhost.crt"), "no certificate");
    reloadCertificate();
    expect(errors).toHaveLength(1);
    expect(await shakeHands(port)).toBe("TLSv1.3");
  });

  it("RL-200: a port that is taken is named, and nothing stays open", async () => {
    const first = await open({ tcpListen: "127.0.0.1:0" });
    const taken = `127.0.0.1:${first.join.tcp?.port ?? 0}`;
    const settings = readStreamSettings({ ...NONE, tcpListen: taken });
    const rest = {
      kernel: openKernel(),
      maxConnections: 8,
      now: () => instant(0),
      onGone: () => {},
      log: SILENT,
    };
    const relay = { address: ip("127.0.0.1"), port: 9 };
    await expect(openRelayStreams({ settings, relay, ...rest })).rejects.toThrow(`cannot listen on ${taken}`);
  });
});
