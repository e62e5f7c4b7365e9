/** The types of the library's public symbols (PG-132): what programs are written against. */
import { readFileSync } from "node:fs";
import type { Duplex } from "node:stream";
import { describe, expect, expectTypeOf, it } from "vitest";
import type * as Library from "../../../src/index.ts";
import * as library from "../../../src/index.ts";
import type * as Deno from "../../../src/library/deno/index.ts";
import * as deno from "../../../src/library/deno/index.ts";
import type * as Node from "../../../src/library/node/index.ts";
import * as node from "../../../src/library/node/index.ts";

describe("the library's types", () => {
  it("PG-132: connectClient and its options", () => {
    const connect = (options: Library.ClientOptions) => library.connectClient(options);
    expectTypeOf(connect).returns.resolves.toEqualTypeOf<Library.Client>();
    expectTypeOf<{ apiUrl: string; token: string; id: string }>().toExtend<Library.ClientOptions>();
    expectTypeOf<{ apiUrl: URL; token: () => Promise<string>; id: string }>().toExtend<Library.BaseOptions>();
    expectTypeOf<Library.BaseOptions["token"]>().toEqualTypeOf<Library.Token>();
    expectTypeOf<Extract<Library.Token, (...given: never[]) => unknown>>().parameters.toEqualTypeOf<
      [Library.TokenRequest]
    >();
    expectTypeOf<Library.RelayOptions["token"]>().toEqualTypeOf<Library.Token | undefined>();
    expectTypeOf<{ apiUrl: string; token: string }>().not.toExtend<Library.ClientOptions>();
    expectTypeOf<NonNullable<Library.BaseOptions["log"]>>().parameters.toEqualTypeOf<[Library.LogRecord]>();
  });

  it("PG-132: startGateway, and the flows that it is given", () => {
    const start = (options: Library.GatewayOptions) => library.startGateway(options);
    expectTypeOf(start).returns.resolves.toEqualTypeOf<Library.Gateway>();
    expectTypeOf<Library.Gateway>().toExtend<Library.Instance>();
    expectTypeOf<Library.GatewayOptions["flowLogs"]>().toEqualTypeOf<boolean | undefined>();
    type Flow = Parameters<NonNullable<Library.GatewayOptions["onFlow"]>>[0];
    expectTypeOf<Flow>().toEqualTypeOf<Library.InboundFlow>();
    expectTypeOf<Extract<Flow, { protocol: "tcp" }>>().toEqualTypeOf<Library.InboundTcpFlow>();
    expectTypeOf<Extract<Flow, { protocol: "udp" }>>().toEqualTypeOf<Library.InboundUdpFlow>();
    expectTypeOf<Extract<Flow, { protocol: "icmp" }>>().toEqualTypeOf<Library.InboundEcho>();
    expectTypeOf<Library.InboundTcpFlow["accept"]>().returns.resolves.toEqualTypeOf<Library.TcpSocket>();
    expectTypeOf<Library.InboundUdpFlow["accept"]>().returns.toEqualTypeOf<Library.DatagramFlow>();
    expectTypeOf<Flow["forward"]>().parameter(0).toEqualTypeOf<Library.HostTarget | undefined>();
    expectTypeOf<Flow["refuse"]>().parameter(0).toEqualTypeOf<Library.FlowRefusal | undefined>();
  });

  it("PG-132: both with a device, whose options and status are others", () => {
    const connect = (options: Library.TunClientOptions) => library.connectClient(options);
    expectTypeOf(connect).returns.resolves.toEqualTypeOf<Library.TunClient>();
    const start = (options: Library.TunGatewayOptions) => library.startGateway(options);
    expectTypeOf(start).returns.resolves.toEqualTypeOf<Library.TunGateway>();
    expectTypeOf<Library.TunClientOptions>().toExtend<Library.TunOptions>();
    expectTypeOf<Library.TunOptions>().toExtend<Library.CommonOptions>();
    expectTypeOf<Library.BaseOptions>().toExtend<Library.CommonOptions>();
    expectTypeOf<Library.TunOptions["mode"]>().toEqualTypeOf<"tun">();
    expectTypeOf<Library.ClientOptions["mode"]>().toEqualTypeOf<"userspace" | undefined>();
    expectTypeOf<Extract<keyof Library.TunClientOptions, "sockets" | "addresses">>().toEqualTypeOf<never>();
    expectTypeOf<Extract<keyof Library.TunGatewayOptions, "onFlow" | "resolver">>().toEqualTypeOf<never>();
    expectTypeOf<Extract<keyof Library.ClientOptions, "tunName" | "dnsControl">>().toEqualTypeOf<never>();
    expectTypeOf<ReturnType<Library.TunClient["status"]>>().toEqualTypeOf<Library.TunStatus>();
    expectTypeOf<ReturnType<Library.TunGateway["status"]>>().toEqualTypeOf<Library.TunStatus>();
    expectTypeOf<Library.TunStatus["mode"]>().toEqualTypeOf<"tun">();
    expectTypeOf<Library.TunStatus["tun"]["name"]>().toEqualTypeOf<string>();
    expectTypeOf<Library.TunClient["dial"]>().toEqualTypeOf<Library.Client["dial"]>();
  });

  it("PG-132: startPortal", () => {
    expectTypeOf(library.startPortal).parameters.toEqualTypeOf<[Library.PortalOptions]>();
    expectTypeOf(library.startPortal).returns.resolves.toEqualTypeOf<Library.Portal>();
    expectTypeOf<Library.Portal>().toExtend<AsyncDisposable>();
  });

  it("PG-132: startRelay", () => {
    expectTypeOf(library.startRelay).parameters.toEqualTypeOf<[Library.RelayOptions]>();
    expectTypeOf(library.startRelay).returns.resolves.toEqualTypeOf<Library.Relay>();
    expectTypeOf<Library.Relay>().toExtend<AsyncDisposable>();
    expectTypeOf<Library.Relay["closed"]>().resolves.toEqualTypeOf<Library.CloseReason>();
    expectTypeOf<Library.Relay["status"]>().returns.toEqualTypeOf<Library.RelayStatus>();
    expectTypeOf<Library.Relay["id"]>().toEqualTypeOf<string>();
  });

  it("PG-132: an instance", () => {
    expectTypeOf<Library.Instance["state"]>().toEqualTypeOf<Library.InstanceState>();
    expectTypeOf<Library.Instance["closed"]>().resolves.toEqualTypeOf<Library.CloseReason>();
    expectTypeOf<Library.Instance["status"]>().returns.toEqualTypeOf<Library.Status>();
    expectTypeOf<ReturnType<Library.Instance["events"]>>().toEqualTypeOf<AsyncIterable<Library.AnyEvent>>();
    expectTypeOf<Library.Events["portal"]>().toEqualTypeOf<{
      readonly state: string;
      readonly error?: string;
    }>();
    expectTypeOf<Library.Status["sockets"]["grade"]>().toExtend<string>();
  });

  it("PG-132: a client", () => {
    expectTypeOf<Library.Client>().toExtend<Library.Instance>();
    expectTypeOf<Library.Client["dial"]>().parameters.toEqualTypeOf<[Library.DialOptions]>();
    expectTypeOf<Library.Client["dial"]>().returns.resolves.toEqualTypeOf<Library.TcpSocket>();
    expectTypeOf<Library.Client["udp"]>().returns.resolves.toEqualTypeOf<Library.UdpSocket>();
    expectTypeOf<Library.Client["lookup"]>().returns.resolves.toEqualTypeOf<string[]>();
    expectTypeOf<Library.Client["ping"]>().returns.resolves.toEqualTypeOf<number>();
    expectTypeOf<Library.Client["fetch"]>().toEqualTypeOf<Library.ClientFetch>();
    expectTypeOf<Library.ClientFetch>().parameter(1).toEqualTypeOf<Library.FetchOptions | undefined>();
    expectTypeOf<Library.ClientFetch>().returns.resolves.toEqualTypeOf<Response>();
    expectTypeOf<Library.FetchOptions>().toExtend<RequestInit>();
    expectTypeOf<Library.Client["resources"]>().returns.toEqualTypeOf<readonly Library.Resource[]>();
    expectTypeOf<Library.Client["connections"]>().returns.toEqualTypeOf<readonly Library.Connection[]>();
  });

  it("PG-132: sockets are web streams", () => {
    expectTypeOf<Library.TcpSocket["readable"]>().toExtend<ReadableStream<Uint8Array>>();
    expectTypeOf<Library.TcpSocket["writable"]>().toEqualTypeOf<WritableStream<Uint8Array>>();
    expectTypeOf<Library.TcpSocket["local"]>().toEqualTypeOf<Library.Addr>();
    expectTypeOf<Library.UdpSocket["receive"]>()
      .returns.resolves.toHaveProperty("from")
      .toEqualTypeOf<Library.Addr>();
    expectTypeOf<Library.TcpSocket>().toExtend<AsyncDisposable>();
    expectTypeOf<Library.UdpSocket>().toExtend<AsyncDisposable>();
  });

  it("PG-132: errors are told apart by code", () => {
    const error: unknown = new Error("somebody's");
    if (error instanceof library.PosternError) expectTypeOf(error.code).toEqualTypeOf<Library.ErrorCode>();
    expectTypeOf<"offline">().toExtend<Library.ErrorCode>();
  });

  it("PG-132: what Node's programs get", () => {
    expectTypeOf(node.createConnection).parameter(1).toEqualTypeOf<Node.Target | undefined>();
    expectTypeOf(node.createConnection).returns.toEqualTypeOf<Node.TunnelSocket>();
    expectTypeOf<Node.TunnelSocket>().toExtend<Duplex>();
    expectTypeOf(node.toDuplex).parameters.toEqualTypeOf<[Library.TcpSocket]>();
    expectTypeOf(node.createConnector).returns.parameters.toEqualTypeOf<
      [Node.ConnectorOptions, Node.ConnectorCallback]
    >();
    expectTypeOf<Node.HttpAgent>().toExtend<import("node:http").Agent>();
    expectTypeOf<Node.HttpsAgent>().toExtend<import("node:https").Agent>();
    expectTypeOf(node.createLookup).returns.parameter(0).toEqualTypeOf<string>();
  });

  it("PG-132: what Deno's programs get", () => {
    expectTypeOf(deno.connect).parameter(1).toEqualTypeOf<Deno.ConnectOptions>();
    expectTypeOf(deno.connect).returns.resolves.toEqualTypeOf<Deno.Conn>();
    expectTypeOf(deno.listenDatagram).returns.resolves.toEqualTypeOf<Deno.DatagramConn>();
    expectTypeOf<Deno.Conn["remoteAddr"]>().toEqualTypeOf<Deno.NetAddr>();
  });

  it.each(["src/index.ts", "src/library/node/index.ts", "src/library/deno/index.ts"])(
    "PG-132: %s exports nothing without a test",
    (path) => {
      const here = readFileSync(import.meta.filename, "utf8");
      const text = readFileSync(path, "utf8");
      const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, names = ""]) =>
        names.split(","),
      );
      const functions = [...text.matchAll(/^export (?:async )?function (\w+)/gm)].map(
        ([, name = ""]) => name,
      );
      const types = [...text.matchAll(/^export interface (\w+)/gm)].map(([, name = ""]) => name);
      const names = [...lists, ...functions, ...types]
        .map((name) => name.replace(/^\s*type\s/, "").trim())
        .filter(Boolean);
      expect(names.length).toBeGreaterThan(4);
      expect(
        names.filter(
          (name) => !new RegExp(`\\b(?:library|Library|node|Node|deno|Deno)\\.${name}\\b`).test(here),
        ),
      ).toEqual([]);
    },
  );
});
