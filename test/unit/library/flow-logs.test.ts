/** Flow logs of a gateway in a program (PG-104, PG-129). */
import { afterEach, expect, it } from "vitest";
import type { InboundFlow, LogRecord } from "../../../src/index.ts";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../../lib/embedded.ts";
import { eventually } from "../../lib/observe.ts";

const HELLO = new TextEncoder().encode("hello");
const SHORT_FLOWS = 50;
/** FIN waits for 5 s, then for the next sweep (TN-68); a busy machine needs some more. */
const SOON_MS = 15_000;

let office: EmbeddedOffice;
afterEach(() => office.close());

/** Sends back what has come, in both protocols. */
async function echo(flow: InboundFlow): Promise<void> {
  if (flow.protocol === "icmp") return;
  if (flow.protocol === "tcp") {
    const { readable, writable } = await flow.accept();
    return await readable.pipeTo(writable);
  }
  const datagrams = flow.accept();
  for (let one = await datagrams.receive(); one; one = await datagrams.receive()) datagrams.send(one);
}

async function open(flowLogs: boolean): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  office = await openEmbeddedOffice({
    flowLogs,
    onFlow: (flow) => echo(flow).catch(() => {}),
    resolver: async (_, family) => (family === 4 ? [SERVER] : []),
    log: (record) => records.push(record),
  });
  return records;
}

/** The connection stays: what becomes of it is the gateway's affair. */
async function exchange(host: string): Promise<void> {
  const socket = await office.client.dial({ host, port: 80 });
  await socket.writable.getWriter().write(HELLO);
  await socket.readable.getReader().read();
}

async function exchangeAndClose(host: string): Promise<void> {
  const socket = await office.client.dial({ host, port: 80 });
  const writer = socket.writable.getWriter();
  await writer.write(HELLO);
  await writer.close();
  for await (const _ of socket.readable);
  await socket.closed;
}

it("PG-104, PG-129: each flow that onFlow has served is a record, by address and by name", async () => {
  const records = await open(true);
  const ended = (): LogRecord[] => records.filter(({ target }) => target === "flow_logs.tcp");
  await exchange(SERVER);
  await exchange(WIKI);
  // Flows that still run are told of at the gateway's stop (TN-91).
  await office.gateway.close();
  expect(ended()).toHaveLength(2);
  const of = (name: string) => ended().find(({ fields }) => fields["resource_name"] === name)?.fields;
  expect(of("Office")).toMatchObject({ inner_dst_ip: SERVER, inner_dst_port: 80 });
  expect(of("Wiki")).toMatchObject({ inner_domain: WIKI, inner_dst_ip: SERVER });
  for (const { fields } of ended()) {
    for (const name of ["tx_packets", "rx_packets", "tx_bytes", "rx_bytes"])
      expect(Number(fields[name])).toBeGreaterThan(0);
  }
});

it("TN-91: of connections that are over in milliseconds each is a record, soon and once", {
  timeout: 40_000,
}, async () => {
  const records = await open(true);
  const ended = (): LogRecord[] => records.filter(({ target }) => target === "flow_logs.tcp");
  // The first two ask for access, one after the other.
  for (const host of [SERVER, WIKI]) await exchangeAndClose(host);
  const more = Array.from({ length: SHORT_FLOWS - 2 }, (_, i) =>
    exchangeAndClose(i % 2 === 0 ? SERVER : WIKI),
  );
  await Promise.all(more);
  await eventually(async () => expect(ended()).toHaveLength(SHORT_FLOWS), SOON_MS);
  await office.gateway.close();
  expect(ended()).toHaveLength(SHORT_FLOWS);
  for (const { fields } of ended()) {
    expect(fields).toMatchObject({ tx_bytes: HELLO.length, rx_bytes: HELLO.length });
    expect(fields["tx_packets"]).toBeGreaterThanOrEqual(4);
    expect(fields["rx_packets"]).toBeGreaterThanOrEqual(3);
  }
});

it("PG-104: without the option there is none", async () => {
  const records = await open(false);
  await exchange(SERVER);
  expect(records.filter(({ target }) => target.startsWith("flow_logs"))).toEqual([]);
});
