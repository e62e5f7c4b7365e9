/**
 * What the command line hands to each program: the options of PG-6, parsed and checked. The table in
 * `src/cli/options.ts` yields exactly these; `undefined` means that the program's own default applies.
 */
import type { SocketChoice } from "./userspace/carrier.ts";

/** Options of every program that opens the tunnel's sockets and runs the plane. */
export interface PlaneOptions {
  /** Forces a cipher variant (D-26). */
  readonly cipher: string | undefined;
  /** Raise `net.core.{r,w}mem_max` where forcing buffer sizes is refused (PG-44). */
  readonly incBuf: boolean | undefined;
  readonly udpSendBuffer: number | undefined;
  readonly udpRecvBuffer: number | undefined;
  /** Pairs of workers (PG-176). */
  readonly threads: number;
  /** Looks at the checksums of what comes out of the tunnel. */
  readonly validateChecksums: boolean;
  /** Where metrics are served (PG-114). */
  readonly metricsAddr: string | undefined;
  /** Where metrics are pushed (PG-116). */
  readonly otlpEndpoint: string | undefined;
}

/** `postern wg NAME|CONFIG` (PG-143). */
export interface WgOptions extends PlaneOptions {
  /** The file, or a bare NAME for `/etc/wireguard/NAME.conf` (WG-63). */
  readonly config: string;
  readonly allowHooks: boolean;
  /** No file, addresses and routes: who starts it, wg-quick for one, sets them (WG-68). */
  readonly bare: boolean;
  /** Go on by itself once the interface is up. */
  readonly detach: boolean;
  readonly dnsControl: DnsControl;
}

export type DnsControl = "auto" | "systemd-resolved" | "etc-resolv-conf" | "disabled";

/** What client and gateway share. */
export interface PeerOptions extends PlaneOptions {
  readonly apiUrl: string;
  readonly tokenPath: string | undefined;
  readonly id: string | undefined;
  readonly name: string | undefined;
  readonly maxPartitionTime: number | undefined;
  /** `--check`: stop after the token step (PG-12). */
  readonly check: boolean;
  /** `--exit`: start fully, then stop (PG-13). */
  readonly exit: boolean;
  /** `--no-check`: skip the privilege check (PG-11). */
  readonly noCheck: boolean;
  readonly caFile: string | undefined;
  /** 0 means a random port (PG-6). */
  readonly listenPort: number;
  readonly tunName: string;
  /** `userspace`: without device, root, workers (PG-122). */
  readonly mode: "tun" | "userspace";
  /** Grade of the sockets, with `mode` userspace only (PG-122). */
  readonly sockets: SocketChoice;
  readonly instance: string | undefined;
  /** By which interface everything leaves and comes (PG-62). */
  readonly egressInterface: string | undefined;
  /** A shell command for each event (PG-113). */
  readonly onEvent: string | undefined;
  /** Most flow records at a time (TN-80). */
  readonly flowRecords: number | undefined;
  /** Metrics with a label per peer (PG-114). */
  readonly metricsPerPeer: boolean;
}

export interface ClientOptions extends PeerOptions {
  readonly dnsControl: DnsControl;
  /** `--revert-dns`: undo DNS control and exit (DN-108). */
  readonly revertDns: boolean;
  /** Where the switch of the internet resource stands at the start (TN-23). */
  readonly internetResource: boolean;
  /** `ADDR:PORT` of proxies into the tunnel, with `mode` userspace only (PG-129). */
  readonly socks: string | undefined;
  readonly httpProxy: string | undefined;
  readonly proxyPasswordPath: string | undefined;
}

export interface GatewayOptions extends PeerOptions {
  /** What follows `gateway`: nothing, `run`, `setup` or `teardown`. */
  readonly word?: string | undefined;
  /** Where health is served (PG-85). */
  readonly healthAddr: string | undefined;
  readonly masquerade: "auto" | "off";
  /** Whether clients reach more of the gateway host than DNS and echo (TN-61 row 6). */
  readonly hostAccess: "dns" | "all";
  /** Whether names may lead to link-local addresses (TN-64). */
  readonly allowLinkLocal: boolean;
  /** A line for each flow that has ended (PG-104). */
  readonly flowLogs: boolean;
}

