/** The way to portal and relays, over loopback: a real portal, and relays that answer as they are told. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { ip, type SocketAddress } from "../../../../src/base/index.ts";
import { parsePortalUrl } from "../../../../src/portal/protocol/index.ts";
import { examinePortal, examineRelays } from "../../../../src/program/doctor/examine-way.ts";
import {
  encodeFrame,
  METHOD_BINDING,
  parseFrame,
  toXorAddress,
  XOR_MAPPED_ADDRESS,
} from "../../../../src/stun/index.ts";
import { createIo, startPortal } from "../portal-peer.ts";

const VECTORS = join(import.meta.dirname, "../../../vectors/portal");
const TLS = { tlsCert: join(VECTORS, "localhost.crt"), tlsKey: join(VECTORS, "localhost.key") };

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function portal(url: string, caFile?: string) {
  const parsed = parsePortalUrl(url);
  if (!parsed.ok) throw new Error(parsed.reason);
  return await examinePortal(parsed.value, {
    kernel: undefined,
    isPrivileged: false,
    caFile,
    io: createIo(),
  });
}

it("PG-141: a portal without TLS is found, connected and healthy, and tells its time", async () => {
  const { url, stop } = await startPortal();
  ends.push(stop);
  const facts = await portal(url);
  expect(facts).toMatchObject({ isTls: false, addresses: { ok: true, value: ["127.0.0.1"] } });
  expect(facts.tcp).toMatchObject({ ok: true, value: { address: url.replace("ws://", "") } });
  expect(facts.tls).toBeUndefined();
  const { answer } = facts;
  expect(answer).toMatchObject({ ok: true, value: { status: 200 } });
  expect(Math.abs((answer?.ok ? (answer.value.dateMs ?? 0) : 0) - Date.now())).toBeLessThan(60_000);
});

it("PG-141: a certificate is examined as the programs do it", async () => {
  const { url, stop } = await startPortal(TLS);
  ends.push(stop);
  expect((await portal(url)).tls).toEqual({ ok: false, reason: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  const trusted = await portal(url, TLS.tlsCert);
  expect(trusted.tls).toMatchObject({ ok: true, value: { validTo: expect.stringContaining("2120") } });
  expect(trusted.answer).toMatchObject({ ok: true, value: { status: 200 } });
});

it("PG-141: nobody there, and somebody who is no portal", async () => {
  expect((await portal("ws://127.0.0.1:1")).tcp).toEqual({ ok: false, reason: "ECONNREFUSED" });
  const other = createServer((socket) => socket.end("hello\n"));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  ends.push(() => other.close());
  const address = other.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  expect((await portal(`ws://127.0.0.1:${port}`)).answer?.ok).toBe(false);
});

/** A relay at loopback that claims to see its visitors at `mapped`; absent: it is silent at first. */
async function relay(mapped: SocketAddress | "forgetful"): Promise<SocketAddress> {
  const socket = createSocket("udp4");
  let asked = 0;
  socket.on("message", (datagram, from) => {
    asked++;
    if (mapped === "forgetful" && asked === 1) return;
    const frame = parseFrame(datagram);
    if (!frame.ok) return;
    const { transactionId } = frame.value;
    const seen = mapped === "forgetful" ? { address: ip(from.address), port: from.port } : mapped;
    const answer = new Uint8Array(128);
    const attributes = [{ type: XOR_MAPPED_ADDRESS, value: toXorAddress(seen, transactionId) }];
    const content = { method: METHOD_BINDING, class: "success", transactionId, attributes } as const;
    // What does not belong to the question is passed over.
    socket.send("noise", from.port, from.address);
    socket.send(answer.subarray(0, encodeFrame(answer, content, {})), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  ends.push(() => socket.close());
  return { address: ip("127.0.0.1"), port: socket.address().port };
}

it("PG-141: relays tell where they see us; a lost datagram is sent again", async () => {
  const seen = { address: ip("198.51.100.4"), port: 4444 };
  const facts = await examineRelays([await relay(seen), await relay("forgetful")]);
  expect(facts[0]?.binding).toMatchObject({ ok: true, value: { mapped: "198.51.100.4:4444" } });
  expect(facts[1]?.binding).toMatchObject({ ok: true, value: { mapped: expect.stringMatching(/^127/) } });
});

it("PG-141: a relay that is silent is given up", async () => {
  const silent = createSocket("udp4");
  await new Promise<void>((resolve) => silent.bind(0, "127.0.0.1", resolve));
  ends.push(() => silent.close());
  const [fact] = await examineRelays([{ address: ip("127.0.0.1"), port: silent.address().port }]);
  expect(fact?.binding).toEqual({ ok: false, reason: "no answer within 3 s" });
});
