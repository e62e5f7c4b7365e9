/**
 * Which system calls fail, by script (TS-64). Nothing of the product knows of it: what makes the calls is wrapped.
 *
 * @typedef {{ call: string, nth: number, errno: number, every?: number }} Fault the `nth` call of that name, from 1,
 *   fails; with `every` each so many calls behind it, too
 */

/**
 * @param {readonly Fault[]} faults
 * @returns {(call: string) => Fault | undefined} asked before each call: how it fails
 */
export function createFaultScript(faults) {
  const counts = new Map();
  return (call) => {
    const nth = (counts.get(call) ?? 0) + 1;
    counts.set(call, nth);
    return faults.find((fault) => fault.call === call && isDue(fault, nth));
  };
}

function isDue({ nth: first, every }, nth) {
  if (nth === first) return true;
  return every !== undefined && nth > first && (nth - first) % every === 0;
}

/**
 * Reads a script of an environment variable.
 * @param {string} text `CALL:NTH[+EVERY]:ERRNO`, joined by commas: `sendmsg:1000:5,read:7+100:5`
 * @returns {Fault[]}
 */
export function parseFaultScript(text) {
  return text.split(",").map((one) => {
    const [, call, nth, every, errno] = /^(\w+):(\d+)(?:\+(\d+))?:(\d+)$/.exec(one) ?? [];
    if (call === undefined) throw new Error(`'${one}' is not CALL:NTH[+EVERY]:ERRNO`);
    return { call, nth: +nth, errno: +errno, ...(every === undefined ? {} : { every: +every }) };
  });
}
