/** What a connection does by itself when a deadline has passed. */
import { after, type Instant } from "../base/index.ts";
import { findLost } from "./acknowledging.ts";
import { enterLoss } from "./congestion.ts";
import { type Connection, type Deadline, isSynchronized } from "./connection.ts";
import { KEEP_ALIVE_INTERVAL_MAX_MS, KEEP_ALIVE_PROBES_MAX } from "./constants.ts";
import { loseAtTimeout } from "./rack.ts";
import { backOff } from "./round-trip.ts";
import { forgetSacks, hasReneged, loseAll } from "./sent-ranges.ts";

export type TimerVerdict = "again" | "give-up";

/** Works off one deadline that has passed. */
export function handleDeadline(connection: Connection, now: Instant, which: Deadline): TimerVerdict {
  const { sender, receiver, deadlines } = connection;
  deadlines[which] = undefined;
  switch (which) {
    case "rto":
      return isSynchronized(connection) ? handleRto(connection, now) : handleSynTimeout(connection, now);
    case "probe":
      sender.isTailDue = true;
      deadlines.rto = after(now, sender.rtt.rtoMs);
      return "again";
    case "reorder":
      findLost(connection, now);
      return "again";
    case "persist":
      return handlePersist(connection);
    case "delayedAck":
      receiver.acksDue = Math.max(1, receiver.acksDue);
      return "again";
    case "keepAlive":
      return handleKeepAlive(connection, now);
    case "limit":
      return "give-up";
  }
}

/** What is under way is taken for lost, and with RACK only what is overdue; one segment goes first (RFC 6298 §5.4 to §5.6). */
function handleRto(connection: Connection, now: Instant): TimerVerdict {
  const { sender, profile, deadlines } = connection;
  const { congestion, rtt, rack } = sender;
  if (sender.una === sender.nxt) return "again";
  const isRepeated = sender.sends > 0;
  sender.sends++;
  if (sender.sends >= profile.dataSendsMax) return "give-up";
  if (!isRepeated) sender.retransmittedAt = undefined;
  enterLoss(congestion, { flightBytes: sender.nxt - sender.una, until: sender.nxt, isRepeated });
  lose(connection, now);
  backOff(rtt, profile.rtoMaxMs);
  sender.duplicateAcks = 0;
  sender.isTailDue = false;
  rack.tail = undefined;
  deadlines.probe = undefined;
  deadlines.reorder = undefined;
  deadlines.rto = after(now, rtt.rtoMs);
  return "again";
}

function lose({ hasSack, sender }: Connection, now: Instant): void {
  const { sent, rack } = sender;
  if (hasSack && !hasReneged(sent)) return loseAtTimeout(sent, rack, now, sender);
  forgetSacks(sent);
  loseAll(sent);
}

function handleSynTimeout({ sender, profile, deadlines }: Connection, now: Instant): TimerVerdict {
  if (sender.sends >= profile.synSendsMax) return "give-up";
  backOff(sender.rtt, profile.rtoMaxMs);
  deadlines.rto = after(now, sender.rtt.rtoMs);
  sender.isSynDue = true;
  return "again";
}

/** A window that is not wide enough is used, one that is closed is asked after. */
function handlePersist({ sender, profile }: Connection): TimerVerdict {
  if (sender.una + sender.windowBytes > sender.nxt) {
    sender.isRestDue = true;
    return "again";
  }
  if (sender.sends >= profile.windowProbesMax) return "give-up";
  sender.sends++;
  sender.probes++;
  sender.isProbeDue = true;
  return "again";
}

/** A peer of which nothing is heard is asked whether it still knows us (RFC 9293 §3.8.4). */
function handleKeepAlive(connection: Connection, now: Instant): TimerVerdict {
  const { sender, deadlines, keepAliveMs } = connection;
  if (keepAliveMs === undefined) return "again";
  deadlines.keepAlive = after(now, Math.min(keepAliveMs, KEEP_ALIVE_INTERVAL_MAX_MS));
  // What is under way or waits for a window asks already.
  if (sender.una !== sender.nxt || deadlines.persist !== undefined) return "again";
  if (connection.keepAlives >= KEEP_ALIVE_PROBES_MAX) return "give-up";
  connection.keepAlives++;
  sender.isProbeDue = true;
  return "again";
}

/** Something came from the peer: it is alive. */
export function noteAlive(connection: Connection, now: Instant): void {
  const { keepAliveMs, deadlines } = connection;
  connection.keepAlives = 0;
  deadlines.keepAlive = keepAliveMs === undefined ? undefined : after(now, keepAliveMs);
}
