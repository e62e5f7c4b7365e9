/** What an hour without traffic costs behind NATs that forget after 30 s, in datagrams, wake-ups and processor time. */
import { expect, it } from "vitest";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { connectionsOf, whyOf } from "../lib/ask.ts";
import { type Capture, startCapture } from "../lib/capture.ts";
import { countKinds, idleBudget, idleKind } from "../lib/idle-kinds.ts";
import {
  echo,
  eventually,
  IDLE_PERCENT_MAX,
  IDLE_WAKE_UPS_MAX,
  processorMs,
  RESIDENT_MIB_MAX,
  residentMib,
  tunnelAddresses,
  untilIdle,
  wakeUps,
} from "../lib/observe.ts";
import { createOffice, OFFICE_V4, type Office } from "../lib/office.ts";
import { type CapturedPacket, packetsOf } from "../lib/pcap.ts";
import { describeWith } from "../lib/requirements.ts";

const MINUTES = Number(process.env["POSTERN_IDLE_MINUTES"] ?? 60);
const RELAYS = 2;
const FORGETS = { unanswered: 30, answered: 30 } as const;
/** By then all is given up that nobody answers. */
const SETTLED_MS = 120_000;
/** Over the budget (TS-58): what was under way when the hour began. */
const TOLERANCE = 1.1;
const UDP = 17;
const TCP = 6;
const DOMAIN = 53;
/**
 * To the portal: each 10 s a heartbeat and the acknowledgment of its answer (PT §2), and of the portal's own ping an
 * answer and the acknowledgment that was due before it, each 10 s from a gateway and 30 s from a client (PT-75).
 */
const PORTAL_PACKETS_PER_S = { client: 0.27, gateway: 0.4 };
/** DN-87: a question by UDP, and a connection, to the one name server that a gateway has. */
const NAME_SERVER_EVERY_S = 60;
const CONNECTION_PACKETS = 6;

interface End {
  readonly name: "client" | "gateway";
  readonly where: Namespace;
  readonly own: string;
  readonly program: Child;
  readonly capture: Capture;
}

const familyOnly = { client: "ipv4", gateway: "ipv4" } as const;

async function startOffice(kind: "port-restricted" | "symmetric"): Promise<Office> {
  const nat = { kind, expiry: FORGETS };
  return await createOffice({ nats: { client: nat, gateway: nat, families: familyOnly }, relays: RELAYS });
}

async function startEnds(office: Office): Promise<readonly End[]> {
  office.configure([{ resource: "Office" }]);
  await office.startPortal();
  for (let i = 0; i < RELAYS; i++) await office.startRelay(i);
  const [gateway, client] = await Promise.all([office.startGateway(), office.startClient()]);
  const endOf = async (name: "client" | "gateway", program: Child): Promise<End> => {
    const where = office[name];
    const own = (await tunnelAddresses(where, "wan"))[0] ?? "";
    return { name, where, own, program, capture: await startCapture(where) };
  };
  return [await endOf("client", client), await endOf("gateway", gateway)];
}

/** What an end has used and sent so far. */
function lookAt({ program, capture }: End) {
  return { ms: processorMs(program), wakeUps: wakeUps(program), packets: packetsOf(capture.bytes()) };
}

const isToNameServer = ({ port }: CapturedPacket): boolean => port === DOMAIN;

/** Holds what an end has sent since then against the rules, and says what it was. */
async function expectWithin(office: Office, end: End, since: ReturnType<typeof lookAt>): Promise<void> {
  const now = lookAt(end);
  const [why] = await whyOf(office, end.where);
  const pairs = (why?.pairs ?? []).filter(({ state }) => state !== "given-up");
  const relayPairs = pairs.filter(({ local }) => local.startsWith("relay")).length;
  const allowed = { isClient: end.name === "client", pairs: pairs.length, relayPairs, relays: RELAYS };
  const sent = now.packets.slice(since.packets.length).filter(({ source }) => source === end.own);
  const [named, others] = [sent.filter(isToNameServer), sent.filter((packet) => !isToNameServer(packet))];
  const datagrams = others.filter(({ protocol }) => protocol === UDP);
  const kinds = countKinds(datagrams.map(({ port, payload }) => idleKind(port, payload)));
  const hours = MINUTES / 60;
  const percent = (now.ms - since.ms) / (MINUTES * 600);
  const rate = (now.wakeUps - since.wakeUps) / (MINUTES * 60);
  const toPortal = others.filter(({ protocol }) => protocol === TCP).length;
  const told = `${end.name}, ${MINUTES} min: ${JSON.stringify(Object.fromEntries(kinds))}, ${toPortal} to the portal, ${named.length} to a name server, ${pairs.length} pairs; ${percent.toFixed(3)} % of a core, ${rate.toFixed(2)} wake-ups a second, ${residentMib(end.program).toFixed(0)} MiB`;
  console.log(told);
  expect(kinds.size, told).toBeGreaterThan(2);
  for (const [kind, count] of kinds) {
    expect(count, `${kind}: ${told}`).toBeLessThanOrEqual(TOLERANCE * idleBudget(allowed, kind, hours));
  }
  expect(toPortal, told).toBeLessThanOrEqual(TOLERANCE * PORTAL_PACKETS_PER_S[end.name] * MINUTES * 60);
  const rounds = end.name === "client" ? 0 : Math.ceil((MINUTES * 60) / NAME_SERVER_EVERY_S) + 1;
  expect(named.length, told).toBeLessThanOrEqual((1 + CONNECTION_PACKETS) * rounds);
  expect(percent, told).toBeLessThan(IDLE_PERCENT_MAX / 2);
  expect(rate, told).toBeLessThan(IDLE_WAKE_UPS_MAX);
  expect(residentMib(end.program), told).toBeLessThan(RESIDENT_MIB_MAX);
}

async function idle(kind: "port-restricted" | "symmetric", path: "direct" | "relayed"): Promise<void> {
  const office = await startOffice(kind);
  try {
    const ends = await startEnds(office);
    await eventually(async () => expect(await echo(office.client, OFFICE_V4)).toBe("answered"), 20_000);
    for (const { program } of ends) await untilIdle(program);
    await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
    const [before] = await connectionsOf(office, office.client);
    expect(before?.path).toBe(path);
    const since = ends.map(lookAt);
    await new Promise((resolve) => setTimeout(resolve, MINUTES * 60_000));
    for (const [i, end] of ends.entries()) {
      const seen = since[i];
      if (seen !== undefined) await expectWithin(office, end, seen);
    }
    expect(await echo(office.client, OFFICE_V4, "-W", "2"), "SN-79").toBe("answered");
    const [after] = await connectionsOf(office, office.client);
    expect([after?.path, after?.since]).toEqual([path, before?.since]);
  } finally {
    await office.close();
  }
}

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "an idle hour with the programs", () => {
  it("TS-30.48, TS-58, G-13: direct and relayed it sends what the rules allow, rarely wakes up, and stands", {
    timeout: (MINUTES + 5) * 60_000,
  }, async () => {
    await Promise.all([idle("port-restricted", "direct"), idle("symmetric", "relayed")]);
  });
});
