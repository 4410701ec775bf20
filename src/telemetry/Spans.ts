/** Spans of the OpenTelemetry SDK, for {@link Tracing}. Only loaded where they go somewhere. */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { layerTracer, OtelTracer } from "@effect/opentelemetry/OtelTracer"
import { layer as layerResource } from "@effect/opentelemetry/Resource"
import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto"
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter
} from "@opentelemetry/sdk-trace-base"
import { Context, Effect, Layer, Random } from "effect"
import type { Telemetry } from "../domain/GatewayConfig.ts"
import { version } from "../domain/Version.ts"
import { contextOf, sampledFlag } from "./TraceContext.ts"
import type { ActiveSpan, SpanDescription, Tracing } from "./Tracing.ts"

type Traces = NonNullable<Telemetry["traces"]>

/** Where spans go. */
const layerSdk = (serviceName: string, { endpoint }: Traces) =>
  layerTracer.pipe(
    Layer.provide(
      Layer.unwrap(
        Effect.map(Effect.context(), (context) => {
          const exporter = reporting(new OTLPTraceExporter({ url: tracesUrl(endpoint) }), (error) =>
            Effect.runForkWith(context)(Effect.logWarning("spans could not be sent", { error }))
          )
          return NodeSdk.layerTracerProvider(new BatchSpanProcessor(exporter), { sampler: new AlwaysOnSampler() })
        })
      )
    ),
    Layer.provide(layerResource({ serviceName, serviceVersion: version }))
  )

export const makeTracing = Effect.fnUntraced(function* (serviceName: string, traces: Traces) {
  const tracer = Context.get(yield* Layer.build(layerSdk(serviceName, traces)), OtelTracer)
  const random = yield* Random.Random
  const begin = (kind: SpanKind, parent: string | undefined, { attributes, name }: SpanDescription) => {
    const remote = parent === undefined ? undefined : contextOf(parent)
    const within = remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote)
    return activeSpan(tracer.startSpan(name, { kind, attributes }, within))
  }
  const service: Tracing["Service"] = {
    captureContent: traces.captureContent,
    enabled: true,
    request: (traceparent, isTrusted, describe) => {
      const remote = traceparent === undefined ? undefined : contextOf(traceparent)
      const isSampled =
        remote === undefined || !isTrusted()
          ? random.nextDoubleUnsafe() < traces.sampleRatio
          : (remote.traceFlags & sampledFlag) !== 0
      return isSampled ? begin(SpanKind.SERVER, traceparent, describe()) : undefined
    },
    attempt: (parent, name, attributes) => begin(SpanKind.CLIENT, parent.traceparent, { name, attributes })
  }
  return service
})

/** The collector's address; one without a path means the usual one. */
const tracesUrl = (endpoint: string): string => {
  const url = new URL(endpoint)
  if (url.pathname === "/") url.pathname = "/v1/traces"
  return url.href
}

const activeSpan = (span: Span): ActiveSpan => {
  const { spanId, traceId } = span.spanContext()
  return {
    traceId,
    traceparent: `00-${traceId}-${spanId}-01`,
    set: (attributes) => {
      span.setAttributes(attributes)
    },
    end: (error) => {
      if (error !== undefined) {
        span.setAttribute("error.type", error)
        span.setStatus({ code: SpanStatusCode.ERROR, message: error })
      }
      span.end()
    }
  }
}

/** Milliseconds between two complaints: a collector that is away is away for every batch. */
const quietMillis = 60_000

/** The same exporter, which says so when it fails: spans that are lost in silence are looked for in vain. */
const reporting = (exporter: SpanExporter, complain: (error: string) => void): SpanExporter => {
  let complainedAt = Number.NEGATIVE_INFINITY
  return {
    export: (spans: Array<ReadableSpan>, done) =>
      exporter.export(spans, (result) => {
        const now = performance.now()
        if (result.error !== undefined && now - complainedAt > quietMillis) {
          complainedAt = now
          complain(result.error.message)
        }
        done(result)
      }),
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve()
  }
}
