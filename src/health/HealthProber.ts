/**
 * Keeps what is known of each backend true: one scheduled fiber a backend asks it how it is, which models it has and
 * how much it has to do. A backend that hangs delays nobody else's probe.
 */
import { Cause, Clock, Context, Duration, Effect, Equal, FiberMap, Latch, Layer, Random, Schema, Stream } from "effect"
import { BackendAdapter, type ProbeAnswer, type ProbeKind } from "../backend/BackendAdapter.ts"
import { BodyEnd, type UpstreamResponse, UpstreamTransport } from "../backend/UpstreamTransport.ts"
import type { HealthStatus, ModelInfo } from "../domain/Health.ts"
import { monotonicMillis } from "../domain/Time.ts"
import { type BackendEntry, type BackendState, Registry } from "../registry/Registry.ts"

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
      const clock = yield* Clock.Clock
      const now = () => monotonicMillis(clock)

      const ask = Effect.fnUntraced(
        function* (backend: BackendEntry, kind: ProbeKind) {
          const outgoing = adapters.probe(backend.config, kind)
          if (outgoing === undefined) return undefined
          const watched = { ...backend, config: adapters.watched(backend.config, kind) }
          const member = { backend: watched, weight: 1, priority: 0, capacity: 1, timeouts: probeTimeouts(backend) }
          const response = yield* transport.send(adapters.prepare(member, backend.client, outgoing), () => {})
          return yield* readAnswer(response).pipe(Effect.ensuring(Effect.sync(response.cancel)))
        },
        (effect, backend) =>
          effect.pipe(
            Effect.timeout(backend.probing.timeout),
            Effect.catch((failure) =>
              Effect.succeed(failure._tag === "UpstreamFailed" && failure.kind === "local" ? unasked : undefined)
            ),
            // A bug of ours while asking is no answer either: nobody is called healthy because we cannot look.
            Effect.catchDefect((defect) => Effect.as(logDefect(backend.name, Cause.die(defect)), undefined))
          )
      )

      const modelsAreHealth = ({ config }: BackendEntry): boolean => {
        if (adapters.watched(config, "health") !== config) return false
        const [health, models] = [adapters.probe(config, "health"), adapters.probe(config, "models")]
        return health?.path === models?.path && health?.query === models?.query
      }

      const note = (backend: BackendEntry, answer: ProbeAnswer | undefined) => {
        const { config, probing, state } = backend
        const found: HealthStatus = answer === undefined ? "unhealthy" : adapters.of(config).health(answer)
        state.probed(found, probing, probing.interval * probing.unhealthyAfter, now())
        state.outcomes.record(found === "healthy" || found === "busy", now())
      }

      const lookAtModels = Effect.fnUntraced(function* (backend: BackendEntry, health: ProbeAnswer | undefined) {
        if (backend.models !== undefined || health === undefined) return
        const answer = modelsAreHealth(backend) ? health : yield* ask(backend, "models")
        if (answer === undefined || answer === unasked || answer.status !== 200) return
        const models = adapters.of(backend.config).models(answer)
        if (models !== undefined && backend.state.setModels(byId(models))) registry.modelsChanged()
      })

      const lookAtLoad = Effect.fnUntraced(function* (backend: BackendEntry) {
        const answer = yield* ask(backend, "load")
        if (answer === undefined || answer === unasked) return
        const reading = adapters.of(backend.config).load(answer)
        if (reading !== undefined) backend.state.reported(reading, now())
      })

      const probe = Effect.fn("HealthProber.probe")(function* (name: string) {
        const backend = registry.current().backends.get(name)
        if (backend === undefined || !backend.config.enabled) return
        const before = backend.state.health.status
        const health = yield* ask(backend, "health")
        if (health === unasked) return
        // Nobody is told that it is healthy before it is known what it has: it would get requests for other models.
        const isNew = backend.state.models === undefined
        if (isNew) yield* lookAtModels(backend, health)
        note(backend, health)
        if (!isNew) yield* lookAtModels(backend, health)
        if (health !== undefined) yield* lookAtLoad(backend)
        const after = backend.state.health.status
        if (after !== before) yield* Effect.logInfo("backend changed", { backend: name, from: before, to: after })
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

      const watched = new Map<string, Watched>()
      const fibers = yield* FiberMap.make<string>()
      const follow = Effect.fnUntraced(function* (backend: BackendEntry) {
        const { name, state } = backend
        const asked = probeSettings(backend)
        const known = watched.get(name)
        if (known?.state === state) {
          // What is known was found with other settings: another path, other credentials, another interval.
          if (!Equal.equals(known.asked, asked)) known.wake.openUnsafe()
          watched.set(name, { ...known, asked })
          return
        }
        const wake = Latch.makeUnsafe(false)
        // Traffic says that something is wrong.
        state.health.onSuspicion(() => wake.openUnsafe())
        watched.set(name, { state, asked, wake })
        yield* FiberMap.run(fibers, name, watch(name, wake))
      })
      yield* registry.changes.pipe(
        Stream.runForEach(({ backends }) =>
          Effect.gen(function* () {
            for (const name of watched.keys()) {
              if (backends.has(name)) continue
              watched.delete(name)
              yield* FiberMap.remove(fibers, name)
            }
            yield* Effect.forEach(backends.values(), follow, { discard: true })
          })
        ),
        Effect.forkScoped
      )

      return HealthProber.of({ probe })
    })
  )
}

/** We lacked descriptors or ports for the question: what was known of the backend stays as it is. */
const unasked = Symbol("the backend could not be asked")

/** A backend as its watch last saw it, and how to wake that. */
interface Watched {
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
  const chunks: Array<Uint8Array> = []
  let size = 0
  while (size <= maxAnswerBytes) {
    const read = yield* response.read
    if (read instanceof BodyEnd) {
      if (read.failure !== undefined) return yield* read.failure
      break
    }
    for (const piece of read) {
      chunks.push(piece)
      size += piece.length
    }
  }
  const text = Buffer.concat(chunks).toString("utf8")
  const answer: ProbeAnswer = { status: response.status, body: asJson(text) }
  return answer
})

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const asJson = (text: string): unknown => {
  const parsed = decodeJson(text)
  return parsed._tag === "Some" ? parsed.value : text
}
