/** What Deno lets us do: it is not asked for what it has not been given (PG-122). */
import { currentRuntime } from "../../../bindings/runtime/index.ts";

export type Permission =
  | { readonly name: "ffi" }
  | { readonly name: "read"; readonly path: string }
  | { readonly name: "sys"; readonly kind: "osUptime" };

interface DenoPermissions {
  readonly permissions: { querySync(of: Permission): { readonly state: string } };
}

/** The other runtimes permit everything. */
export function isPermitted(permission: Permission): boolean {
  if (currentRuntime() !== "deno") return true;
  const { Deno: deno } = globalThis as unknown as { readonly Deno: DenoPermissions };
  return deno.permissions.querySync(permission).state === "granted";
}
