export {
  type AskOptions,
  checkHealth,
  commandLog,
  commandReset,
  commandStop,
  explainConnections,
  type ShowOptions,
  type StatusOptions,
  showConnections,
  showResources,
  showStatus,
} from "./ask.ts";
export { printable, wrap } from "./table.ts";
