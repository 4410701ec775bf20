/**
 * Keeps what is known of each backend true: one scheduled fiber a backend asks it how it is, which models it has and
 * how much it has to do. A backend that hangs delays no other one's probe.
 */
import { Cause, Context, Duration, Effect, Equal, FiberMap, Latch, Layer, Random, Stream } from "effect"
import { BackendAdapter, type ProbeAnswer, type ProbeKind, restFor } from "../backend/BackendAdapter.ts"
import { type ModelInfo, standingOf } from "../domain/Health.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import {
  type BackendEntry,
  type BackendState,
  type Happened,
  type HealthChange,
  modelsReason,
  Registry
} from "../registry/Registry.ts"
import { makeLogQueue } from "../telemetry/Telemetry.ts"
import { type UpstreamResponse, UpstreamTransport } from "../transport/UpstreamTransport.ts"
import { parseProbe } from "./ProbeJson.ts"

export class HealthProber extends Context.Service<
  HealthProber,
  {
    /** Probes one backend now, outside its schedule; returns when what was found has been noted. */
    readonly probe: (name: string) => Effect.Effect<void>
  }
>()("weir/health/HealthProber") {
  static readonly layer = Layer.effect(
    HealthProber,
    Effect.gen(function* () {
      const registry = yield* Registry
      const adapters = yield* BackendAdapter
      const transport = yield* UpstreamTransport
      const clock = yield* MonotonicClock

      /** What a probe brought; `undefined`: this kind of backend is not asked for that. */
      const ask = Effect.fnUntraced(
        function* (backend: BackendEntry, kind: ProbeKind) {
          const outgoing = adapters.probe(backend.config, kind)
          if (outgoing === undefined) return undefined
          const target = { ...backend, config: adapters.probeTarget(backend.config, kind) }
          const member = { backend: target, weight: 1, priority: 0, timeouts: probeTimeouts(backend) }
          const response = yield* transport.send(adapters.prepare(member, backend.client, outgoing), () => {})
          if (kind === "health") backend.state.probeAsksForRest = asksForRest(response)
          return yield* readAnswer(response)
        },
        (effect, backend) =>
          effect.pipe(
            Effect.timeoutOrElse({
              duration: backend.probing.timeout,
              orElse: () => Effect.succeed(new NoAnswer(`no answer within ${backend.probing.timeout} ms`))
            }),
            Effect.catch((failure) =>
              Effect.succeed(failure.kind === "local" ? unasked : new NoAnswer(failure.message))
            ),
            // A bug of ours while asking is no answer either: nothing is called healthy because we cannot look.
            Effect.catchDefect((defect) =>
              Effect.as(logDefect(backend.name, Cause.die(defect)), new NoAnswer("the probe failed"))
            )
          )
      )

      const modelsAreHealth = ({ config }: BackendEntry): boolean => {
        if (adapters.probeTarget(config, "health") !== config) return false
        const [health, models] = [adapters.probe(config, "health"), adapters.probe(config, "models")]
        return health?.path === models?.path && health?.query === models?.query
      }

      const note = (backend: BackendEntry, health: Asked, models: Asked) => {
        const { probing, state } = backend
        const { found, reason } = verdictOf(backend, health, models)
        const now = clock.now()
        state.probed(found, probing, probing.interval * probing.unhealthyAfter, now, reason)
        state.outcomes.record(found === "healthy" || found === "busy", now)
      }

      const verdictOf = (backend: BackendEntry, health: Asked, models: Asked) => {
        if (!isAnswer(health)) {
          const reason = health instanceof NoAnswer ? `probe: ${health.reason}` : "a probe cannot be made"
          return { found: "unhealthy", reason } as const
        }
        const found = adapters.of(backend.config).health(health)
        const fault = found === "healthy" || found === "busy" ? faultOf(backend, models) : undefined
        return fault === undefined
          ? { found, reason: `probe answered with ${health.status}` }
          : ({ found: "misconfigured", reason: fault } as const)
      }

      /**
       * What is wrong with the answer to a question for the list of models. Engines with a key of their own ask for it
       * there and not where they tell their health; a list that is forbidden (403) may be all that is.
       */
      const faultOf = (backend: BackendEntry, models: Asked): string | undefined => {
        if (!isAnswer(models)) return undefined
        if (models.status === 401) return "it refuses the configured credential at /v1/models (401)"
        const isNoList = models.status === 200 && !isList(backend, models)
        return isNoList ? "what it answers to /v1/models is no list of models" : undefined
      }

      /** Where its models are configured, its list need not be one that we read: but a page for people is none. */
      const isList = ({ config, models }: BackendEntry, answer: ProbeAnswer): boolean =>
        models === undefined ? adapters.of(config).models(answer) !== undefined : !isPage(answer)

      /** Its list of models, where that is asked for: its health may be told by it, or what it serves is not configured. */
      const askModels = (backend: BackendEntry, health: Asked): Effect.Effect<Asked> => {
        if (!isAnswer(health)) return Effect.undefined
        if (modelsAreHealth(backend)) return Effect.succeed(health)
        return backend.models === undefined ? ask(backend, "models") : Effect.undefined
      }

      const lookAtModels = (backend: BackendEntry, answer: Asked) => {
        if (backend.models !== undefined || !isAnswer(answer) || answer.status !== 200) return
        const models = adapters.of(backend.config).models(answer)
        const before = backend.state.models
        if (models === undefined || !backend.state.setModels(byId(models), clock.now())) return
        registry.modelsChanged()
        registry.publish(modelsChange(backend, before))
      }

      const lookAtLoad = Effect.fnUntraced(function* (backend: BackendEntry) {
        const answer = yield* ask(backend, "load")
        const reading = isAnswer(answer) ? adapters.of(backend.config).load(answer) : undefined
        if (reading !== undefined) backend.state.reported(reading, clock.now())
      })

      const probe = Effect.fn("HealthProber.probe")(function* (name: string) {
        const backend = registry.current().backends.get(name)
        if (backend === undefined || !backend.config.enabled) return
        const health = yield* ask(backend, "health")
        if (health === unasked) return
        const models = yield* askModels(backend, health)
        // It is not told that it is healthy before it is known what it has: it would get requests for other models.
        lookAtModels(backend, models)
        note(backend, health, models)
        if (isAnswer(health)) yield* lookAtLoad(backend)
      })

      /** Probes on and on: after each interval (jittered), or at once when it is woken. */
      const watch = Effect.fnUntraced(function* (name: string, wake: Latch.Latch) {
        for (;;) {
          wake.closeUnsafe()
          // A defect in one probe must not end the watch over this backend.
          yield* probe(name).pipe(Effect.catchCause((cause) => logDefect(name, cause)))
          const backend = registry.current().backends.get(name)
          if (backend === undefined) return
          const jitter = yield* Random.nextBetween(0.8, 1.2)
          yield* Effect.raceFirst(Effect.sleep(Duration.millis(backend.probing.interval * jitter)), wake.await)
        }
      })

      const tell = yield* makeLogQueue(logChange)

      const probed = new Map<string, Probed>()
      const fibers = yield* FiberMap.make<string>()
      const watchOver = Effect.fnUntraced(function* (backend: BackendEntry) {
        const { name, state } = backend
        const asked = probeSettings(backend)
        const known = probed.get(name)
        if (known?.state === state) {
          // What is known was found with other settings: another path, other credentials, another interval.
          if (!Equal.equals(known.asked, asked)) known.wake.openUnsafe()
          probed.set(name, { ...known, asked })
          return
        }
        const wake = Latch.makeUnsafe(false)
        // Traffic says that something is wrong.
        state.health.onSuspicion(() => wake.openUnsafe())
        state.health.onChange((change) => {
          tell({ backend: name, ...change })
          registry.publish({ kind: "health", name, ...change })
        })
        probed.set(name, { state, asked, wake })
        yield* FiberMap.run(fibers, name, watch(name, wake))
      })
      yield* registry.follow(
        Effect.fnUntraced(function* ({ backends }) {
          for (const name of probed.keys()) {
            if (backends.has(name)) continue
            probed.delete(name)
            yield* FiberMap.remove(fibers, name)
          }
          yield* Effect.forEach(backends.values(), watchOver, { discard: true })
        })
      )

      return HealthProber.of({ probe })
    })
  )
}

