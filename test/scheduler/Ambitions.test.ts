/** What the scheduling benchmark promises, on the same virtual engines and at the load at which it is checked. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  type AmbitionResult,
  conversations,
  dyingEngine,
  oneApplication,
  slowEngine,
  unequalEngines
} from "../bench/scheduling/Ambitions.ts"
import { makeMeasured } from "../bench/scheduling/Measure.ts"

const seed = 1
const measured = makeMeasured(seed)

const allMet = (ambitionResults: ReadonlyArray<AmbitionResult>) => {
  assert.isNotEmpty(ambitionResults)
  const missed = ambitionResults.filter(({ met }) => !met).map(({ ambition, found }) => `${ambition}: ${found}`)
  assert.deepStrictEqual(missed, [])
}

describe(`a pool at 85 % of what its engines can do (seed ${seed})`, () => {
  it.effect("engines of unequal speed are used by their weight", () => Effect.map(unequalEngines(measured), allMet))

  it.effect("conversations find their prompt in a cache, and no engine has far more to do than the others", () =>
    Effect.map(conversations(measured), allMet)
  )

  it.effect("requests that all begin alike are spread all the same", () => Effect.map(oneApplication(measured), allMet))

  it.effect("an engine that turns ten times slower gets next to nothing after ten seconds, with any strategy", () =>
    Effect.map(slowEngine(measured), allMet)
  )

  it.effect("an engine that dies costs no request, and is not overrun when it is back, with any strategy", () =>
    Effect.map(dyingEngine(measured), allMet)
  )

  it.effect("the same seed gives the same figures", () =>
    Effect.gen(function* () {
      const [once, again] = [makeMeasured(7), makeMeasured(7)]
      assert.deepStrictEqual(
        yield* once("power_of_two", "conversing", 0.85),
        yield* again("power_of_two", "conversing", 0.85)
      )
    })
  )
})
