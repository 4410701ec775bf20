/**
 * Reading the configuration again while the gateway runs: file, `.env` and environment, as at the start. What is not
 * valid, or cannot be followed here and now, changes nothing and is told with every problem; what is valid is in force
 * for the next request. A signal, a change of the file and the admin API all come this way; what a change of a file
 * takes away altogether is refused, and a signal applies it.
 */
import { Context, Effect, Layer, Result, Semaphore } from "effect"
import { type ConfigInvalid, configInvalid, type Loaded } from "../config/ConfigLoader.ts"
import { awaitingRestart, differences, type NotChanged, Registry, type Snapshot } from "../registry/Registry.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import { lossesOf } from "./Losses.ts"

/** What asked for it. */
export type Trigger = "signal" | "file" | "api"

export interface Reloaded {
  readonly snapshot: Snapshot
  /** What is different now, a line for each; empty: nothing. */
  readonly changes: ReadonlyArray<string>
  /** Settings that will take effect at the next start only. */
  readonly awaitingRestart: ReadonlyArray<string>
}

export class Reloader extends Context.Service<
  Reloader,
  {
    /** Returns when the configuration is in force, or fails with every reason why it is not. */
    readonly reload: (trigger: Trigger) => Effect.Effect<Reloaded, ConfigInvalid>
    /** The files that were read last: where one of them changes, reading them again is worth it. */
    readonly files: () => ReadonlyArray<string>
    /** How they looked then; see `Loaded`. */
    readonly looks: () => ReadonlyMap<string, string>
  }
>()("weir/reload/Reloader") {
  /** `first` is what the gateway was started with, `load` reads it again. */
  static readonly layer = (first: Loaded, load: Effect.Effect<Loaded, ConfigInvalid>) =>
    Layer.effect(
      Reloader,
      Effect.gen(function* () {
        const registry = yield* Registry
        const metrics = yield* Metrics
        const oneAtATime = yield* Semaphore.make(1)
        // Mutable on purpose: what the last good load said.
        let last = first

        const follow = Effect.fnUntraced(function* (trigger: Trigger) {
          const loaded = yield* load
          // A file that has gone is no wish to go on with the environment alone.
          if (first.file !== undefined && loaded.file === undefined) return yield* gone(first.file)
          const source = loaded.file ?? "environment"
          // In turns, as it was read: what has many backends takes long to compare.
          yield* Effect.yieldNow
          const { before, snapshot } = yield* registry
            .replace((running) => {
              const losses = trigger === "file" ? lossesOf(running, last, loaded) : []
              return losses.length > 0 ? Result.fail(configInvalid(source, losses)) : Result.succeed(loaded.config)
            })
            .pipe(Effect.mapError(toInvalid(source)))
          last = loaded
          yield* Effect.yieldNow
          const reloaded: Reloaded = {
            snapshot,
            changes: differences(before.config, snapshot.config),
            awaitingRestart: awaitingRestart(first.config, snapshot.config)
          }
          return yield* Effect.as(report(trigger, reloaded), reloaded)
        })

        const reload = (trigger: Trigger) =>
          follow(trigger).pipe(
            Effect.tapError(({ problems, source }) =>
              Effect.logError("configuration refused, nothing was changed", {
                trigger,
                source,
                problems
              })
            ),
            Effect.tap(({ changes }) => count(changes.length === 0 ? "unchanged" : "applied")),
            Effect.tapError(() => count("refused")),
            oneAtATime.withPermits(1)
          )
        const count = (result: string) => Effect.sync(() => metrics.configReloads({ result })(1))

        return Reloader.of({ reload, files: () => last.files, looks: () => last.looks })
      })
    )
}

const toInvalid = (source: string) => (error: ConfigInvalid | NotChanged) => {
  if (error._tag === "ConfigInvalid") return error
  const problems = error._tag === "StoreFailed" ? [{ path: "state", message: error.message }] : error.problems
  return configInvalid(source, problems)
}

const gone = (file: string) => configInvalid(file, [{ path: file, message: "no such file any more" }])

const report = Effect.fnUntraced(function* (trigger: Trigger, { awaitingRestart, changes, snapshot }: Reloaded) {
  const { version } = snapshot
  yield* changes.length === 0
    ? Effect.logInfo("configuration read again, nothing has changed", { trigger, version })
    : Effect.logInfo("configuration changed", { trigger, version, changes })
  if (awaitingRestart.length > 0) {
    yield* Effect.logWarning("these settings take effect at the next start only", { settings: awaitingRestart })
  }
})
