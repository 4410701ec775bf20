/** What the data plane works with, gathered once. */
import { Effect } from "effect"
import { BackendAdapter } from "../backend/BackendAdapter.ts"
import { ModelLabels } from "../registry/ModelLabels.ts"
import { Registry } from "../registry/Registry.ts"
import { Admission } from "../resilience/Admission.ts"
import { CircuitBreaker } from "../resilience/CircuitBreaker.ts"
import { HedgePolicy } from "../resilience/HedgePolicy.ts"
import { RateLimiter } from "../resilience/RateLimiter.ts"
import { RetryPolicy } from "../resilience/RetryPolicy.ts"
import { Timers } from "../resilience/Timers.ts"
import { Router } from "../routing/Router.ts"
import { Scheduler } from "../scheduler/Scheduler.ts"
import { Metrics, Tracing } from "../telemetry/Telemetry.ts"
import { UpstreamTransport } from "../transport/UpstreamTransport.ts"

export const gatherServices = Effect.gen(function* () {
  return {
    registry: yield* Registry,
    router: yield* Router,
    scheduler: yield* Scheduler,
    admission: yield* Admission,
    breaker: yield* CircuitBreaker,
    timers: yield* Timers,
    hedging: yield* HedgePolicy,
    limiter: yield* RateLimiter,
    retry: yield* RetryPolicy,
    adapters: yield* BackendAdapter,
    transport: yield* UpstreamTransport,
    metrics: yield* Metrics,
    modelLabels: yield* ModelLabels,
    tracing: yield* Tracing
  }
})

export type ProxyServices = Effect.Success<typeof gatherServices>
