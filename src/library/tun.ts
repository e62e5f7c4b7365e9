/** `connectClient` and `startGateway` with a TUN device: what the programs do, in this process (PG-120). */

import { type HostSetting, openHostClient, openHostGateway } from "../program/on-host/index.ts";
import type {
  ClientOptions as ClientProgram,
  GatewayOptions as GatewayProgram,
  PeerOptions,
} from "../program/options.ts";
import { faceOf, rethrow } from "./client.ts";
import { createEmbeddedIo } from "./embedded-io.ts";
import { usage } from "./error.ts";
import type { Client } from "./face.ts";
import { withFlows } from "./gateway.ts";
import {
  createEventBus,
  createInstance,
  type EventBus,
  type Instance,
  type TunStatus,
  untilReady,
} from "./instance.ts";
import { createRecordLog } from "./log.ts";
import { checkKinds } from "./option-kinds.ts";
import { type CommonOptions, ONLY_USERSPACE, readToken, readWho, refuse } from "./options.ts";

/** As the options of the programs: what is set, is set on the host, and taken back at the end. */
export interface TunOptions extends CommonOptions {
  /** Packets by a TUN device of the host: needs root or CAP_NET_ADMIN, Linux, and FFI. */
  readonly mode: "tun";
  /** Of the device; default `tun-postern`. */
  readonly tunName?: string;
  /** Names the lock: one instance of a name per host. Default: `client`, `gateway`, as the programs have it. */
  readonly instance?: string;
  /** By which interface everything outside the tunnel leaves and comes. */
  readonly egressInterface?: string;
  /** Pairs of threads that carry packets; default 1. */
  readonly threads?: number;
}

export interface TunClientOptions extends TunOptions {
  /** How the host's DNS is pointed at the tunnel; default `auto`. */
  readonly dnsControl?: "auto" | "systemd-resolved" | "etc-resolv-conf" | "disabled";
  /** Whether the internet resource is used, if it is granted; default: no. */
  readonly internetResource?: boolean;
}

export interface TunGatewayOptions extends TunOptions {
  /** `off`: forwarding and masquerading are set up by somebody else. Default `auto`. */
  readonly masquerade?: "auto" | "off";
  /** What of the gateway's own tunnel addresses clients reach; default `dns`. */
  readonly hostAccess?: "dns" | "all";
  /** Whether names may lead to link-local addresses; default: no. */
  readonly allowLinkLocal?: boolean;
  /** A record for `log` for each flow that has ended (PG-104); default: no. */
  readonly flowLogs?: boolean;
}

export type TunClient = Client<TunStatus>;
export type TunGateway = Instance<TunStatus>;

/** Goodbyes, and five seconds to undo (PG-15). */
const CLOSE_MS = 6_000;

export async function connectTunClient(options: TunClientOptions): Promise<TunClient> {
  const { signal, internetResource = false, dnsControl = "auto" } = options;
  const bus = createEventBus();
  const program: ClientProgram = {
    ...programOptions(options),
    ...{ dnsControl, internetResource, revertDns: false },
    ...{ socks: undefined, httpProxy: undefined, proxyPasswordPath: undefined },
  };
  const setting = await settingOf(options, options.logFilter, bus);
  const running = await openHostClient(program, setting).catch(rethrow);
  const ways = { signal, closeMs: CLOSE_MS };
  await untilReady(running, ways);
  const { machine, input } = running.peer.facts;
  const setInternetResource = (isActive: boolean): void => input((now) => machine.setInternet(now, isActive));
  return faceOf({ ...running, setInternetResource }, createInstance(running, bus, ways));
}

export async function startTunGateway(options: TunGatewayOptions): Promise<TunGateway> {
  const { signal, flowLogs = false } = options;
  const bus = createEventBus();
  const program: GatewayProgram = {
    ...programOptions(options),
    ...{ healthAddr: undefined, flowLogs, masquerade: options.masquerade ?? "auto" },
    ...{ hostAccess: options.hostAccess ?? "dns", allowLinkLocal: options.allowLinkLocal ?? false },
  };
  const setting = await settingOf(options, flowLogs ? withFlows(options) : options.logFilter, bus);
  const peer = await openHostGateway(program, setting).catch(rethrow);
  const running = { peer, status: peer.status, close: peer.close };
  const ways = { signal, closeMs: CLOSE_MS };
  await untilReady(running, ways);
  return createInstance(running, bus, ways);
}

async function settingOf(
  { token: given, log, ca, signal }: TunOptions,
  logFilter: string | undefined,
  bus: EventBus,
): Promise<HostSetting> {
  const { io, stop } = createEmbeddedIo(createRecordLog(log, logFilter), () => {});
  return { io: { ...io, ...(await readToken(given, signal)) }, stop, ca, tell: bus.emit };
}

const DEVICE_NAME = /^(?!\.{1,2}$)[a-zA-Z0-9_=+.-]{1,15}$/;
/** Its lock is a file of that name. */
const INSTANCE_NAME = /^(?!\.{1,2}$)[a-zA-Z0-9_+.-]{1,64}$/;
const THREADS_MAX = 16;

/** @throws PosternError `host` with the detail `usage` */
function programOptions(options: TunOptions): PeerOptions {
  const { apiUrl, id, name, maxPartitionMs, listenPort = 0 } = options;
  const { tunName = "tun-postern", instance, egressInterface, threads = 1 } = options;
  refuse(options, ONLY_USERSPACE, "userspace");
  checkKinds(options);
  readWho(apiUrl, id);
  for (const device of [tunName, egressInterface]) {
    if (device !== undefined && !DEVICE_NAME.test(device))
      throw usage(`'${device}' is no device name`, "use 1 to 15 letters, digits or _=+.-");
  }
  if (instance !== undefined && !INSTANCE_NAME.test(instance))
    throw usage(`'${instance}' is no name of an instance`, "use 1 to 64 letters, digits or _+.-");
  if (!Number.isInteger(threads) || threads < 1 || threads > THREADS_MAX)
    throw usage(`threads is ${threads}`, `use 1 to ${THREADS_MAX}`);
  return {
    ...{ apiUrl: String(apiUrl), id, name, maxPartitionTime: maxPartitionMs, listenPort },
    ...{ mode: "tun", tunName, instance, egressInterface, threads, sockets: "auto" },
    ...{ tokenPath: undefined, caFile: undefined, check: false, exit: false, noCheck: false },
    ...{ cipher: undefined, incBuf: undefined, udpSendBuffer: undefined, udpRecvBuffer: undefined },
    ...{ validateChecksums: false, flowRecords: undefined, onEvent: undefined },
    ...{ metricsAddr: undefined, otlpEndpoint: undefined, metricsPerPeer: false },
  };
}
