/** `postern client`: the headless client (PG-2, PG-9). */
import { interfaceIndex, openKernel, openQuerySockets } from "../../../bindings/linux/index.ts";
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import type { Log } from "../../base/index.ts";
import {
  asksMulticastFirst,
  createNameResolver,
  type DnsControl,
  FWMARK,
  openDnsControl,
  requirePrivilege,
  revertHostDns,
  runFolders,
} from "../../host/index.ts";
import type { TunnelClient } from "../../tunnel/index.ts";
import { createDirectPath, createDnsService, createDohClient, type DnsService } from "../dns/index.ts";
import { runPeer } from "../endpoint/peer.ts";
import type { PeerEmbedding, PeerRole } from "../endpoint/role.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { ClientOptions } from "../options.ts";
import { loadRoots, markedTcp } from "../portal-transport.ts";
import type { PlaneHost } from "../shell/index.ts";
import { clientRole, type OpenDns } from "./client-role.ts";

/** Its name where none is given, as for its lock (PG-10). */
const INSTANCE = "client";

export interface ClientEmbedding extends PeerEmbedding<TunnelClient> {
  /** Before `onOpen`: what the client knows of names. */
  readonly onNames: (dns: DnsService) => void;
}

export async function runClient(
  options: ClientOptions,
  io: ProgramIo,
  threads: PlaneThreads,
  embedding?: ClientEmbedding,
): Promise<number> {
  if (options.revertDns) return revertDns(options, io);
  return await runPeer({ role: hostRole(options, io, embedding), options, io, threads, embedding });
}

/** `--revert-dns`: what a client that died has left (DN-108). */
function revertDns({ noCheck, tunName, instance = INSTANCE }: ClientOptions, io: ProgramIo): number {
  if (!noCheck) requirePrivilege("client");
  revertHostDns({ tunName, instance, kernel: openKernel(), log: io.log.scope("dns") });
  io.print("the host's DNS is as it was");
  return EXIT.ok;
}

function hostRole(
  options: ClientOptions,
  io: ProgramIo,
  { ca = [], onNames }: Partial<ClientEmbedding> = {},
): PeerRole<TunnelClient> {
  const log = io.log.scope("dns");
  let opened: { readonly host: PlaneHost; readonly control: DnsControl } | undefined;
  const openDns: OpenDns = (parts) => {
    if (opened === undefined) throw new Error("the host is set up before the tunnel");
    const service = openService({ ...opened, options, io, log }, parts);
    onNames?.(service);
    return service;
  };
  return {
    ...clientRole({ ...options, ca }, { isInternetOn: options.internetResource, openDns }),
    setUpHost(host, undo) {
      const { dnsControl: wanted, instance = INSTANCE } = options;
      const control = openDnsControl({ wanted, tunName: host.tun.name, instance, kernel: host.kernel, log });
      undo.add("DNS control", () => control.revert());
      opened = { host, control };
      return { parameters: [], tables: [], isGuarded: true };
    },
  };
}

interface ServiceParts {
  readonly host: PlaneHost;
  readonly control: DnsControl;
  readonly options: ClientOptions;
  readonly io: ProgramIo;
  readonly log: Log;
}

function openService(
  { host, control, options, io, log }: ServiceParts,
  { machine, input }: Parameters<OpenDns>[0],
): ReturnType<OpenDns> {
  const { kernel } = host;
  const way = { mark: FWMARK, device: options.egressInterface };
  const openTcp = markedTcp(kernel, FWMARK, options.egressInterface);
  const doh = createDohClient({
    ...{ openTcp, roots: loadRoots(options.caFile), log },
    resolve: createNameResolver({ kernel, ...way, log }),
  });
  const [folder] = runFolders(io.env);
  return createDnsService({
    ...{ control, doh, now: host.now, log },
    openPath: (onResult) =>
      createDirectPath({
        openSockets: (onOutcome) => openQuerySockets({ kernel, way, onOutcome }),
        ...{ openTcp, doh, onResult },
      }),
    give: (use) => input((now) => machine.useResolver(now, (resolver) => use(resolver, now))),
    indexOf: (name) => interfaceIndex(kernel, name),
    asksMulticastFirst: () => asksMulticastFirst(),
    namesFile: folder === undefined ? undefined : `${folder}/${options.instance ?? INSTANCE}-dns.json`,
  });
}
