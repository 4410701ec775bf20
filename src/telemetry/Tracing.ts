/**
 * Traces: one server span for each request, one client span for each attempt, W3C context in and out, over OTLP/HTTP.
 *
 * The SDK's spans are used as they are. A span through `Effect.withSpan` costs 7 µs even where it is not sampled, so the
 * decision is made before there is a span: a request that is not sampled costs a comparison, and its context travels on
 * as the client sent it.
 */
import type { Attributes } from "@opentelemetry/api"
import { Context, Effect, Layer } from "effect"
import type { Telemetry } from "../domain/GatewayConfig.ts"

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
    // A third of all that a start loads, and most gateways trace nothing.
    const spans = Effect.promise(() => import("./Spans.ts"))
    return Layer.effect(
      Tracing,
      Effect.flatMap(spans, ({ makeTracing }) => makeTracing(serviceName, traces))
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