/** `postern portal …` (PT-110, PT-111). */
export interface PortalOptions {
  readonly dev: boolean;
  readonly devInsecure: boolean;
  /** `ADDR:PORT`, `[V6]:PORT`. */
  readonly listen: string | undefined;
  readonly config: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** Where the state lies; `--dev` keeps everything in memory (PT-115). */
  readonly data?: string | undefined;
  /** Networks of proxies whose `X-Forwarded-For` counts (PT-73). */
  readonly trustedProxy?: readonly string[] | undefined;
  /** Names the control socket (PG-107); absent: there is none. */
  readonly instance?: string | undefined;
  readonly metricsAddr?: string | undefined;
  readonly otlpEndpoint?: string | undefined;
  readonly healthAddr?: string | undefined;
  /** A file with the token that `/status.json` asks for (PT-117). */
  readonly statusToken?: string | undefined;
  /** Milliseconds in which peers are sent away at the stop (PT-190). */
  readonly drain?: number | undefined;
  /** Per token; 0 means no limit (PT-77). */
  readonly userDevices?: number | undefined;
  readonly serviceDevices?: number | undefined;
  readonly gateways?: number | undefined;
  /** For `portal token new`. */
  readonly kind: "client" | "gateway" | "relay" | "api" | undefined;
  /** What follows `portal`: nothing, `check FILE`, `access FILE CLIENT RESOURCE` or `token new`. */
  readonly words: readonly string[];
}

export interface DemoOptions {
  readonly json: boolean;
  /** Length of each throughput measurement. */
  readonly seconds: number;
  readonly relayed: boolean;
  readonly tls: boolean;
  /** A file of steps, or the steps themselves. */
  readonly script: string | undefined;
}

/** `postern bench` (PG-200). */
export interface BenchOptions {
  /** `serve`, or the host to measure against; absent: beside others, here. */
  readonly word: string | undefined;
  readonly mtu: number;
  readonly pairs: number;
  readonly seconds: number;
  /** Numbers of streams, `1,4,16`. */
  readonly streams: string;
  /** `both`: each as a tunnel of its own. */
  readonly openvpnCipher: "aes-256-gcm" | "chacha20-poly1305" | "both";
  readonly quick: boolean;
  readonly seed: number | undefined;
  readonly json: boolean;
  /** Where the result goes as JSON. */
  readonly output: string | undefined;
  /** A result of `output`, to be compared with. */
  readonly compare: string | undefined;
  /** Where the picture goes, as SVG. */
  readonly plot: string | undefined;
  /** Of `serve`, `ADDR:PORT`. */
  readonly listen: string;
}

/** `postern service ACTION ROLE` (PG-78). */
export interface ServiceOptions {
  readonly words: readonly string[];
  readonly dryRun: boolean;
  /** Of the client: the unit of the user `postern`, who may ask systemd-resolved only, or that of root. */
  readonly dnsControl: "auto" | "etc-resolv-conf";
  /** Files go below it, and no command is run. */
  readonly root: string | undefined;
  /** The file that runs. */
  readonly main: string;
}

/** `postern token install ROLE` (PG-20). */
export interface TokenOptions {
  readonly words: readonly string[];
  readonly replace: boolean;
  readonly tokenPath: string | undefined;
}

/** `postern id [ROLE]`. */
export interface IdOptions {
  readonly role: string | undefined;
  readonly instance: string | undefined;
  readonly id: string | undefined;
}

/** `postern doctor [ROLE]` (PG-141). */
export interface DoctorOptions {
  readonly json: boolean;
  /** Whose needs are examined; absent: whatever may run here. */
  readonly role: string | undefined;
  readonly apiUrl: string | undefined;
  readonly caFile: string | undefined;
  readonly tokenPath: string | undefined;
  /** `ADDR:PORT` of relays. */
  readonly relay: readonly string[];
}

/** `postern relay` (PG-6, RL-64). */
export interface RelayOptions {
  /** Absent only with `standAlone`. */
  readonly apiUrl: string | undefined;
  readonly tokenPath: string | undefined;
  readonly name: string | undefined;
  readonly maxPartitionTime: number | undefined;
  readonly check: boolean;
  readonly exit: boolean;
  readonly caFile: string | undefined;
  readonly instance: string | undefined;
  readonly publicIp4: string | undefined;
  readonly publicIp6: string | undefined;
  readonly bindIp4: string | undefined;
  readonly bindIp6: string | undefined;
  readonly turnPort: number;
  readonly lowestPort: number;
  readonly highestPort: number;
  /** `ADDR:PORT`; with `tlsCert` and `tlsKey`. */
  readonly tlsListen: string | undefined;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** Absent: the certificate's first name. */
  readonly tlsName: string | undefined;
  readonly tcpListen: string | undefined;
  readonly devInsecure: boolean;
  readonly realm: string;
  readonly standAlone: boolean;
  readonly stampSecretPath: string | undefined;
  readonly privatePeers: "auto" | "allow" | "deny";
  /** Networks, also several with commas between them. */
  readonly deniedPeers: readonly string[];
  readonly allowLoopbackPeers: boolean;
  readonly maxAllocations: number;
  /** 0: no limit. */
  readonly allocationsPerUser: number;
  readonly drain: number;
  readonly healthAddr: string | undefined;
  readonly metricsAddr: string | undefined;
  readonly otlpEndpoint: string | undefined;
  /** Makes ports and nonces repeatable: for tests. */
  readonly seed: number | undefined;
}
