/** Datagrams longer than a packet of the tunnel, through both planes and both stacks (PG-129, TN-112). */
import { afterEach, expect, it } from "vitest";
import type { InboundFlow } from "../../../src/index.ts";
import { type EmbeddedOffice, openEmbeddedOffice, SERVER, WIKI } from "../../lib/embedded.ts";

let office: EmbeddedOffice;
afterEach(() => office.close());

async function echo(flow: InboundFlow): Promise<void> {
  if (flow.protocol !== "udp") return flow.refuse("refused");
  const datagrams = flow.accept();
  for (let one = await datagrams.receive(); one !== undefined; one = await datagrams.receive())
    datagrams.send(one);
}

it("PG-129, TN-112: go there and come back whole, the first of a flow as well, by address and by name", async () => {
  office = await openEmbeddedOffice({
    onFlow: echo,
    resolver: async (_, family) => (family === 4 ? [SERVER] : []),
  });
  for (const host of [SERVER, WIKI]) {
    const socket = await office.client.udp();
    for (const length of [3_000, 1_253, 20, 60_000]) {
      const data = Uint8Array.from({ length }, (_, i) => i * 13);
      await socket.send(data, { host, port: 4_000 });
      const { data: came } = await socket.receive();
      expect(Buffer.compare(came, data), `${host} ${length}`).toBe(0);
    }
    await socket.close();
  }
  for (const { status } of [office.client, office.gateway])
    expect(status().counters.control["stack_drop_fragment"] ?? 0).toBe(0);
});

it("PG-120: a datagram that is longer than any can be is an error", async () => {
  office = await openEmbeddedOffice({ onFlow: echo });
  const socket = await office.client.udp();
  const send = async (length: number): Promise<void> =>
    socket.send(new Uint8Array(length), { host: SERVER, port: 4_000 });
  // The first tells the socket the address.
  await send(1);
  await socket.receive();
  await expect(send(65_508)).rejects.toMatchObject({ code: "host", detail: "datagram-too-big" });
});

it("PG-120: a port as text of digits is taken, as Node takes it", async () => {
  office = await openEmbeddedOffice({
    onFlow: async (flow) => (flow.protocol === "tcp" ? void (await flow.accept()) : await echo(flow)),
  });
  const port = "4000" as unknown as number;
  const socket = await office.client.udp();
  await socket.send(Uint8Array.of(7), { host: SERVER, port });
  expect((await socket.receive()).data).toEqual(Uint8Array.of(7));
  const { remote } = await office.client.dial({ host: SERVER, port, timeoutMs: 10_000 });
  expect(remote).toMatchObject({ port: 4000 });
});

it("PG-120: a port that is none is an error of who names it", async () => {
  office = await openEmbeddedOffice({ onFlow: echo });
  const socket = await office.client.udp();
  for (const port of [0, -1, 65_536, Number.NaN]) {
    const wrong = { code: "host", detail: "usage", message: `port is ${port}` };
    expect(() => socket.send(new Uint8Array(1), { host: WIKI, port })).toThrow(
      expect.objectContaining(wrong),
    );
    await expect(office.client.dial({ host: SERVER, port })).rejects.toMatchObject(wrong);
  }
});
