/**
 * The triggers T1 to T12 (WG-42), in the order of the table, and the instant at which the next of
 * them can fire (WG-43).
 *
 * Deadlines that hang on traffic are read from the plane's activity block. Between two readings the
 * plane can only move them later, or make one where there was none; for the latter there is the
 * watch (WG-50), which wakes the machine with the first data packet of either direction. So the
 * machine sleeps until its deadline, reads the block again, and is exact.
 */
import type { Instant } from "../base/index.ts";
import type { PeerActivity } from "../plane/index.ts";
import { expire, giveUp, retransmit, schedule, sendScheduled } from "./attempt.ts";
import {
  CONFIRMATION_PAUSES_MS,
  COOKIE_USE_LIFE_MS,
  KEEPALIVE_TIMEOUT_MS,
  LAST_MINUTE_MS,
  NEW_HANDSHAKE_MS,
  REKEY_AFTER_TIME_MS,
} from "./constants.ts";
import type { DeviceCore } from "./device-core.ts";
import { queueKeepalive } from "./keepalive.ts";
import { activityOf, hasSession, type Peer, type Session, usableSession } from "./peer.ts";
import { dropStaged, forgetAttempt, retireAllSessions, retireSession } from "./sessions.ts";

/**
 * The watch is armed again at the earliest that long after it fired. Without the pause, a peer whose
 * T7 condition stays open under one-way traffic would report every packet.
 */
export const WATCH_REST_MS = 100;

/** Does everything that is due at `now`: the table of WG-42 from top to bottom. */
export function fireTriggers(core: DeviceCore, peer: Peer, now: Instant): void {
  if (peer.attempt.kind === "expired") return;
  retireOldSessions(core, peer, now); // T1
  forgetOldCookie(peer, now); // T2
  wipeAfterSilence(core, peer, now); // T3
  if (isExpired(peer)) return;

  if (isScheduledFor(peer, now)) {
    sendScheduled(core, peer, now); // T4
  } else {
    if (peer.attempt.kind === "pending") {
      if (now >= attemptEnd(peer, peer.attempt.startedAt)) giveUp(core, peer, now); // T5
      if (isExpired(peer)) return;
      retransmitIfDue(core, peer, now); // T6
    }
    scheduleIfDue(core, peer, now); // T7, T8, T9
    replyToData(core, peer, now); // T10
  }
  confirmAgain(core, peer, now); // T12
  keepAlive(core, peer, now); // T11
}

/** Whether the peer is given up; asked again after each step that may end it. */
function isExpired(peer: Peer): boolean {
  return peer.attempt.kind === "expired";
}

function retireOldSessions(core: DeviceCore, peer: Peer, now: Instant): void {
  for (const session of peer.sessions) {
    if (session !== undefined && now >= session.recvUntil) retireSession(core, peer, session);
  }
}

function forgetOldCookie(peer: Peer, now: Instant): void {
  if (peer.cookie === undefined || now - peer.cookie.receivedAt < COOKIE_USE_LIFE_MS) return;
  peer.cookie.value.fill(0);
  peer.cookie = undefined;
}

/** T3: nothing of a peer that made no session for so long is kept (WG-38). */
function wipeAfterSilence(core: DeviceCore, peer: Peer, now: Instant): void {
  if (peer.wipeAt === undefined || now < peer.wipeAt) return;
  peer.wipeAt = undefined;
  if (peer.policy.givingUp === "expired") {
    expire(core, peer, "no-session");
    return;
  }
  forgetAttempt(peer);
  retireAllSessions(core, peer);
  peer.cookie?.value.fill(0);
  peer.cookie = undefined;
  dropStaged(core, peer, "wg_no_response");
}

function isScheduledFor({ attempt, isReachable }: Peer, now: Instant): boolean {
  return attempt.kind === "scheduled" && isReachable && now >= attempt.at;
}

function attemptEnd(peer: Peer, startedAt: Instant): number {
  return startedAt + peer.policy.attemptTimeMs;
}

function retransmitIfDue(core: DeviceCore, peer: Peer, now: Instant): void {
  if (peer.attempt.kind === "pending" && now >= peer.attempt.retransmitAt) retransmit(core, peer, now);
}

function scheduleIfDue(core: DeviceCore, peer: Peer, now: Instant): void {
  if (!peer.policy.mayInitiate || peer.attempt.kind !== "idle" || core.own === undefined) return;
  const activity = activityOf(core.records, peer);
  const cause =
    renewalCause(peer, activity, now) ??
    unansweredCause(peer, activity, now) ??
    (isRenewedAfterExpiry(peer) ? "session expired" : undefined);
  if (cause !== undefined) schedule(core, peer, now, cause);
}

