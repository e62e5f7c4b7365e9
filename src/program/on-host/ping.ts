/** Echoes by the host's own `ping`: no runtime has sockets for them, and raw ones need a privilege of their own. */
import { execFile } from "node:child_process";
import { formatIp, type IpAddress, PosternError } from "../../base/index.ts";
import { findHelper, helperEnvironment } from "../../host/index.ts";
import type { Unreached } from "../../stack/index.ts";
import { unreached } from "../userspace/sockets.ts";

/** The caller's signal ends it earlier. */
const WAIT_S = "3600";

/** Milliseconds until the echo came. @throws PosternError of PG-124; `host` where there is no `ping` */
export function pingByHost(remote: IpAddress, signal: AbortSignal): Promise<number> {
  const program = findHelper("ping");
  if (program === undefined) {
    throw new PosternError("host", "ping is not installed on this host", "install iputils-ping", {
      detail: "helper-missing",
    });
  }
  const env = { ...helperEnvironment(), LC_ALL: "C" };
  const args = ["-c", "1", "-W", WAIT_S, formatIp(remote)];
  return new Promise((resolve, reject) => {
    execFile(program, args, { env, signal, killSignal: "SIGKILL" }, (error, stdout, stderr) => {
      if (signal.aborted) return reject(signal.reason);
      const ms = readRoundTrip(stdout);
      if (error === null && ms !== undefined) return resolve(ms);
      reject(unreached(readRefusal(stdout + stderr), formatIp(remote)));
    });
  });
}

/** `64 bytes from 10.0.0.1: icmp_seq=1 ttl=63 time=0.345 ms` */
export function readRoundTrip(stdout: string): number | undefined {
  const found = /\btime[=<]([\d.]+) ?ms/.exec(stdout)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** `From 10.0.0.1 icmp_seq=1 Packet filtered` */
export function readRefusal(text: string): Unreached {
  return /prohibited|filtered/i.test(text) ? "prohibited" : "unreachable";
}
