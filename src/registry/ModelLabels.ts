/**
 * Which names of models are labels of metrics: the configured ones always, and of those that backends list the first
 * `telemetry.maxModelLabels` that are used. Anything else is `other`, so that neither a client nor an engine with a
 * hundred thousand models makes a series of its own for each name.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import { literalName } from "../domain/ModelRule.ts"
import { MonotonicClock } from "../domain/MonotonicClock.ts"
import { keptForMillis, Metrics } from "../telemetry/Telemetry.ts"
import { derived } from "./Change.ts"
import { Registry } from "./Registry.ts"
import type { BackendEntry, Snapshot } from "./Snapshot.ts"

/** A longer name is `other`, in characters. */
const maxLabelChars = 256

export class ModelLabels extends Context.Service<
  ModelLabels,
  {
    /** The label for a model that this backend serves. Plain and synchronous. */
    readonly of: (backend: BackendEntry, model: string | undefined) => string
  }
>()("weir/registry/ModelLabels") {
  /** Once a minute it lets go of names that are gone, and so do the metrics, of all kinds of names. */
  static readonly layer = Layer.effect(
    ModelLabels,
    Effect.gen(function* () {
      const registry = yield* Registry
      const metrics = yield* Metrics
      const clock = yield* MonotonicClock
      const listed = new ListedNames()
      const configured = derived(registry.current, configuredNames)

      const sweep = Effect.sync(() => {
        const snapshot = registry.current()
        const now = clock.now()
        const isListed = (name: string) => [...snapshot.backends.values()].some((backend) => lists(backend, name))
        listed.sweep(now, snapshot.config.telemetry.maxModelLabels, isListed)
        const keys = new Set([...snapshot.keys.values()].map(({ name }) => name))
        metrics.sweep(now, (label, name) => {
          if (label === "backend") return snapshot.backends.has(name)
          if (label === "pool") return snapshot.pools.has(name)
          if (label === "listener") return snapshot.listeners.has(name) || name === "admin"
          if (label === "key") return keys.has(name)
          return configured().has(name) || listed.isCurrent(name)
        })
      })
      yield* Effect.forkScoped(Effect.repeat(sweep, Schedule.spaced("1 minute")))

      return ModelLabels.of({
        of: (backend, model) => {
          if (model === undefined || model.length > maxLabelChars) return "other"
          const known = configured().get(model) ?? listed.get(model)
          if (known !== undefined) return known
          if (!lists(backend, model)) return "other"
          return listed.admit(model, registry.current().config.telemetry.maxModelLabels)
        }
      })
    })
  )
}

const lists = (backend: BackendEntry, name: string): boolean =>
  backend.models?.has(name) ?? backend.state.models?.has(name) ?? false

/** Every name that stands in the configuration, each as itself: so a label never holds a client's text in memory. */
const configuredNames = ({ backends, config }: Snapshot): ReadonlyMap<string, string> => {
  const names = new Map<string, string>()
  const add = (name: string | undefined) => {
    if (name !== undefined) names.set(name, name)
  }
  for (const { models } of backends.values()) for (const name of models ?? []) add(name)
  for (const { fallbacks, match, upstreamModel } of config.models) {
    add(literalName(match))
    add(upstreamModel)
    for (const name of fallbacks) add(name)
  }
  return names
}

/** Names that backends list, and when they were seen to be gone. */
class ListedNames {
  readonly #names = new Map<string, { readonly name: string; goneAt: number | undefined }>()

  get(name: string): string | undefined {
    return this.#names.get(name)?.name
  }

  isCurrent(name: string): boolean {
    const known = this.#names.get(name)
    return known !== undefined && known.goneAt === undefined
  }

  admit(name: string, max: number): string {
    if (this.#names.size >= max) return "other"
    // A copy: the name may be a part of a request's body, and would keep all of it.
    const own = Buffer.from(name).toString()
    this.#names.set(own, { name: own, goneAt: undefined })
    return own
  }

  sweep(now: number, max: number, isListed: (name: string) => boolean): void {
    for (const known of this.#names.values()) {
      known.goneAt = isListed(known.name) ? undefined : (known.goneAt ?? now)
      const isOver = known.goneAt !== undefined && now - known.goneAt >= keptForMillis
      if (isOver) this.#names.delete(known.name)
    }
    // The limit may have been lowered: the newest go.
    for (const name of [...this.#names.keys()].slice(max)) this.#names.delete(name)
  }
}
