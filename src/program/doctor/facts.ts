/** What `postern doctor` looks at, as plain data: `judge.ts` decides what it means (PG-141). */
import type { Parsed } from "../../base/index.ts";

export const ROLES = ["client", "gateway", "relay", "portal", "wg"] as const;
/** For whom the host is examined; `undefined`: for whatever may run here. */
export type Role = (typeof ROLES)[number] | undefined;

export interface HostFacts {
  readonly runtime: { readonly name: string; readonly version: string; readonly arch: string };
  /** `6.12.5-amd64`. */
  readonly kernelRelease: string;
  /** Whether system calls can be made; without them the facts of the kernel are absent. */
  readonly ffi: Parsed<true>;
  readonly isPrivileged: boolean;
  readonly tunDevice: "usable" | "refused" | "missing";
  /** Why an ordinary user may make no network namespaces; `undefined`: they may. */
  readonly userNamespaces: string | undefined;
  readonly kernel: KernelFacts | undefined;
  /** Values below /proc/sys; absent where there is none of that name. */
  readonly sysctls: ReadonlyMap<string, { readonly value: string; readonly isWritable: boolean }>;
  /** Where `nft` is. */
  readonly nft: string | undefined;
  /** Chains of others that drop forwarded packets, and whether a gateway can put its own rule there. */
  readonly dropChains: Parsed<readonly { readonly name: string; readonly isOurs: boolean }[]> | undefined;
  readonly nameServers: readonly string[];
  readonly hasResolved: boolean;
  /** Unix time in milliseconds. */
  readonly nowMs: number;
  readonly tokens: readonly TokenFact[];
}

export interface KernelFacts {
  /** The way into the internet, by family; `undefined`: none. */
  readonly egress: { readonly v4: Way | undefined; readonly v6: Way | undefined };
  /** Rules that are asked before ours, and rules that have our place. */
  readonly rules: {
    readonly earlier: readonly number[];
    readonly isTaken: boolean;
    readonly isThere: boolean;
  };
  /** A device by which another Postern routes (PG-174). */
  readonly otherTunnel: string | undefined;
  readonly udp: Parsed<UdpFacts>;
  /** Accepted offloads of a device made for a moment; absent without the privilege to make one. */
  readonly tunOffloads: Parsed<"all" | "tcp" | "none"> | undefined;
}

export interface Way {
  readonly device: string;
  readonly gateway: string | undefined;
  readonly source: string | undefined;
}

export interface UdpFacts {
  readonly gso: boolean;
  readonly gro: boolean;
  readonly sendBytes: number;
  readonly receiveBytes: number;
  readonly sendBytesWanted: number;
  readonly receiveBytesWanted: number;
  readonly missing: readonly string[];
}

export interface TokenFact {
  readonly path: string;
  readonly state: "good" | "missing" | "empty";
  /** Why it may not be used. */
  readonly problem?: string;
}

export interface PortalFacts {
  readonly url: string;
  readonly isTls: boolean;
  readonly addresses: Parsed<readonly string[]>;
  /** What was connected to, and how long that took; absent where there was no address. */
  readonly tcp?: Parsed<{ readonly address: string; readonly ms: number }>;
  readonly tls?: Parsed<{ readonly validTo: string }>;
  /** Of `GET /healthz`; `dateMs` is the portal's clock. */
  readonly answer?: Parsed<{ readonly status: number; readonly dateMs: number | undefined }>;
}

export interface RelayFacts {
  readonly address: string;
  /** What the relay saw of us, and after how long. */
  readonly binding: Parsed<{ readonly mapped: string; readonly ms: number }>;
}
