/**
 * Files of `test/system` and `test/interop` that run one after another with nothing beside them, and why (TS-68). All
 * others run two at a time: their machines are namespaces with names of their own process, `/run` of their own and the
 * same addresses and ports as in any other file. A file that is in doubt belongs here.
 */
export const ALONE = {
  // What another file does beside it would be the weather of what is measured.
  "test/system/embedded-same-proxies.test.ts": "connections as fast as 16 clients can open them",
  "test/system/fragments.test.ts": "a flood of which no datagram may be lost",
  "test/system/hardening.test.ts": "workers at full rate, whose system calls fail by script",
  "test/system/hostile-wg.test.ts": "an attack at full rate, and what it adds to the programs' memory",
  "test/system/names-traffic.test.ts": "iperf3 at full rate, and how fast a refusal comes (TS-30, 31)",
  "test/system/nat-rebinding.test.ts": "how long outages last",
  "test/system/pairs.test.ts": "workers at full rate, all of which must have had work",
  "test/system/plane-offload.test.ts": "workers at full rate",
  "test/system/plane-workers.test.ts": "workers at full rate, and how fast they stop",
  "test/system/portal-flood.test.ts": "a flood",
  "test/system/repair-time.test.ts": "how fast a gap is closed",
  "test/system/revocation.test.ts": "flows at full rate, and what passes 100 ms after their end",
  "test/system/two-clients.test.ts": "a flood beside one who asks politely",
  "test/system/uplinks.test.ts": "how long outages last (TS-30, 17 and 18)",
  "test/system/wire.test.ts": "delays of 2 ms",
  "test/interop/turn-tools.test.ts": "a tool that counts what is lost, and waits for it by its own clock",
  "test/interop/wireguard-go.test.ts": "bursts of datagrams of which few may be lost",
  "test/interop/wireguard-load.test.ts": "floods",
  // What the machine has once.
  "test/system/demo.test.ts": "looks for programs of this clone on the whole machine",
  "test/system/resolved.test.ts": "failed once for a reason that is not known (docs/todo/testing.md)",
};
