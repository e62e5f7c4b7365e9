export {
  type AskOptions,
  checkHealth,
  commandLog,
  commandReset,
  commandStop,
  type ShowOptions,
  type StatusOptions,
  showConnections,
  showResources,
  showStatus,
} from "./ask.ts";
