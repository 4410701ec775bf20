/** The load generator as the suite's cases use it: one job at a time. */
import { Context, Effect, Layer } from "effect"
import type { Figures, Job } from "../load/Job.ts"
import { Outcome, Ready } from "../load/Job.ts"
import { BenchFailed, nextMessage, ownProgram, startChild } from "./Children.ts"

export class Generator extends Context.Service<
  Generator,
  {
    readonly run: (job: Job) => Effect.Effect<Figures, BenchFailed>
  }
>()("weir/bench/Generator") {
  static readonly layer = Layer.effect(
    Generator,
    Effect.gen(function* () {
      const child = yield* startChild([process.execPath, ownProgram("LoadGenerator.ts")], {
        role: "generator",
        log: "generator.log",
        tells: true
      })
      yield* nextMessage(child, Ready)
      const run = Effect.fnUntraced(function* (job: Job) {
        const outcome = yield* Effect.sync(() => child.process.send(job)).pipe(
          Effect.andThen(nextMessage(child, Outcome)),
          Effect.timeoutOrElse({
            duration: "3 minutes",
            orElse: () => new BenchFailed({ message: `the load generator hangs in a job of kind ${job.kind}` })
          })
        )
        return "figures" in outcome ? outcome.figures : yield* new BenchFailed({ message: outcome.failure })
      })
      return Generator.of({ run })
    })
  )
}
