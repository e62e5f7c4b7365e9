/** Allocation ports: which is taken next, and those kept for the second of a pair (RL-20, RL-21). */
import { after, type Instant, type Random, randomBelow, randomBytes, toHex } from "../base/index.ts";
import { RESERVATION_MS, RESERVATION_TOKEN_BYTES } from "./constants.ts";
import type { PortChoice, Reservation, ServerState } from "./state.ts";

/** A port of the range that is free, at random; `undefined`: there is none. It is used from now on. */
export function takePort(
  state: ServerState,
  choice: PortChoice,
  tried: readonly number[],
): number | undefined {
  if (choice.kind === "reserved") return tried.length === 0 ? choice.port : undefined;
  const { usedPorts, random } = state;
  const isFree = (port: number): boolean => !usedPorts.has(port) && !tried.includes(port);
  const fits = (port: number): boolean =>
    isFree(port) && (choice.kind !== "even-with-next" || !usedPorts.has(port + 1));
  const port = drawPort(random, candidatesOf(state, choice), fits);
  if (port === undefined) return undefined;
  usedPorts.add(port);
  if (choice.kind === "even-with-next") usedPorts.add(port + 1);
  return port;
}

/** Gives back what `takePort` took. */
export function returnPort({ usedPorts }: ServerState, choice: PortChoice, port: number): void {
  usedPorts.delete(port);
  if (choice.kind === "even-with-next") usedPorts.delete(port + 1);
}

/** Keeps the port above `port`, which `takePort` took as well. @returns its token */
export function reserveNext(
  state: ServerState,
  now: Instant,
  { port, salt, holder }: { readonly port: number; readonly salt: string; readonly holder: string },
): string {
  // One at a time for each: otherwise a single user could reserve all ports there are (RL-60).
  const former = state.reservationOf.get(holder);
  if (former !== undefined) endReservation(state, former);
  const token = toHex(randomBytes(state.random, RESERVATION_TOKEN_BYTES));
  const reservation: Reservation = {
    kind: "reservation",
    token,
    port: port + 1,
    salt,
    holder,
    dueAt: undefined,
    place: -1,
  };
  state.reservations.set(token, reservation);
  state.reservationOf.set(holder, reservation);
  state.timers.set(reservation, after(now, RESERVATION_MS));
  return token;
}

/** Ends a reservation and frees its port. */
export function endReservation(state: ServerState, reservation: Reservation): void {
  forgetReservation(state, reservation);
  state.usedPorts.delete(reservation.port);
}

/** The port that this token kept for this user; it stays used. */
export function redeem(state: ServerState, token: string, salt: string): number | undefined {
  const reservation = state.reservations.get(token);
  if (reservation === undefined || reservation.salt !== salt) return undefined;
  forgetReservation(state, reservation);
  return reservation.port;
}

function forgetReservation({ reservations, reservationOf, timers }: ServerState, ended: Reservation): void {
  reservations.delete(ended.token);
  reservationOf.delete(ended.holder);
  timers.set(ended, undefined);
}

interface Candidates {
  readonly first: number;
  readonly count: number;
  readonly step: 1 | 2;
}

function candidatesOf({ options }: ServerState, { kind }: PortChoice): Candidates {
  const { lowest, highest } = options.ports;
  if (kind === "any") return { first: lowest, count: highest - lowest + 1, step: 1 };
  const first = lowest + (lowest % 2);
  const last = kind === "even-with-next" ? highest - 1 : highest;
  return { first, count: Math.max(0, Math.floor((last - first) / 2) + 1), step: 2 };
}

/** So many draws hit a free port for certain, unless nearly all are in use: then the next free one is taken. */
const DRAWS_MAX = 16;

function drawPort(
  random: Random,
  { first, count, step }: Candidates,
  fits: (port: number) => boolean,
): number | undefined {
  if (count === 0) return undefined;
  let port = first;
  for (let draw = 0; draw < DRAWS_MAX; draw++) {
    port = first + step * randomBelow(random, count);
    if (fits(port)) return port;
  }
  const start = (port - first) / step;
  for (let i = 1; i < count; i++) {
    const next = first + step * ((start + i) % count);
    if (fits(next)) return next;
  }
  return undefined;
}
