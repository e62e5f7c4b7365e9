/** `postern id [ROLE]`: by what the portal knows this host (PG-23 to PG-25). */
import { PosternError } from "../../base/index.ts";
import { type IdentifiedRole, resolveIdentifier, stateFolder } from "../../host/index.ts";
import { EXIT } from "../exit.ts";
import type { ProgramIo } from "../io.ts";
import type { IdOptions } from "../options.ts";

const ROLES: readonly IdentifiedRole[] = ["client", "gateway"];

/** Makes one where there is none. @throws PosternError `usage`, `id-…` */
export function printIdentifier({ role: word = "client", instance, id }: IdOptions, io: ProgramIo): number {
  const role = ROLES.find((one) => one === word);
  if (role === undefined) {
    throw new PosternError("usage", `id: '${word}' has no identifier`, `it is one of ${ROLES.join(", ")}`);
  }
  const path = `${stateFolder(io.env)}/${instance ?? role}-id.json`;
  io.print(resolveIdentifier({ role, path, ...(id === undefined ? {} : { configured: id }) }, io.log));
  return EXIT.ok;
}