/** T7: the initiator of the current session renews it. */
function renewalCause(peer: Peer, activity: PeerActivity, now: Instant): string | undefined {
  const session = peer.current;
  if (session === undefined || !session.isInitiator) return undefined;
  if (peer.wantsRekey) return "message limit";
  const ageMs = now - session.madeAt;
  if (ageMs >= REKEY_AFTER_TIME_MS && wasSentOn(peer, session, activity)) return "session is 120 s old";
  if (ageMs >= LAST_MINUTE_MS && wasUsedOrIsRenewedIdle(peer, session, activity)) return "session ends soon";
  return undefined;
}

/**
 * T7a: in plain mode any packet counts, if sent after the 120 s; else any data packet (policy table).
 * What came before an attempt was given up, its initiations among it, asks for no other (WG-37).
 */
function wasSentOn(peer: Peer, session: Session, activity: PeerActivity): boolean {
  return peer.policy.keepalivesRenew
    ? activity.sentAny >= session.madeAt + REKEY_AFTER_TIME_MS && activity.sentAny > peer.dormantSince
    : activity.sentData >= session.madeAt;
}

/** T7b. */
function wasUsedOrIsRenewedIdle(peer: Peer, session: Session, activity: PeerActivity): boolean {
  if (peer.policy.renewsIdle) return true;
  return activity.recvData >= session.madeAt && activity.recvData > peer.dormantSince;
}

function unansweredCause(peer: Peer, activity: PeerActivity, now: Instant): string | undefined {
  const due = unansweredDeadline(peer, activity);
  return due !== undefined && now >= due ? "no answer to data" : undefined;
}

/** T8. After an attempt was given up, only data sent since then asks for another (WG-37). */
function unansweredDeadline(peer: Peer, activity: PeerActivity): number | undefined {
  if (!peer.policy.renewsUnanswered || activity.unanswered === 0) return undefined;
  if (activity.sentData <= peer.dormantSince) return undefined;
  return Math.max(activity.unanswered, peer.dormantSince) + NEW_HANDSHAKE_MS;
}

/** T9: the safety net behind T7b. */
function isRenewedAfterExpiry(peer: Peer): boolean {
  return peer.policy.renewsIdle && peer.current === undefined && peer.lastSessionWasOurs;
}

function replyToData(core: DeviceCore, peer: Peer, now: Instant): void {
  const session = usableSession(peer, now);
  if (session === undefined) return;
  const { unreplied } = activityOf(core.records, peer);
  if (unreplied !== 0 && now >= unreplied + KEEPALIVE_TIMEOUT_MS) queueKeepalive(core, peer, now, session);
}

function keepAlive(core: DeviceCore, peer: Peer, now: Instant): void {
  const due = keepaliveDeadline(core, peer, now);
  if (due === undefined || now < due) return;
  const session = usableSession(peer, now);
  if (session !== undefined) queueKeepalive(core, peer, now, session);
  else schedule(core, peer, now, "persistent keepalive");
}

/** T11; `undefined` where it can do nothing. */
function keepaliveDeadline(core: DeviceCore, peer: Peer, now: Instant): number | undefined {
  if (peer.keepaliveMs === 0) return undefined;
  const session = usableSession(peer, now);
  const mayStart =
    peer.policy.mayInitiate &&
    peer.policy.keepaliveInitiates &&
    peer.attempt.kind === "idle" &&
    core.own !== undefined;
  if (session === undefined && !mayStart) return undefined;
  const { sentAny, recvAny } = activityOf(core.records, peer);
  const began = session?.madeAt ?? peer.createdAt;
  return Math.max(sentAny, recvAny, began) + peer.keepaliveMs;
}

function confirmAgain(core: DeviceCore, peer: Peer, now: Instant): void {
  const due = confirmationDeadline(core, peer, now);
  const session = usableSession(peer, now);
  if (due === undefined || now < due || session === undefined) return;
  session.confirmations = { count: session.confirmations.count + 1, lastAt: now };
  queueKeepalive(core, peer, now, session);
}

/** T12: the responder of a first session cannot send before something has come on it (WG-77). */
function confirmationDeadline(core: DeviceCore, peer: Peer, now: Instant): number | undefined {
  const session = usableSession(peer, now);
  if (!peer.policy.repeatsConfirmation || !session?.isInitiator || !session.isFirst) return undefined;
  if (activityOf(core.records, peer).recvAny > session.madeAt) return undefined;
  const { count, lastAt } = session.confirmations;
  const pauseMs = CONFIRMATION_PAUSES_MS[count];
  return pauseMs === undefined ? undefined : lastAt + pauseMs;
}

export interface Deadline {
  readonly at: number;
  readonly reason: string;
}

