/** One run of what is to be measured: its processes, its figures, and the machine they are from. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Layer } from "effect"
import { CurrentPlan, type Plan } from "../cases/Plan.ts"
import { progressEnd } from "../cases/Progress.ts"
import { Book } from "../report/Book.ts"
import { Rig } from "./Children.ts"
import { Generator } from "./Generator.ts"
import { describeMachine } from "./Machine.ts"

/** A folder for what the subjects read and write, gone with the scope. */
const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "weir-bench-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const layerRig = (weir: string) =>
  Layer.effect(
    Rig,
    Effect.map(temporaryFolder, (folder) => Rig.of({ folder, weir: resolve(weir), machine: describeMachine() }))
  )

/** Runs what measures with everything that it needs; all processes are gone afterwards. */
export const measureWith = <A, E, R>(plan: Plan, weir: string, measure: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const startedAt = performance.now()
    const book = yield* Book
    const { machine } = yield* Rig
    const result = yield* Effect.scoped(measure)
    return {
      result,
      at: new Date().toISOString(),
      seconds: (performance.now() - startedAt) / 1000,
      machine,
      cases: book.cases(),
      remarks: book.remarks()
    }
  }).pipe(
    Effect.ensuring(progressEnd),
    Effect.provideService(CurrentPlan, plan),
    Effect.provide(Layer.merge(Generator.layer, Book.layer).pipe(Layer.provideMerge(layerRig(weir))))
  )
