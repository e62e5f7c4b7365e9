/**
 * Two ICE agents in one process that find each other: Postern's and werift's, or two of werift's. Each signals its
 * candidates straight to the other; both then send a word by the pair that was selected.
 *
 *   node werift-agents.mjs '{"kinds": ["ours", "theirs"], "addresses": [A, B], "turn"?: [RELAY | null, RELAY | null], "ca"?: FILE}'
 *
 * The first controls. Of theirs, one with a relay (`{server, username, password, transport}`) uses nothing else. Prints
 * one JSON line per agent: the kinds of the selected pair and what was received. Ends with 1 if they do not connect.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Candidate, Connection } from "werift-ice";
import { createSeededRandom, formatIp, ip } from "../../build/src/base/index.js";
import { ICE, parseCandidate } from "../../build/src/ice/index.js";
import { parseBinding } from "../../build/src/stun/index.js";

const WITHIN_MS = 15_000;
const CREDENTIALS = [
  { username: "left", password: "l".repeat(22) },
  { username: "rite", password: "r".repeat(22) },
];
const [, , plan = "{}"] = process.argv;
const { kinds, addresses, turn = [], ca } = JSON.parse(plan);

const ends = await Promise.all([0, 1].map(openEnd));
for (const [i, end] of ends.entries()) {
  const other = ends[1 - i];
  end.onCandidate((text) => other.addRemote(text));
}
setTimeout(() => {
  process.stderr.write("the agents do not connect\n");
  process.exit(1);
}, WITHIN_MS);
await Promise.all(ends.map((end) => end.connect()));
const words = await exchange();
for (const [i, end] of ends.entries()) {
  process.stdout.write(`${JSON.stringify({ ...end.selected(), received: words[i] })}\n`);
}
process.exit(0);

/** Data is repeated: a selection of the other end may be on its way. */
async function exchange() {
  const repeat = setInterval(() => {
    for (const [i, end] of ends.entries()) end.send(Buffer.from(`word of ${kinds[i]} ${i}`));
  }, 50);
  const received = await Promise.all(ends.map((end) => end.received));
  clearInterval(repeat);
  return received;
}

function openEnd(i) {
  const own = CREDENTIALS[i];
  const remote = CREDENTIALS[1 - i];
  const end = { isControlling: i === 0, own, remote, address: addresses[i], relay: turn[i] ?? undefined };
  return kinds[i] === "ours" ? openOurs(end) : openTheirs(end);
}

async function openTheirs({ isControlling, own, remote, address, relay }) {
  const connection = new Connection(isControlling, {
    useIpv4: true,
    useIpv6: false,
    interfaceAddresses: { udp4: address },
    ...(relay !== undefined && {
      forceTurn: true,
      turnServer: relay.server,
      turnUsername: relay.username,
      turnPassword: relay.password,
      turnTransport: relay.transport,
      ...(ca !== undefined && { turnTlsOptions: { ca: readFileSync(ca), servername: "localhost" } }),
    }),
  });
  connection.localUsername = own.username;
  connection.localPassword = own.password;
  connection.setRemoteParams({
    iceLite: false,
    usernameFragment: remote.username,
    password: remote.password,
  });
  const heard = withResolvers();
  connection.onData.subscribe((data) => heard.resolve(data.toString()));
  return {
    received: heard.promise,
    onCandidate: (tell) =>
      connection.onIceCandidate.subscribe((one) => one && tell(`candidate:${one.toSdp()}`)),
    addRemote: (text) => connection.addRemoteCandidate(Candidate.fromSdp(text.slice("candidate:".length))),
    async connect() {
      await connection.gatherCandidates();
      await connection.connect();
    },
    send: (data) => connection.send(data),
    selected() {
      const { nominated } = connection;
      return { local: nominated?.localCandidate.type, remote: nominated?.remoteCandidate.type };
    },
  };
}

/** One socket, one host candidate. */
async function openOurs({ isControlling, own, remote, address }) {
  const socket = createSocket("udp4").bind(0, address);
  await once(socket, "listening");
  const local = { address: ip(address), port: socket.address().port };
  const clock = () => Math.floor(performance.now());
  const agent = ICE.create({
    now: clock(),
    role: isControlling ? "controlling" : "controlled",
    localCredentials: own,
    remoteCredentials: remote,
    random: createSeededRandom(1),
    transactions: { add() {}, remove() {} },
  });
  const [heard, connected] = [withResolvers(), withResolvers()];
  let selected;
  let timer;
  function settle() {
    for (let sent = ICE.pollTransmit(agent); sent !== undefined; sent = ICE.pollTransmit(agent)) {
      transmit(sent.bytes, sent.destination);
    }
    for (let event = ICE.pollEvent(agent); event !== undefined; event = ICE.pollEvent(agent)) {
      if (event.kind !== "selected") continue;
      selected = event;
      connected.resolve();
    }
    clearTimeout(timer);
    const due = ICE.pollTimeout(agent);
    if (due !== undefined) timer = setTimeout(tick, Math.max(1, due - clock()));
  }
  function transmit(bytes, { address: to, port }) {
    socket.send(bytes, port, formatIp(to));
  }
  function tick() {
    ICE.handleTimeout(agent, clock());
    settle();
  }
  socket.on("message", (bytes, from) => {
    const source = { address: ip(from.address), port: from.port };
    const parsed = parseBinding(Uint8Array.from(bytes));
    if (!parsed.ok) return heard.resolve(bytes.toString());
    const { value } = parsed;
    if (value.kind === "request") ICE.handleRequest(agent, clock(), value, { source, destination: local });
    else ICE.handleAnswer(agent, clock(), value, source);
    settle();
  });
  const text = ICE.addLocal(agent, clock(), { kind: "host", address: local, base: local });
  settle();
  return {
    received: heard.promise,
    onCandidate: (tell) => tell(text),
    addRemote(signalled) {
      const candidate = parseCandidate(signalled);
      if (!candidate.ok) throw new Error(`${signalled}: ${candidate.reason}`);
      ICE.addRemote(agent, clock(), candidate.value);
      settle();
    },
    connect: () => connected.promise,
    send: (data) => transmit(data, selected.destination),
    selected: () => ({ local: selected.localKind, remote: selected.remoteKind }),
  };
}

/** `Promise.withResolvers`, which Node 20 lacks. */
function withResolvers() {
  const all = {};
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
}
