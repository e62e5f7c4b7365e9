import { expect, it } from "vitest";
import { runFolders, stateFolder } from "../../../src/host/index.ts";

it.each([
  [{}, ["/run/postern"]],
  [{ XDG_RUNTIME_DIR: "" }, ["/run/postern"]],
  [{ XDG_RUNTIME_DIR: "/run/user/7" }, ["/run/postern", "/run/user/7/postern"]],
  [{ RUNTIME_DIRECTORY: "/run/a:/run/b", XDG_RUNTIME_DIR: "/run/user/7" }, ["/run/a"]],
  [{ RUNTIME_DIRECTORY: "" }, ["/run/postern"]],
  [{ RUNTIME_DIRECTORY: "relative" }, ["/run/postern"]],
])("PG-10: with %j locks and sockets lie in %j", (env, folders) => {
  expect(runFolders(env)).toEqual(folders);
});

it.each([
  [{}, "/var/lib/postern"],
  [{ STATE_DIRECTORY: "/var/lib/other" }, "/var/lib/other"],
  [{ STATE_DIRECTORY: "/var/lib/other:/var/lib/more" }, "/var/lib/other"],
  [{ STATE_DIRECTORY: "" }, "/var/lib/postern"],
])("PG-23: with %j identifiers lie in %s", (env, folder) => {
  expect(stateFolder(env)).toBe(folder);
});
