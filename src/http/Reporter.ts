/** What is written down of every request when it has ended: metrics and one line in the log. */
import { Cause, Effect, Exit } from "effect"
import type { GatewayError } from "../domain/Errors.ts"
import type { Listener } from "../domain/Listener.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import type { RequestReport } from "../proxy/Proxy.ts"
import { AccessLog, Metrics, traceIdOf } from "../telemetry/Telemetry.ts"
import type { Incoming } from "./Incoming.ts"
import { endSpan } from "./RequestSpan.ts"
import type { BuiltinRoute } from "./routes/BuiltinRoutes.ts"

export interface Reporter {
  /** The answer is the gateway's own error. */
  readonly refused: (listener: Listener, report: RequestReport, error: GatewayError) => void
  /** Everything was sent, or given up. */
  readonly ended: (
    incoming: Incoming,
    listener: Listener,
    own: BuiltinRoute | undefined,
    report: RequestReport,
    exit: Exit.Exit<unknown, unknown>
  ) => void
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

/** What says that a pool had no place for a request. */
const noPlace = new Set(["queue_full", "queue_timeout", "no_healthy_backend"])

/** The status that stands for a client that left before it got one (as nginx has it). */
const clientGoneStatus = 499

export const makeReporter = Effect.gen(function* () {
  const metrics = yield* Metrics
  const log = yield* AccessLog
  const clock = yield* MonotonicClock
  const reporter: Reporter = {
    refused: (listener, report, error) => {
      metrics.httpErrors({ listener: listener.name, code: error.code, status: String(error.status) })(1)
      report.error = error.code
      if (noPlace.has(error.code)) metrics.rejected({ pool: report.pool ?? "other", reason: error.code })(1)
    },
    ended: (incoming, listener, own, report, exit) => {
      const left = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && !report.isStopped
      if (left) report.end ??= "client_gone"
      if (left && report.end !== "complete") report.end = "client_gone"
      const { headersSent, statusCode } = incoming.response
      const status = left && !headersSent ? clientGoneStatus : statusCode
      const route = own?.route ?? incoming.endpoint?.route ?? "other"
      const millis = clock.now() - report.receivedAt
      const method = methods.has(incoming.method) ? incoming.method : "other"
      metrics.httpRequests({ listener: listener.name, route, method, status: String(status) })(1)
      metrics.httpDuration({ listener: listener.name, route })(millis / 1000)
      if (report.attempts > 0) metrics.overhead(Math.max(0, millis - report.queued - report.upstream) / 1000)
      if (report.span !== undefined) endSpan(report.span, report, status)
      if (log.enabled && own === undefined) {
        log.write("request", {
          requestId: incoming.id,
          traceId: report.span?.traceId ?? traceIdOf(incoming.header("traceparent")),
          listener: listener.name,
          method: incoming.method,
          path: incoming.path,
          status,
          durationMs: rounded(millis),
          pool: report.pool,
          backend: report.backend,
          model: report.model,
          attempts: report.attempts,
          queuedMs: rounded(report.queued),
          firstOutputMs: report.firstOutput === undefined ? undefined : rounded(report.firstOutput),
          end: report.end
        })
      }
    }
  }
  return reporter
})

const rounded = (millis: number): number => Math.round(millis * 10) / 10
