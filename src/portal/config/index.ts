export type { DevDefaults } from "./build-model.ts";
export type { ConfigIssue } from "./document.ts";
export { devModel, type FileOptions, type FileResult, parsePortalFile } from "./parse-file.ts";
