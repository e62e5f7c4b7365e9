/**
 * Many clients of one portal in one process: each with an identity and a key of its own asks for a resource,
 * and names an address at which nobody answers.
 *
 *   node swarm.mjs URL TOKEN RESOURCE COUNT      prints `asked N` when N have been given a gateway, and
 *                                                `at GATEWAY N` for each gateway; leaves when it is ended
 */
import { randomBytes } from "node:crypto";
import { WebSocket } from "ws";

const [url = "", token = "", resourceName = "", count = "0"] = process.argv.slice(2);

const HEADERS = {
  "X-Authorization": `Bearer ${token}`,
  "User-Agent": "Linux/6 headless-client/1.5.0 swarm",
};
const CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.77 52625 typ host";

/** @returns the gateway that the portal chose */
function ask() {
  const query = new URLSearchParams({
    external_id: randomBytes(16).toString("hex"),
    name: "swarm",
    public_key: randomBytes(32).toString("base64"),
  });
  const socket = new WebSocket(`${url}/client/websocket?${query}`, { headers: HEADERS });
  const send = (event, payload) =>
    socket.send(JSON.stringify({ topic: "client", event, payload, ref: null }));
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("close", (code) => reject(new Error(`closed with ${code}`)));
    socket.on("open", () => send("phx_join", {}));
    socket.on("message", (data) => {
      const { event, payload } = JSON.parse(data.toString());
      if (event === "init") {
        const resource = payload.resources.find(({ name }) => name === resourceName);
        send("create_flow", { resource_id: resource.id, connected_gateway_ids: [] });
      }
      if (event === "flow_creation_failed") reject(new Error(`refused: ${payload.reason}`));
      if (event !== "flow_created") return;
      send("broadcast_ice_candidates", { gateway_ids: [payload.gateway_id], candidates: [CANDIDATE] });
      resolve(payload.gateway_id);
    });
  });
}

const shares = new Map();
for (let n = 0; n < Number(count); ) {
  try {
    const gateway = await ask();
    shares.set(gateway, (shares.get(gateway) ?? 0) + 1);
    n++;
  } catch (error) {
    // The portal admits so many a second of one address (PT-72).
    if (!/503|429/.test(error.message)) throw error;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
for (const [gateway, share] of shares) console.log(`at ${gateway} ${share}`);
console.log(`asked ${count}`);
