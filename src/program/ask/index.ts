export {
  type AskOptions,
  checkHealth,
  commandInternet,
  commandLog,
  commandReset,
  commandStop,
  explainConnections,
  lookUpName,
  type ShowOptions,
  type StatusOptions,
  showConnections,
  showFlows,
  showResources,
  showStatus,
} from "./ask.ts";
export { printable, wrap } from "./table.ts";
