import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openKernel } from "../../../bindings/linux/index.ts";
import { formatIp, SILENT } from "../../../src/base/index.ts";
import {
  addressesInHosts,
  createNameLookup,
  createNameResolver,
  namesToTry,
  parseResolvConf,
} from "../../../src/host/index.ts";
import { patient } from "../../../src/program/lab/index.ts";

const kernel = openKernel();

describe("the files of the system's resolver", () => {
  it("resolv.conf(5): three servers, the last search line, dots; what cannot be read is skipped", () => {
    const settings = parseResolvConf(`# comment
nameserver 192.0.2.1
nameserver fe80::1%eth0
nameserver 2001:db8::1
nameserver 192.0.2.3
nameserver 192.0.2.4
search old.example
search a.example b.example .
options timeout:1 ndots:2
`);
    const shown = settings.servers.map(({ address, zone }) => [formatIp(address), zone]);
    expect(shown).toEqual([
      ["192.0.2.1", undefined],
      ["fe80::1", "eth0"],
      ["2001:db8::1", undefined],
    ]);
    expect(settings).toMatchObject({ search: ["a.example", "b.example"], dotsMin: 2, timeoutMs: 1_000 });
    expect(parseResolvConf("")).toEqual({ servers: [], search: [], dotsMin: 1, isRotated: false });
  });

  it("DN-88, resolv.conf(5): timeout, attempts and rotate, within the system's bounds", () => {
    const read = (options: string) => parseResolvConf(`options ${options}\n`);
    expect(read("timeout:3 attempts:4 rotate")).toMatchObject({
      ...{ timeoutMs: 3_000, attempts: 4, isRotated: true },
    });
    expect(read("timeout:31 attempts:6")).toMatchObject({ timeoutMs: 30_000, attempts: 5 });
    expect(read("timeout:0 attempts:0")).toMatchObject({ timeoutMs: 1_000, attempts: 1 });
    expect(read("timeout:x attempts rotate:1")).toEqual(read(""));
  });

  it.each(["fe80::1%", "fe80::1%a%b", "192.0.2.1%eth0", "%eth0"])(
    "PG-151: '%s' is no name server with a zone",
    (server) => {
      expect(parseResolvConf(`nameserver ${server}\n`).servers).toEqual([]);
    },
  );

  it("resolv.conf(5): short names are tried in the search domains first, long ones as they are", () => {
    const settings = { servers: [], search: ["lan", "corp.example"], dotsMin: 1, isRotated: false };
    expect(namesToTry("portal", settings)).toEqual(["portal.lan", "portal.corp.example", "portal"]);
    expect(namesToTry("portal.example", settings)[0]).toBe("portal.example");
    expect(namesToTry("portal.", settings)).toEqual(["portal."]);
  });

  it("DN-77, hosts(5): every line with the name counts, whatever its case; remarks do not", () => {
    const text =
      "127.0.0.1 localhost\n192.0.2.7\tportal Portal.example # not this.example\n::1 PORTAL\nx y\n";
    expect(addressesInHosts(text, "portal").map(formatIp)).toEqual(["192.0.2.7", "::1"]);
    expect(addressesInHosts(text, "portal.EXAMPLE.").map(formatIp)).toEqual(["192.0.2.7"]);
    expect(addressesInHosts(text, "this.example")).toEqual([]);
  });
});

/** What a name server does with a question: answer with an address, truncate, fail, or stay silent. */
type Manner = "answers" | "truncates" | "servfail" | "nxdomain" | "silent";

function answerTo(query: Buffer, manner: Manner): Buffer | undefined {
  const answer = Buffer.from(query);
  const isV4 = query.at(-3) === 1;
  const flags = { answers: 0x8180, truncates: 0x8380, servfail: 0x8182, nxdomain: 0x8183, silent: 0 }[manner];
  if (manner === "silent") return undefined;
  answer.writeUInt16BE(flags, 2);
  if (manner !== "answers" || !isV4) return answer;
  answer.writeUInt16BE(1, 6);
  return Buffer.concat([answer, Buffer.from("c00c00010001000000010004c0000209", "hex")]);
}

