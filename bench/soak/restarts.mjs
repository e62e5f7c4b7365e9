/**
 * A device that somebody takes away ends its program, which a supervisor starts again (PG-38). Once in a soak that
 * happens to both ends, and the program that comes next has a cable that refuses segments after a while (PG-46).
 */
import { setTimeout as sleep } from "node:timers/promises";
import { gsoRefusals } from "./tables.mjs";

const TUN = "tun-postern";
const DEVICE_REMOVED = 8;
const WITHIN_MS = 20_000;
/** EIO from some send of several segments on, and now and then again. */
const REFUSES_GSO = "sendmsg:4001+4001:5";
const WITHOUT_GSO_MS = 25_000;

/**
 * Each restart is noted in `struck`, as any other fault.
 * @param start runs what starts a program, whose system calls fail as a script says, or as those of all others
 */
export async function restartBoth(arm, { struck, start: startWith, note }) {
  const ends = [
    { i: 0, end: arm.near, start: arm.startClient },
    { i: 1, end: arm.far, start: arm.startGateway },
  ];
  for (const { i, end, start } of ends) {
    const again = async (what, script) => {
      const record = { name: what, from: Date.now(), to: Number.POSITIVE_INFINITY };
      struck.push(record);
      note(`fault: ${what}: ${arm.processes[i].name}`);
      arm.isRestarting = true;
      await end.ip(`link del ${TUN}`);
      const { status } = await arm.processes[i].exited;
      if (status !== DEVICE_REMOVED)
        throw new Error(`${arm.processes[i].name} without a device: exit ${status}`);
      arm.processes[i] = await startWith(async () => start(), script);
      await arm.processes[i].waitForLine(/\bready\b/i, { withinMs: WITHIN_MS });
      arm.isRestarting = false;
      record.to = Date.now();
    };
    await again("device removed, started again, and its cable refuses GSO", REFUSES_GSO);
    await sleep(WITHOUT_GSO_MS);
    if ((await gsoRefusals(end)) === 0) throw new Error(`${arm.processes[i].name}: no send was refused`);
    await again("device removed, started again");
    await sleep(WITHOUT_GSO_MS);
  }
}
