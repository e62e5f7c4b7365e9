export type { ConfigIssue } from "./document.ts";
export type { DevDefaults, FileOptions } from "./file-options.ts";
export { devModel, type FileResult, parsePortalFile } from "./parse-file.ts";