describe("names asked for past the tunnel", () => {
  let folder: string;
  let udp: Socket;
  let tcp: Server;
  let asked: string[];
  let manner: (name: string) => Manner;
  let tcpManner: Manner;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "resolver-"));
    asked = [];
    manner = () => "answers";
    tcpManner = "answers";
    tcp = createServer((peer) =>
      peer.once("data", (query) => {
        asked.push("tcp");
        const answer = answerTo(query.subarray(2), tcpManner);
        if (answer === undefined) return;
        // In two parts, as a network may deliver it.
        peer.write(Buffer.from([0]));
        setImmediate(() => peer.write(Buffer.concat([Buffer.from([answer.length]), answer])));
      }),
    );
    await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
    udp = createSocket("udp4");
    udp.on("message", (query, from) => {
      const name = query
        .subarray(13, query.indexOf(0, 12))
        .toString("latin1")
        .replace(/[^-a-z]/g, ".");
      if (query.at(-3) === 1) asked.push(name);
      const answer = answerTo(query, manner(name));
      if (answer !== undefined) udp.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => udp.bind(port(), "127.0.0.1", resolve));
  });
  afterEach(() => {
    udp.close();
    tcp.close();
    rmSync(folder, { recursive: true });
  });

  const port = (): number => (tcp.address() as AddressInfo).port;

  function optionsFor(resolvConf: string) {
    const files = {
      resolvConf: join(folder, "resolv.conf"),
      backup: join(folder, "resolv.conf.before"),
      resolvedConf: join(folder, "resolved.conf"),
      hosts: join(folder, "hosts"),
    };
    writeFileSync(files.resolvConf, resolvConf);
    writeFileSync(files.hosts, "192.0.2.44 known.example\n");
    return { kernel, mark: undefined, log: SILENT, files, port: port() };
  }

  const resolve = async (name: string, resolvConf: string): Promise<readonly string[]> =>
    (await createNameResolver(optionsFor(resolvConf))(name)).map(formatIp);

  it("PG-151: a literal address and a name of the hosts file are asked of nobody", async () => {
    expect(await resolve("2001:db8::9", "nameserver 127.0.0.1")).toEqual(["2001:db8::9"]);
    expect(await resolve("known.example", "nameserver 127.0.0.1")).toEqual(["192.0.2.44"]);
    expect(asked).toEqual([]);
  });

  it("PG-151: a name server of resolv.conf is asked, in the search domains too", async () => {
    manner = (name) => (name === "portal.example" ? "answers" : "nxdomain");
    expect(await resolve("portal", "nameserver 127.0.0.1\nsearch lan example")).toEqual(["192.0.2.9"]);
    expect(asked).toEqual(["portal.lan", "portal.example"]);
  });

  it("PG-151: a server with a zone is asked by that interface, the next one where there is none", async () => {
    manner = () => "answers";
    const udp6 = createSocket("udp6");
    const zones: string[] = [];
    udp6.on("message", (query, from) => {
      zones.push(from.address);
      const answer = answerTo(query, "answers");
      if (answer !== undefined) udp6.send(answer, from.port, from.address);
    });
    await new Promise<void>((resolve) => udp6.bind(port(), "::1", resolve));
    try {
      expect(await resolve("portal.example", "nameserver ::1%lo")).toEqual(["192.0.2.9"]);
      expect(await resolve("portal.example", "nameserver ::1%1")).toEqual(["192.0.2.9"]);
      expect(zones.length).toBeGreaterThan(0);
      expect(asked).toEqual([]);
      const gone = "nameserver fe80::1%no-such-dev\nnameserver 127.0.0.1";
      expect(await resolve("portal.example", gone)).toEqual(["192.0.2.9"]);
      expect(asked).toEqual(["portal.example"]);
    } finally {
      udp6.close();
    }
  });

  it("PG-151: a truncated answer is asked for again by TCP", async () => {
    manner = () => "truncates";
    expect(await resolve("portal.example", "nameserver 127.0.0.1")).toEqual(["192.0.2.9"]);
    expect(asked).toContain("tcp");
  });

  it("PG-151: a server that refuses or is not there is followed by the next, and at last the reason is said", async () => {
    expect(await resolve("portal.example", "nameserver 127.0.0.2\nnameserver 127.0.0.1")).toEqual([
      "192.0.2.9",
    ]);
    manner = () => "servfail";
    tcpManner = "servfail";
    await expect(resolve("portal.example", "nameserver 127.0.0.1")).rejects.toMatchObject({
      message: "cannot resolve portal.example: 127.0.0.1: refused with code 2",
    });
  });

  it("DN-88: a silent server is asked as often and waited for as long as the file says", async () => {
    manner = () => "silent";
    const before = performance.now();
    const once = "nameserver 127.0.0.1\noptions timeout:1 attempts:1";
    expect(await createNameLookup(optionsFor(once))("portal.example")).toEqual({ kind: "error" });
    expect(performance.now() - before).toBeGreaterThan(990);
    expect(asked).toEqual(["portal.example"]);
  });

  it("DN-76: all servers are asked at once: one that is dead delays nobody", async () => {
    const dead = createSocket("udp4");
    await new Promise<void>((resolve) => dead.bind(port(), "127.0.0.9", resolve));
    try {
      const before = performance.now();
      const two = "nameserver 127.0.0.9\nnameserver 127.0.0.1";
      expect(await resolve("portal.example", two)).toEqual(["192.0.2.9"]);
      manner = (name) => (name === "portal.lan" ? "nxdomain" : "answers");
      expect(await resolve("portal", `${two}\nsearch lan`)).toEqual(["192.0.2.9"]);
      expect(performance.now() - before).toBeLessThan(patient(2_000));
    } finally {
      dead.close();
    }
  });

  it("DN-76: where UDP does not pass, or no server knows, they are asked over TCP", async () => {
    const short = "nameserver 127.0.0.1\noptions timeout:1";
    manner = () => "silent";
    expect(await resolve("portal.example", short)).toEqual(["192.0.2.9"]);
    manner = () => "servfail";
    expect(await resolve("portal.example", short)).toEqual(["192.0.2.9"]);
    asked = [];
    manner = () => "nxdomain";
    await expect(resolve("no-such-name.invalid", short)).rejects.toMatchObject({ code: "connect-failed" });
    expect(asked).not.toContain("tcp");
  });

  it("DN-88: with `rotate` all servers are asked, whoever stands first", async () => {
    const rotated = "nameserver 127.0.0.2\nnameserver 127.0.0.1\noptions rotate";
    for (let i = 0; i < 10; i++) expect(await resolve("portal.example", rotated)).toEqual(["192.0.2.9"]);
    expect(asked).toHaveLength(10);
  });

  it("PG-64, DN-107: while DNS control has the files, the servers from before are asked, never a sentinel", async () => {
    const ours = "# BEGIN Postern DNS configuration\n#\n#\nnameserver 100.100.111.1\n";
    writeFileSync(join(folder, "resolv.conf.before"), "nameserver 127.0.0.1\n");
    expect(await resolve("portal.example", ours)).toEqual(["192.0.2.9"]);
    writeFileSync(join(folder, "resolved.conf"), "nameserver 100.100.111.1\nnameserver 127.0.0.1\n");
    expect(await resolve("portal.example", "nameserver 127.0.0.53")).toEqual(["192.0.2.9"]);
  });

  it("PG-151: behind systemd-resolved's stub the servers that it asks are asked", async () => {
    writeFileSync(join(folder, "resolved.conf"), "nameserver 127.0.0.1");
    expect(await resolve("portal.example", "nameserver 127.0.0.53")).toEqual(["192.0.2.9"]);
  });

  it("PG-151: what DNS does not know is left to the system's other sources", async () => {
    manner = () => "nxdomain";
    expect(await resolve("localhost", "nameserver 127.0.0.1")).toContain("127.0.0.1");
    expect(asked).toEqual(["localhost"]);
  });
});
