/** The span of a request, in the names of OpenTelemetry's HTTP conventions; the gateway's own pages have none. */
import type { Listener } from "../domain/Listener.ts"
import type { RequestReport } from "../proxy/Proxy.ts"
import { type ActiveSpan, type SpanDescription, type Tracing, unsampled } from "../telemetry/Telemetry.ts"
import type { Incoming } from "./Incoming.ts"

/** A client's words are not kept at any length. */
const maxAttributeChars = 512

/** `isTrusted`: whether the client decides about the sampling; asked only where there is something to decide. */
export const beginSpan = (
  tracing: Tracing["Service"],
  incoming: Incoming,
  listener: Listener,
  isTrusted: () => boolean
): ActiveSpan | undefined =>
  tracing.request(incoming.header("traceparent"), isTrusted, () => describe(incoming, listener))

/** Headers in which a trace goes on that is not sampled, whatever its `traceparent` said. */
export const withoutSampledFlag = (raw: ReadonlyArray<string>): ReadonlyArray<string> =>
  raw.map((text, index) =>
    index % 2 === 1 && raw[index - 1]?.toLowerCase() === "traceparent" ? unsampled(text) : text
  )

const describe = ({ endpoint, header, id, message, method, path }: Incoming, listener: Listener): SpanDescription => {
  const route = endpoint?.route
  return {
    name: route === undefined ? method : `${method} ${route}`,
    attributes: {
      "http.request.method": method,
      "network.protocol.version": message.httpVersion,
      "url.path": path.slice(0, maxAttributeChars),
      "url.scheme": listener.tls === undefined ? "http" : "https",
      "weir.listener": listener.name,
      "weir.request_id": id,
      ...(route !== undefined && { "http.route": route }),
      "user_agent.original": (header("user-agent") ?? "").slice(0, maxAttributeChars)
    }
  }
}

export const endSpan = (span: ActiveSpan, report: RequestReport, status: number): void => {
  span.set({
    "http.response.status_code": status,
    "weir.attempts": report.attempts,
    "weir.queue_ms": report.queued,
    ...(report.pool !== undefined && { "weir.pool": report.pool }),
    ...(report.backend !== undefined && { "weir.backend": report.backend }),
    ...(report.firstOutput !== undefined && { "weir.first_output_ms": report.firstOutput }),
    ...(report.usage !== undefined && {
      "gen_ai.usage.input_tokens": report.usage.prompt,
      "gen_ai.usage.output_tokens": report.usage.completion
    })
  })
  const cut = report.end === undefined || report.end === "complete" ? undefined : report.end
  span.end(report.error ?? cut ?? (status >= 500 ? String(status) : undefined))
}
