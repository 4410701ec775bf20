/** The face of the room: traces, metrics, logs. Every other room may use what is named here. */

export { scrub } from "./Credentials.ts"
export { Exposition } from "./Exposition.ts"
export { makeLogQueue } from "./LogQueue.ts"
export { AccessLog, defaultLogs, LogSettings, layerLogs, layerStderr } from "./Logs.ts"
export { Metrics } from "./Metrics.ts"
export { escapeActing, quoted } from "./PlainText.ts"
export { layerProcessMetrics } from "./ProcessMetrics.ts"
export { redact } from "./Redaction.ts"
export { keptForMillis } from "./SeriesTree.ts"
export { traceIdOf, unsampled } from "./TraceContext.ts"
export { type ActiveSpan, type SpanDescription, Tracing } from "./Tracing.ts"