/** We lacked descriptors or ports for the question: what was known of the backend stays as it is. */
const unasked = Symbol("the backend could not be asked")

/** Why a probe has no answer, for a person. */
class NoAnswer {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

type Asked = ProbeAnswer | NoAnswer | typeof unasked | undefined

const isPage = ({ body }: ProbeAnswer): boolean => typeof body === "string" && body.trimStart().startsWith("<")

const isAnswer = (asked: Asked): asked is ProbeAnswer =>
  asked !== undefined && asked !== unasked && !(asked instanceof NoAnswer)

const logChange = ({ to, ...change }: HealthChange & { readonly backend: string }) => {
  const log = standingOf(to) === "out" ? Effect.logWarning : Effect.logInfo
  return log("backend changed", { ...change, to })
}

const modelsChange = ({ name, state }: BackendEntry, before: BackendState["models"]): Happened => {
  const [old, now] = [before ?? new Map<string, ModelInfo>(), state.models ?? new Map<string, ModelInfo>()]
  return { kind: "models", name, from: old.size, to: now.size, reason: modelsReason(old.keys(), now.keys()) }
}

const asksForRest = ({ headers, status }: UpstreamResponse): boolean => status === 429 && restFor(headers).isAsked

/** A backend as its watch last saw it, and how to wake that. */
interface Probed {
  readonly state: BackendState
  readonly asked: unknown
  readonly wake: Latch.Latch
}

/** What a probe's outcome depends on: all but what is about traffic alone. */
const probeSettings = ({ config, probing }: BackendEntry): unknown => {
  const { breaker: _breaker, maxConcurrency: _limit, timeouts: _timeouts, weight: _weight, ...asked } = config
  return { asked, probing }
}

const logDefect = (backend: string, cause: Cause.Cause<unknown>) =>
  Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.logError("probe failed", { backend }, cause)

const probeTimeouts = ({ probing: { timeout } }: BackendEntry) => ({
  connect: timeout,
  firstByte: timeout,
  firstByteOfWhole: timeout,
  idle: timeout,
  request: timeout
})

const byId = (models: ReadonlyArray<ModelInfo>): ReadonlyMap<string, ModelInfo> =>
  new Map(models.map((model) => [model.id, model]))

/** More than any list of models or page of metrics has; the rest of a longer answer is not read. */
const maxAnswerBytes = 4 * 1024 * 1024

const readAnswer = Effect.fnUntraced(function* (response: UpstreamResponse) {
  let size = 0
  const isEnough = ({ length }: Uint8Array) => {
    size += length
    return size > maxAnswerBytes
  }
  const bytes = Buffer.concat(yield* Stream.runCollect(Stream.takeUntil(response.stream, isEnough)))
  const answer: ProbeAnswer = { status: response.status, body: parseProbe(bytes) ?? bytes.toString("utf8") }
  return answer
})
