export { CONTENT_TYPE, formatMetrics } from "./exposition.ts";
export {
  FAMILIES,
  inSeconds,
  type Labels,
  type MetricName,
  type Sample,
  sample,
  samplesBy,
} from "./families.ts";
export { createLoopMeter, type LoopMeter } from "./loop-meter.ts";
export { formatOtlp, type OtlpReport, parseResourceAttributes } from "./otlp.ts";
export { type Push, type PushSettings, startPush } from "./otlp-push.ts";
export { planeSamples } from "./plane-samples.ts";
export { type ProcessParts, processSamples } from "./process-samples.ts";
export { openServices, type ServiceOptions, type ServiceParts } from "./services.ts";
