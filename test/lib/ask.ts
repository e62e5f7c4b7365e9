/** What a running program says of its connections when it is asked on its control socket (PG-107). */
import type { ConnectionView, PairView, WhyView } from "../../src/program/control/index.ts";
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import type { Office } from "./office.ts";

type Asking = Pick<Office, "postern">;

/** `postern connections` on a machine (PG-110). */
export function connectionsOf(office: Asking, where: Namespace): Promise<readonly ConnectionView[]> {
  return ask(office, where, "connections");
}

/** `postern why` on a machine (PG-190). */
export function whyOf(office: Asking, where: Namespace): Promise<readonly WhyView[]> {
  return ask(office, where, "why");
}

/** What the only connection says of the pair of addresses in use. */
export async function pairInUse(office: Asking, where: Namespace): Promise<PairView | undefined> {
  const [view] = await whyOf(office, where);
  return view?.pairs.find(({ state }) => state === "selected");
}

async function ask<T>(office: Asking, where: Namespace, command: "connections" | "why"): Promise<T> {
  const child: Child = office.postern(where, [command, "--json"]);
  const { status } = await child.wait(10_000);
  if (status !== 0) throw new Error(`postern ${command} ended with ${status}: ${child.stderr()}`);
  return JSON.parse(child.stdout()) as T;
}
