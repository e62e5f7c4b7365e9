/** What strikes a soak now and then (TS-63): each does its harm, waits, and takes it back. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../../scripts/steps.mjs";

const OFFLOAD = join(ROOT, "test", "lib", "device-offload.mjs");
/** The device of client and gateway. */
const TUN = "tun-postern";

const someEnd = ({ near, far }, draw) => (draw() < 0.5 ? near : far);
const someProgram = ({ processes }, draw) => processes[draw() < 0.5 ? 0 : 1];

export const FAULTS = {
  /** A network reset: the same port is bound again (PG-66), and ICE begins anew. */
  async reset(arm, draw) {
    someProgram(arm, draw).signal("SIGHUP");
  },
  async "cable down for 1 s"(arm, draw) {
    const end = someEnd(arm, draw);
    await end.ip("link set wan down");
    await sleep(1000);
    await end.ip("link set wan up");
  },
  async "cable of MTU 1300 for 5 s"({ near, far }) {
    for (const end of [near, far]) await end.ip("link set wan mtu 1300");
    await sleep(5000);
    for (const end of [near, far]) await end.ip("link set wan mtu 1500");
  },
  /** Segments are cut and checksums computed before the cable, and nothing is coalesced behind it (PG-46). */
  async "offloads of the cable off for 5 s"(arm, draw) {
    const end = someEnd(arm, draw);
    const set = (state) => end.run(process.execPath, [OFFLOAD, "wan", state, "tx", "gro"]);
    await set("off");
    await sleep(5000);
    await set("on");
  },
  async "offloads of a device off for 5 s"(arm, draw) {
    const end = someEnd(arm, draw);
    const set = (state, offloads) => end.run(process.execPath, [OFFLOAD, TUN, state, ...offloads]);
    await set("off", ["tso", "gso", "tx"]);
    await sleep(5000);
    await set("on", ["tx", "tso", "gso"]);
  },
  /** No room and no buffers: EAGAIN and ENOBUFS. */
  async "20 Mbit/s and a short queue for 5 s"(arm, draw) {
    const end = someEnd(arm, draw);
    const shape = ["tbf", "rate", "20mbit", "burst", "5000", "limit", "15000"];
    await end.run("tc", ["qdisc", "add", "dev", "wan", "root", ...shape]);
    await sleep(5000);
    await end.run("tc", ["qdisc", "del", "dev", "wan", "root"]);
  },
  async "a program stopped for 2 s"(arm, draw) {
    const program = someProgram(arm, draw);
    program.signal("SIGSTOP");
    await sleep(2000);
    program.signal("SIGCONT");
  },
  async "a relay stopped for 3 s"({ relays }, draw) {
    const relay = relays[draw() < 0.5 ? 0 : 1];
    relay.signal("SIGSTOP");
    await sleep(3000);
    relay.signal("SIGCONT");
  },
  /** What the relays carry passes inside of the gateway's machine, and by another port on the cable. */
  async "no direct path for 25 s"({ far }) {
    const nft = (text) => far.run("nft", [text]);
    await nft("add table inet soak");
    await nft("add chain inet soak in { type filter hook input priority 0; }");
    await nft("add chain inet soak out { type filter hook output priority 0; }");
    await nft('add rule inet soak in iifname "wan" udp dport 52625 drop');
    await nft('add rule inet soak out oifname "wan" udp sport 52625 drop');
    await sleep(25_000);
    await nft("delete table inet soak");
  },
  async "the client's device down for 1 s"({ near }) {
    await near.ip(`link set ${TUN} down`);
    await sleep(1000);
    await near.ip(`link set ${TUN} up`);
  },
};
