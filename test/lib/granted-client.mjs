/**
 * A client that the portal lets in and that keeps to nothing: it asks for resources as any client does, speaks ICE
 * with the gateway, and leaves WireGuard to a program beside it, whose owner may put any packet into it.
 *
 *   node granted-client.mjs URL TOKEN ADDRESS PORT WG-PORT RESOURCE…
 *
 * With `refuse` for WG-PORT it answers each check with error 500 and makes none. Otherwise
 * datagrams that are not STUN pass between the gateway and WG-PORT on loopback, which has to send to PORT + 1.
 * Writes its private key to /run/granted.key and the pre-shared one to /run/granted.psk; prints one line of JSON:
 * `{"gatewayKey", "own4", "own6", "gateway4", "gateway6", "resources": {NAME: ID}}` when a check was answered.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import { WebSocket } from "ws";
import {
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  isStunShaped,
  parseBinding,
} from "../../build/src/stun/index.js";

const [url = "", token = "", own = "", port = "", wgPort = "", ...resourceNames] = process.argv.slice(2);
const isRefusing = wgPort === "refuse";
const CHECK_EVERY_MS = 1000;
const PRIORITY = 2_130_706_431;
const CANDIDATE = `candidate:1 1 udp ${PRIORITY} ${own} ${port} typ host`;

const pair = generateKeyPairSync("x25519");
const toBase64 = (text) => Buffer.from(text, "base64url").toString("base64");
const privateKey = toBase64(pair.privateKey.export({ format: "jwk" }).d);
const publicKey = toBase64(pair.publicKey.export({ format: "jwk" }).x);

/** What `flow_created` told. */
let flow;
let gatewayPort;
const found = { resources: {} };
const outside = createSocket("udp4");
const inside = createSocket("udp4");
const buffer = new Uint8Array(1024);
const tieBreaker = randomBytes(8).readBigUInt64BE();

function check() {
  if (flow === undefined || gatewayPort === undefined || isRefusing) return;
  const { client_ice_credentials: ours, gateway_ice_credentials: theirs } = flow;
  const request = {
    transactionId: randomBytes(12),
    username: `${theirs.username}:${ours.username}`,
    claim: { role: "controlling", tieBreaker },
    priority: PRIORITY,
    isNominated: true,
  };
  const length = encodeBindingRequest(buffer, request, Buffer.from(theirs.password));
  outside.send(Buffer.from(buffer.subarray(0, length)), gatewayPort.port, gatewayPort.address);
}

function answer(frame, from) {
  const key = Buffer.from(flow.client_ice_credentials.password);
  const { transactionId } = frame;
  if (isRefusing) {
    const error = { transactionId, code: 500, phrase: "not today" };
    const length = encodeBindingError(buffer, error, key);
    return void outside.send(Buffer.from(buffer.subarray(0, length)), from.port, from.address);
  }
  const mappedAddress = { address: Uint8Array.from(from.address.split(".").map(Number)), port: from.port };
  const length = encodeBindingSuccess(buffer, { transactionId, mappedAddress }, key);
  outside.send(Buffer.from(buffer.subarray(0, length)), from.port, from.address);
}

outside.on("message", (datagram, from) => {
  if (!isStunShaped(datagram)) return void inside.send(datagram, Number(wgPort), "127.0.0.1");
  const binding = parseBinding(datagram);
  if (!binding.ok) return;
  if (binding.value.kind === "request") answer(binding.value.frame, from);
  else if (binding.value.kind === "success" && !found.isTold) {
    found.isTold = true;
    console.log(JSON.stringify(found));
  }
});
inside.on("message", (datagram) => outside.send(datagram, gatewayPort.port, gatewayPort.address));
outside.bind(Number(port), own);
inside.bind(Number(port) + 1, "127.0.0.1");
setInterval(check, CHECK_EVERY_MS);

const query = new URLSearchParams({ external_id: "granted", name: "granted", public_key: publicKey });
const headers = {
  "X-Authorization": `Bearer ${token}`,
  "User-Agent": "Linux/6 headless-client/1.5.0 granted",
};
const socket = new WebSocket(`${url}/client/websocket?${query}`, { headers });
const send = (event, payload) => socket.send(JSON.stringify({ topic: "client", event, payload, ref: null }));
socket.on("open", () => send("phx_join", {}));
socket.on("message", (data) => {
  const { event, payload } = JSON.parse(data.toString());
  if (event === "init") {
    Object.assign(found, { own4: payload.interface.ipv4, own6: payload.interface.ipv6 });
    for (const { id, name } of payload.resources) found.resources[name] = id;
    for (const name of resourceNames)
      send("create_flow", { resource_id: found.resources[name], connected_gateway_ids: [] });
  } else if (event === "flow_created") {
    if (flow === undefined) {
      writeFileSync("/run/granted.key", privateKey);
      writeFileSync("/run/granted.psk", payload.preshared_key);
    }
    flow = payload;
    found.gatewayKey = payload.gateway_public_key;
    Object.assign(found, { gateway4: payload.gateway_ipv4, gateway6: payload.gateway_ipv6 });
    send("broadcast_ice_candidates", { gateway_ids: [payload.gateway_id], candidates: [CANDIDATE] });
  } else if (event === "ice_candidates") {
    const [, , , , address, at] = payload.candidates
      .map((line) => line.split(" "))
      .find(([, , , , a]) => a.startsWith("10.31."));
    gatewayPort = { address, port: Number(at) };
    check();
  }
});
setInterval(
  () => socket.send(JSON.stringify({ topic: "phoenix", event: "heartbeat", payload: {}, ref: "1" })),
  5000,
);