/** When the next trigger can fire, and whether the watch must be armed for those that hang on traffic. */
export function nextDeadline(
  core: DeviceCore,
  peer: Peer,
  now: Instant,
): { readonly deadline: Deadline | undefined; readonly needsWatch: boolean } {
  if (peer.attempt.kind === "expired") return { deadline: undefined, needsWatch: false };
  const activity = activityOf(core.records, peer);
  const traffic = trafficDeadlines(core, peer, activity, now);
  const deadlines: (Deadline | undefined)[] = [
    ...peer.sessions.map((session) => session && { at: session.recvUntil, reason: "session expires" }),
    peer.cookie && { at: peer.cookie.receivedAt + COOKIE_USE_LIFE_MS, reason: "cookie expires" },
    peer.wipeAt === undefined ? undefined : { at: peer.wipeAt, reason: "keys are wiped" },
    ...attemptDeadlines(peer),
    ...renewalDeadlines(core, peer, activity, now),
    ...traffic.deadlines,
    named(keepaliveDeadline(core, peer, now), "persistent keepalive"),
    named(confirmationDeadline(core, peer, now), "confirmation"),
  ];
  return { deadline: firstOf(deadlines), needsWatch: traffic.needsWatch };
}

function attemptDeadlines(peer: Peer): readonly Deadline[] {
  const { attempt } = peer;
  if (attempt.kind === "scheduled") {
    return peer.isReachable ? [{ at: attempt.at, reason: `initiation: ${attempt.cause}` }] : [];
  }
  if (attempt.kind !== "pending") return [];
  return [
    { at: attempt.retransmitAt, reason: "retransmission" },
    { at: attemptEnd(peer, attempt.startedAt), reason: "end of the attempt" },
  ];
}

/** T7 and T9: ages that are still to come; a condition that is met already is due at once. */
function renewalDeadlines(
  core: DeviceCore,
  peer: Peer,
  activity: PeerActivity,
  now: Instant,
): readonly Deadline[] {
  if (!peer.policy.mayInitiate || peer.attempt.kind !== "idle" || core.own === undefined) return [];
  const cause = renewalCause(peer, activity, now);
  if (cause !== undefined) return [{ at: now, reason: cause }];
  if (isRenewedAfterExpiry(peer)) return [{ at: now, reason: "session expired" }];
  const { current } = peer;
  if (!current?.isInitiator) return [];
  return [
    { at: current.madeAt + REKEY_AFTER_TIME_MS, reason: "session is 120 s old" },
    { at: current.madeAt + LAST_MINUTE_MS, reason: "session ends soon" },
  ].filter(({ at }) => at > now);
}

function trafficDeadlines(
  core: DeviceCore,
  peer: Peer,
  activity: PeerActivity,
  now: Instant,
): { readonly deadlines: readonly (Deadline | undefined)[]; readonly needsWatch: boolean } {
  const { unanswered, unreplied } = activity;
  const isUsable = usableSession(peer, now) !== undefined;
  const deadlines = [
    peer.attempt.kind === "idle" && peer.policy.mayInitiate && core.own !== undefined
      ? named(unansweredDeadline(peer, activity), "no answer to data")
      : undefined,
    isUsable && unreplied !== 0 ? named(unreplied + KEEPALIVE_TIMEOUT_MS, "reply to data") : undefined,
  ];
  if (!hasSession(peer)) return { deadlines, needsWatch: false };

  const isQuiet = unanswered === 0 && unreplied === 0;
  if (isQuiet || waitsForUse(peer, activity, now)) {
    const restEnd = peer.lastWatchAt + WATCH_REST_MS;
    if (peer.lastWatchAt === 0 || now >= restEnd) return { deadlines, needsWatch: true };
    return { deadlines: [...deadlines, named(restEnd, "watch")], needsWatch: false };
  }
  // Data is answered or replied to without the watch: whatever begins after this reading is due
  // KEEPALIVE_TIMEOUT_MS after it at the earliest.
  if (unreplied === 0) deadlines.push(named(now + KEEPALIVE_TIMEOUT_MS, "activity"));
  return { deadlines, needsWatch: false };
}

/** Whether the current session has reached an age of T7 whose condition is still open (WG-50). */
function waitsForUse(peer: Peer, activity: PeerActivity, now: Instant): boolean {
  const session = peer.current;
  if (!peer.policy.mayInitiate || peer.attempt.kind !== "idle" || !session?.isInitiator) return false;
  const ageMs = now - session.madeAt;
  return (
    (ageMs >= REKEY_AFTER_TIME_MS && !wasSentOn(peer, session, activity)) ||
    (ageMs >= LAST_MINUTE_MS && !wasUsedOrIsRenewedIdle(peer, session, activity))
  );
}

function named(at: number | undefined, reason: string): Deadline | undefined {
  return at === undefined ? undefined : { at, reason };
}

function firstOf(deadlines: readonly (Deadline | undefined)[]): Deadline | undefined {
  let first: Deadline | undefined;
  for (const deadline of deadlines) {
    if (deadline !== undefined && (first === undefined || deadline.at < first.at)) first = deadline;
  }
  return first;
}
