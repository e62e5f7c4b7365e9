/**
 * One end of the tunnel on a packet plane in one thread, as the shell drives it: commands go first, then what
 * the plane says, until nothing comes (SN-124).
 */
import type { Instant } from "../../src/base/index.ts";
import type { ConnectionTransmit } from "../../src/connections/index.ts";
import type { PlaneCommand, Publication } from "../../src/plane/index.ts";
import type { TunnelClient, TunnelCommand, TunnelGateway } from "../../src/tunnel/index.ts";
import { nextTurn } from "../lib/bounds.ts";
import type { PolledPlane } from "../twin/polled-plane.ts";

/** Turns until tunnel and plane have nothing to say to each other any more. */
const SETTLED_MAX = 1_000;

export interface TunnelOnPlane {
  readonly plane: PolledPlane;
  /** Everything that was written to the TUN device, refusals included. */
  readonly delivered: Uint8Array[];
  /** Kinds of all commands so far, in their order. */
  readonly commands: TunnelCommand["kind"][];
  /** The next datagram, when all that is due has been done. */
  pollTransmit(now: Instant): ConnectionTransmit | undefined;
}

export function putOnPlane(tunnel: TunnelClient | TunnelGateway, plane: PolledPlane): TunnelOnPlane {
  const publishing: Publication[] = [];
  const delivered: Uint8Array[] = [];
  const commands: TunnelCommand["kind"][] = [];
  let published = 0;

  function carryOut(now: Instant, command: TunnelCommand): void {
    commands.push(command.kind);
    if (command.kind === "publish") {
      publishing.push(command);
      plane.publish(command.tables);
    } else if (command.kind === "write-tun") delivered.push(command.packet);
    else {
      plane.execute(now, command satisfies PlaneCommand);
      tunnel.handleCarriedOut(now, command);
    }
  }

  function settle(now: Instant): void {
    for (let isQuiet = false, turns = 0; !isQuiet; turns = nextTurn(turns, "tunnel and plane", SETTLED_MAX)) {
      isQuiet = true;
      for (let command = tunnel.pollCommand(); command !== undefined; command = tunnel.pollCommand()) {
        carryOut(now, command);
      }
      for (let event = plane.pollEvent(); event !== undefined; event = plane.pollEvent()) {
        tunnel.handlePlaneEvent(now, event);
        isQuiet = false;
      }
      for (let punt = plane.pollPunt(); punt !== undefined; punt = plane.pollPunt()) {
        tunnel.handlePunt(now, punt);
        isQuiet = false;
      }
      for (; published < plane.published(); published++) {
        const publication = publishing.shift();
        if (publication !== undefined) tunnel.handleCarriedOut(now, publication);
        isQuiet = false;
      }
    }
    // Everything that was punted has been handled, and carried out (TN-87).
    plane.releaseFlows();
    for (let next = plane.pollPacket(); next !== undefined; next = plane.pollPacket()) delivered.push(next);
  }

  return {
    plane,
    delivered,
    commands,
    pollTransmit(now) {
      settle(now);
      return tunnel.pollTransmit() ?? plane.pollTransmit();
    },
  };
}
