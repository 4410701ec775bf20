/** The face of the room: traces, metrics, logs. Every other room may use what is named here. */

export { Exposition } from "./Exposition.ts"
export { AccessLog, defaultLogs, LogSettings, layerLogs, layerStderr, writeToStderr } from "./Logs.ts"
export { Metrics } from "./Metrics.ts"
export { layerProcessFigures } from "./ProcessFigures.ts"
export { redact, scrub } from "./Redaction.ts"
export { type ActiveSpan, type SpanDescription, Tracing, traceIdOf } from "./Tracing.ts"
