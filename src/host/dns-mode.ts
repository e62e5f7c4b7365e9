/** How the host's DNS can be controlled here: a decision over what was found, with its reason (DN-95). */
import { PosternError } from "../base/index.ts";

export type DnsMode = "systemd-resolved" | "etc-resolv-conf" | "disabled";

export interface DnsSnapshot {
  readonly resolvConf:
    | { readonly kind: "absent" | "other" }
    | { readonly kind: "symlink"; readonly target: string; readonly text: string }
    | { readonly kind: "file"; readonly isWritable: boolean; readonly text: string };
  /** The file belongs to the first process's network, which is not ours: `ip netns exec` shares it (DN-95). */
  readonly isForeign: boolean;
  /** `resolvectl status` has answered. */
  readonly hasResolved: boolean;
}

export interface DnsModeChoice {
  readonly mode: DnsMode;
  /** Why not something better; absent: nothing is amiss. */
  readonly reason?: string;
}

const FOREIGN = "/etc/resolv.conf is that of another network namespace";
const STUB = /^\s*nameserver\s+127\.0\.0\.53\s*$/m;
const RESOLVED_FOLDER = "/run/systemd/resolve/";

/** @throws PosternError `host` for a mode that was asked for and cannot be */
export function chooseDnsMode(wanted: "auto" | DnsMode, snapshot: DnsSnapshot): DnsModeChoice {
  switch (wanted) {
    case "disabled":
      return { mode: "disabled" };
    case "systemd-resolved":
      if (snapshot.hasResolved) return { mode: wanted };
      throw refused(wanted, "resolvectl status fails", "start systemd-resolved, or use --dns-control auto");
    case "etc-resolv-conf": {
      const reason = whyNotWritten(snapshot);
      if (reason === undefined) return { mode: wanted };
      const remedy = snapshot.hasResolved ? "--dns-control systemd-resolved" : "--dns-control disabled";
      throw refused(wanted, reason, `use ${remedy}`);
    }
    case "auto": {
      if (snapshot.isForeign) return { mode: "disabled", reason: FOREIGN };
      if (isResolvedsHost(snapshot) && snapshot.hasResolved) return { mode: "systemd-resolved" };
      const reason = whyNotWritten(snapshot);
      return reason === undefined ? { mode: "etc-resolv-conf" } : { mode: "disabled", reason };
    }
  }
}

function isResolvedsHost({ resolvConf }: DnsSnapshot): boolean {
  if (resolvConf.kind === "symlink") {
    return resolvConf.target.startsWith(RESOLVED_FOLDER) || STUB.test(resolvConf.text);
  }
  return resolvConf.kind === "file" && STUB.test(resolvConf.text);
}

function whyNotWritten({ resolvConf }: DnsSnapshot): string | undefined {
  switch (resolvConf.kind) {
    case "file":
      return resolvConf.isWritable ? undefined : "/etc/resolv.conf cannot be written";
    case "symlink":
      return `/etc/resolv.conf is a link to ${resolvConf.target}, which somebody else keeps`;
    case "absent":
      return "there is no /etc/resolv.conf";
    case "other":
      return "/etc/resolv.conf is no file";
  }
}

function refused(mode: string, reason: string, remedy: string): PosternError {
  return new PosternError("host", `cannot control DNS by ${mode}: ${reason}`, remedy);
}
