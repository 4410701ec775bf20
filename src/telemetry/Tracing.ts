/**
 * Traces: one server span for each request, one client span for each attempt, W3C context in and out, over OTLP/HTTP.
 *
 * The SDK's spans are used as they are. A span through `Effect.withSpan` costs 7 µs even where it is not sampled, so the
 * decision is made before there is a span: a request that is not sampled costs a comparison, and its context travels on
 * as the client sent it.
 */
import * as NodeSdk from "@effect/opentelemetry/NodeSdk"
import { layerTracer, OtelTracer } from "@effect/opentelemetry/OtelTracer"
import { layer as layerResource } from "@effect/opentelemetry/Resource"
import {
  type Attributes,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace
} from "@opentelemetry/api"
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

/** A span that is being recorded. Mutable by nature; to be ended once. */
export interface ActiveSpan {
  readonly traceId: string
  /** What the next in line gets as `traceparent`. */
  readonly traceparent: string
  readonly set: (attributes: Attributes) => void
  /** `error`: what went wrong, in a word; `undefined` where nothing did. */
  readonly end: (error: string | undefined) => void
}

export interface SpanDescription {
  readonly name: string
  readonly attributes: Attributes
}

export class Tracing extends Context.Service<
  Tracing,
  {
    /** Whether spans may hold what was asked and answered. */
    readonly captureContent: boolean
    /** Whether spans go anywhere. */
    readonly enabled: boolean
    /**
     * The span of a request, where it is sampled: as the caller decided, where it is trusted to, else by chance. It goes on
     * in the caller's trace either way. Only where it is sampled is it described.
     */
    readonly request: (
      traceparent: string | undefined,
      isTrusted: () => boolean,
      describe: () => SpanDescription
    ) => ActiveSpan | undefined
    /** The span of an attempt for it. */
    readonly attempt: (parent: ActiveSpan, name: string, attributes: Attributes) => ActiveSpan
  }
>()("weir/telemetry/Tracing") {
  static readonly layer = ({ serviceName, traces }: Telemetry): Layer.Layer<Tracing> => {
    if (traces === undefined) return Layer.succeed(Tracing, none)
    const exporter = Effect.map(Effect.context(), (context) =>
      reporting(new OTLPTraceExporter({ url: tracesUrl(traces.endpoint) }), (error) =>
        Effect.runForkWith(context)(Effect.logWarning("spans could not be sent", { error }))
      )
    )
    const provider = Layer.unwrap(
      Effect.map(exporter, (spans) =>
        NodeSdk.layerTracerProvider(new BatchSpanProcessor(spans), { sampler: new AlwaysOnSampler() })
      )
    )
    return Layer.effect(
      Tracing,
      Effect.gen(function* () {
        const tracer = yield* OtelTracer
        const random = yield* Random.Random
        const begin = (kind: SpanKind, parent: string | undefined, { attributes, name }: SpanDescription) => {
          const remote = parent === undefined ? undefined : contextOf(parent)
          const within = remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, remote)
          return activeSpan(tracer.startSpan(name, { kind, attributes }, within))
        }
        return Tracing.of({
          captureContent: traces.captureContent,
          enabled: true,
          request: (traceparent, isTrusted, describe) => {
            const remote = traceparent === undefined ? undefined : contextOf(traceparent)
            const isSampled =
              remote === undefined || !isTrusted()
                ? random.nextDoubleUnsafe() < traces.sampleRatio
                : (remote.traceFlags & TraceFlags.SAMPLED) !== 0
            return isSampled ? begin(SpanKind.SERVER, traceparent, describe()) : undefined
          },
          attempt: (parent, name, attributes) => begin(SpanKind.CLIENT, parent.traceparent, { name, attributes })
        })
      })
    ).pipe(
      Layer.provide(layerTracer),
      Layer.provide(provider),
      Layer.provide(layerResource({ serviceName, serviceVersion: version }))
    )
  }

  /** Nothing is traced. */
  static readonly layerNone = Layer.sync(Tracing, () => none)
}

const none: Tracing["Service"] = {
  captureContent: false,
  enabled: false,
  request: () => undefined,
  attempt: (parent) => parent
}

/** The collector's address; one without a path means the usual one. */
export const tracesUrl = (endpoint: string): string => {
  const url = new URL(endpoint)
  if (url.pathname === "/") url.pathname = "/v1/traces"
  return url.href
}

const traceparentForm = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** The context of a `traceparent`; `undefined` where it is none. */
const contextOf = (traceparent: string) => {
  const [, traceId, spanId, flags] = traceparentForm.exec(traceparent) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true }
}

/** The trace that a `traceparent` belongs to, sampled or not. */
export const traceIdOf = (traceparent: string | undefined): string | undefined =>
  traceparent === undefined ? undefined : traceparentForm.exec(traceparent)?.[1]

/** Of any version, since a later one has the flags in the same place. */
const flagsForm = /^([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-)([0-9a-f]{2})/

/** The same `traceparent`, of a trace that is not sampled. */
export const unsampled = (traceparent: string): string =>
  traceparent.replace(flagsForm, (_, ids: string, flags: string) => {
    const cleared = Number.parseInt(flags, 16) & ~TraceFlags.SAMPLED
    return ids + cleared.toString(16).padStart(2, "0")
  })

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
