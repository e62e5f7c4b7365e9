/** The relay's registration with the portal (RL-67 to RL-69): while it is connected, the relay is offered; so it must not flap. */
import { arch, release } from "node:os";
import { type Instant, type Log, PosternError, unixMs } from "../../base/index.ts";
import {
  codeOf,
  describeFatal,
  describeTransient,
  MAX_PARTITION_MS,
  type PortalEvent,
  type RelayMessage,
  type RelayParams,
  type RelayRequest,
  relayChannel,
  userAgentOf,
} from "../../portal/protocol/index.ts";
import type { ControlEvent, PortalLinkStatus } from "../control/index.ts";
import { createLinkEnding, createLinkRecord } from "../link-record.ts";
import { createPortalSocket, loadRoots, plainTcp } from "../portal-socket.ts";
import { systemRandom } from "../system-random.ts";
import { VERSION } from "../version.ts";
import type { PortalAccess } from "./relay-settings.ts";

export interface RelayLinkOptions {
  readonly portal: PortalAccess;
  readonly params: RelayParams;
  readonly maxPartitionMs: number | undefined;
  readonly caFile: string | undefined;
  readonly now: () => Instant;
  readonly tell: (event: ControlEvent) => void;
  readonly onRegistered: () => void;
  /** What no retry mends, and 24 hours without the portal. */
  readonly fail: (error: unknown) => void;
  readonly log: Log;
}

export interface RelayLink {
  status(): PortalLinkStatus;
  /** Why the relay is of no use to the portal any more (RL-71); `undefined`: it is. */
  unhealthy(): string | undefined;
  /** Says goodbye: clients and gateways are told to move (RL-73). */
  close(): Promise<void>;
}

export function connectRelay(options: RelayLinkOptions): RelayLink {
  const { portal, params, caFile, now, fail, log } = options;
  const maxPartitionMs = options.maxPartitionMs ?? MAX_PARTITION_MS;
  const record = createLinkRecord({ url: portal.url, tell: options.tell });
  const ending = createLinkEnding();
  let lostAt: Instant | undefined;

  function handleEvent(event: Exclude<PortalEvent<RelayMessage>, { kind: "resolve" }>): void {
    switch (event.kind) {
      case "connected":
        lostAt = undefined;
        return record.enter("connected");
      case "hiccup":
        lostAt ??= now();
        return record.hiccup(describeTransient(event.error));
      case "message":
        return options.onRegistered();
      case "fatal":
        return fail(new PosternError(codeOf(event.error), describeFatal(event.error)));
      case "closed":
        record.enter("closed");
        return ending.closed();
    }
  }

  const socket = createPortalSocket<RelayMessage, RelayRequest>({
    url: portal.url,
    channel: relayChannel,
    ...{ token: portal.token, askToken: portal.askToken },
    userAgent: userAgentOf({
      os: "Linux",
      osVersion: release(),
      component: "relay",
      release: VERSION,
      arch: arch(),
      kernel: release(),
    }),
    maxPartitionMs,
    ...(portal.url.scheme === "wss" ? { roots: loadRoots(caFile) } : {}),
    openTcp: plainTcp,
    now,
    wallNow: () => unixMs(Date.now()),
    random: systemRandom,
    log: log.scope("portal"),
    onEvent: handleEvent,
    onError: fail,
  });
  socket.connect(params);
  return {
    status: record.status,
    unhealthy: () =>
      lostAt !== undefined && now() - lostAt > maxPartitionMs
        ? "the portal has been away too long"
        : undefined,
    close: () => ending.close(socket),
  };
}
