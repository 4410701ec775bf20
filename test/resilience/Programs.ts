/** Properties whose each run is a program of its own, under a clock of its own. */
import { Effect, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { fc } from "../registry/Properties.ts"

export const forAll = <A, R>(
  values: fc.Arbitrary<A>,
  layer: Layer.Layer<R>,
  program: (value: A) => Effect.Effect<void, never, R | Scope.Scope>,
  runs = 100
): Promise<void> => {
  // A fresh one for each run: nothing of one run is there in the next.
  const services = () => Layer.fresh(layer).pipe(Layer.provideMerge(TestClock.layer()))
  const run = (value: A) => Effect.runPromise(program(value).pipe(Effect.scoped, Effect.provide(services())))
  return fc.assert(fc.asyncProperty(values, run), { numRuns: runs })
}
