export { CONTENT_TYPE, formatMetrics } from "./exposition.ts";
export {
  FAMILIES,
  type HistogramValue,
  type Labels,
  type MetricName,
  type Sample,
  sample,
  samplesBy,
} from "./families.ts";
export { createHistogram, type Histogram } from "./histogram.ts";
export { createLoopMeter, type LoopMeter } from "./loop-meter.ts";
export { formatOtlp, type OtlpReport, parseResourceAttributes } from "./otlp.ts";
export { type Push, type PushSettings, startPush } from "./otlp-push.ts";
export { planeSamples } from "./plane-samples.ts";
export { type ProcessParts, processSamples } from "./process-samples.ts";
export { openServices, type ServiceOptions, type ServiceParts } from "./services.ts";
