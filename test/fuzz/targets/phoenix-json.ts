/**
 * The portal's protocol, both ways (PT §3, §4): lines of the input are frames, to a client's connection, to the readers of
 * all channels, and to the portal from sockets of a client, a gateway and a relay.
 */
import {
  clientChannel,
  gatewayChannel,
  parseFrame,
  relayChannel,
  toFrameText,
} from "../../../src/portal/protocol/index.ts";
import { createDriver, LOGIN } from "../../unit/portal/connection-driver.ts";
import { createFlow, createWorld, ridOf } from "../../unit/portal/server-world.ts";
import { bytesOf, claim, type FuzzTarget, textOf } from "../target.ts";

const LINES_MAX = 24;
const CANDIDATE = "candidate:x 1 udp 2130706175 198.51.100.2 40000 typ host";
const STATES = ["closed", "waiting", "resolving", "connecting", "joining", "joined", "closing"];

export function createTarget(): FuzzTarget {
  const { events, lines } = spoken();
  return {
    // The first byte says to whom; an empty line lets time pass.
    seeds: [0, 1, 2].flatMap((to) =>
      Array.from({ length: Math.ceil(lines.length / 6) }, (_, i) =>
        bytesOf(`${to}${lines.slice(6 * i, 6 * i + 6).join("\n")}\n\n`),
      ),
    ),
    words: [
      ...events.map((event) => JSON.stringify(event)),
      ...[
        '"topic":',
        '"event":',
        '"payload":',
        '"ref":',
        '"client"',
        '"gateway"',
        '"relay"',
        '"phoenix"',
        "\n",
      ],
      ...[
        "null",
        "[]",
        "{}",
        "-1",
        "1e999",
        '"__proto__":',
        "[[[[[[",
        '"phx_reply"',
        '"status":"ok"',
        "\n\n",
      ],
    ],
    bytesMax: 4000,
    run(input) {
      const text = textOf(input.subarray(1));
      const frames = text.split("\n").slice(0, LINES_MAX);
      for (const line of frames) read(line);
      if ((input[0] ?? 0) % 3 === 0) toClient(frames);
      else toPortal(frames, (input[0] ?? 0) % 3 === 1 ? "client" : "gateway");
    },
  };
}

/** Everything that is said until a client has reached its gateway, as frames, and the names of all events. */
function spoken() {
  const world = createWorld();
  const gateway = world.gateway();
  const client = world.client();
  const flow = createFlow(ridOf(client));
  client.send(flow);
  gateway.answer();
  const { gid } = client.last("flow-created");
  const { client: subject, ref } = gateway.last("authorize-flow");
  const requests = [
    clientChannel.toRequestEvent(flow),
    clientChannel.toRequestEvent({ kind: "broadcast-ice-candidates", gids: [gid], candidates: [CANDIDATE] }),
    gatewayChannel.toRequestEvent({ kind: "flow-authorized", ref }),
    gatewayChannel.toRequestEvent({
      ...{ kind: "broadcast-ice-candidates", cids: [subject.cid], candidates: [CANDIDATE] },
    }),
    { event: "phx_join", payload: {} },
    { event: "heartbeat", payload: {} },
  ];
  const frames = [
    ...client.frames.map((frame) => ({ topic: "client", ...frame })),
    ...gateway.frames.map((frame) => ({ topic: "gateway", ...frame })),
    ...requests.map((frame, i) => ({ topic: i < 2 ? "client" : "gateway", ...frame, ref: i })),
  ];
  const lines = frames.map(({ topic, event, payload }, i) => toFrameText({ topic, event, payload, ref: i }));
  return { lines, events: [...new Set(frames.map(({ event }) => event))] };
}

function read(line: string): void {
  const frame = parseFrame(line);
  if (!frame.ok) return;
  const { event, payload } = frame.value;
  for (const channel of [clientChannel, gatewayChannel, relayChannel] as const) {
    channel.parseMessage(event, payload);
    channel.parseRequest(event, payload);
  }
  const again = parseFrame(toFrameText(frame.value));
  claim(again.ok && again.value.event === event, "written again it is the same");
}

function toClient(frames: readonly string[]): void {
  const driver = createDriver({ seed: 1 });
  driver.run((now) => driver.machine.connect(now, LOGIN));
  driver.run((now) => driver.machine.handleAddresses(now, []));
  driver.open();
  for (const [i, line] of frames.entries()) {
    if (i === 2) driver.reply("phx_join");
    if (line === "") driver.pass(5_000);
    else driver.run((now) => driver.machine.handleText(now, driver.attempt, line));
  }
  claim(STATES.includes(driver.machine.state), "a state that there is");
}

function toPortal(frames: readonly string[], role: "client" | "gateway"): void {
  const world = createWorld();
  const gateway = world.gateway();
  const client = world.client();
  const hostile = role === "client" ? client : gateway;
  for (const line of frames) {
    if (hostile.closeCode !== undefined) break;
    if (line === "") world.pass(2_000);
    else hostile.raw(line);
  }
  const { clients, gateways, liveAuthorizations } = world.server.status(world.now);
  claim(clients.length <= 1 && gateways.length <= 1 && liveAuthorizations <= 4, "its state stays bounded");
}
