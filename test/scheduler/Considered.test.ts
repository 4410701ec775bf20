/** What is told of a choice: each candidate with what speaks against it. */
import { assert, describe, it } from "@effect/vitest"
import type { HealthStatus, Standing } from "../../src/domain/Health.ts"
import type { StrategyName } from "../../src/domain/Pool.ts"
import type { Considered } from "../../src/scheduler/Scheduler.ts"
import { leaveUnresolved, must } from "../registry/Fixtures.ts"
import { type Fleet, type FleetLike, named, withFleet } from "./Fleet.ts"

const names = ["free", "full", "resting", "open", "tried", "off"]

const fleet: FleetLike = {
  backends: names.map((name) => ({ name, maxConcurrency: 1, enabled: name !== "off" })),
  pool: { strategy: "least_inflight" }
}

describe("each candidate of a choice", () => {
  it.effect("is told with the first reason that excludes it, and with what the strategy compares", () =>
    withFleet(fleet, (fleet) => {
      fleet.with("full", { inflight: 1 })
      fleet.with("resting", { restsFor: 10_000 })
      fleet.openCircuit("open", fleet.now + 10_000)
      const request = fleet.request({ tried: [fleet.state("tried")] })
      const considered = fleet.scheduler.considered(request, fleet.now)
      assert.deepStrictEqual(
        considered.map(({ backend, exclusion, score, tier }) => [backend, exclusion, score, tier]),
        [
          ["free", undefined, 1, 0],
          ["full", "full", 2, 0],
          ["resting", "resting", 1, 0],
          ["open", "circuit_open", 1, 0],
          ["tried", "tried", 1, 0],
          ["off", "disabled", 1, 0]
        ]
      )
      assert.strictEqual(fleet.choice({ tried: [fleet.state("tried")] }), "free")
    })
  )
})

interface Reason {
  readonly given: (on: Fleet) => void
  readonly standing: Standing
  readonly exclusion?: Considered["exclusion"]
  readonly askedLast?: Considered["askedLast"]
}

const probe = (found: HealthStatus) => (on: Fleet) => on.found("a", found)

const reasons: ReadonlyArray<Reason> = [
  { given: () => {}, standing: "first" },
  { given: probe("healthy"), standing: "first" },
  { given: probe("busy"), standing: "last", askedLast: "busy" },
  { given: probe("degraded"), standing: "last", askedLast: "degraded" },
  { given: probe("warming"), standing: "out", exclusion: "warming" },
  { given: probe("rate_limited"), standing: "out", exclusion: "rate_limited" },
  { given: probe("misconfigured"), standing: "out", exclusion: "misconfigured" },
  { given: probe("unhealthy"), standing: "out", exclusion: "unhealthy" },
  { given: probe("draining"), standing: "out", exclusion: "draining" },
  { given: (on) => on.with("a", { ejectedFor: 5000 }), standing: "last", askedLast: "ejected" },
  { given: (on) => leaveUnresolved(on.state("a")), standing: "last", askedLast: "unresolved_failure" },
  { given: (on) => on.state("a").refused("m", on.now), standing: "last", askedLast: "refused_model" },
  { given: (on) => on.state("a").refused("other", on.now), standing: "first" },
  // Both are told: it would be asked last even if it did not rest.
  {
    given: (on) => on.with("a", { restsFor: 5000, ejectedFor: 5000 }),
    standing: "last",
    exclusion: "resting",
    askedLast: "ejected"
  }
]

describe("why a backend is asked last or not at all", () => {
  it.effect.each(reasons)("is told: $exclusion, $askedLast", ({ askedLast, exclusion, given, standing }) =>
    withFleet(named("a", "b"), (on) => {
      given(on)
      const [told] = on.scheduler.considered(on.request({ model: "m" }), on.now)
      assert.deepStrictEqual(
        { standing: told?.standing, exclusion: told?.exclusion, askedLast: told?.askedLast },
        { standing, exclusion, askedLast }
      )
    })
  )

  it.effect("is told of those too that do not serve the model, after the candidates", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["other"] },
          { name: "b", models: ["m"] },
          { name: "c", models: ["m"], enabled: false },
          { name: "d", models: ["m"] }
        ],
        pool: { backends: ["a", { name: "b", priority: 2 }, "c", "d"] }
      },
      (on) => {
        const told = on.scheduler.considered(on.request({ model: "m" }), on.now)
        assert.deepStrictEqual(
          told.map(({ backend, exclusion, score, tier }) => [backend, exclusion, score, tier]),
          [
            ["d", undefined, 1, 0],
            ["b", undefined, 1, 2],
            ["a", "other_model", undefined, 0],
            ["c", "disabled", undefined, 0]
          ]
        )
      }
    )
  )

  it.effect("is told where every instance of the model has a request", () =>
    withFleet(
      {
        backends: [
          { name: "a", models: ["m", "m-2"] },
          { name: "b", models: ["m"] }
        ],
        more: { models: [{ match: "m", pool: "default", instances: true }] }
      },
      (on) => {
        on.state("b").instances.set("m", 1)
        const told = on.scheduler.considered(on.request({ model: "m" }), on.now)
        assert.deepStrictEqual(
          told.map(({ askedLast, backend }) => [backend, askedLast]),
          [
            ["a", undefined],
            ["b", "no_free_instance"]
          ]
        )
      }
    )
  )
})

interface Scored {
  readonly strategy: StrategyName
  /** What the weights of `a`, `b` and `c` are, all 1 where nothing is said. */
  readonly weights?: ReadonlyArray<number>
  readonly given?: (on: Fleet) => void
  readonly request?: Parameters<Fleet["request"]>[0]
  readonly scores: ReadonlyArray<number | undefined>
}

const took = (on: Fleet, name: string, millis: number, times = 1) => {
  for (let n = 0; n < times; n++) on.state(name).latency.record(millis, on.now)
}

const prompt = Int32Array.from([1, 2, 3, 4])

const scored: ReadonlyArray<Scored> = [
  { strategy: "round_robin", scores: [0, 1, 2] },
  { strategy: "round_robin", given: (on) => on.choices(2), scores: [1, 2, 0] },
  { strategy: "failover", scores: [0, 1, 2] },
  { strategy: "weighted_round_robin", weights: [5, 1, 1], scores: [-5, -1, -1] },
  { strategy: "weighted_round_robin", weights: [5, 1, 1], given: (on) => on.choices(2), scores: [-1, -3, -3] },
  { strategy: "random", scores: [undefined, undefined, undefined] },
  {
    strategy: "least_inflight",
    weights: [1, 2, 4],
    given: (on) => on.with("c", { inflight: 9 }),
    scores: [1, 0.5, 2.5]
  },
  {
    strategy: "least_loaded",
    given: (on) => on.state("b").reported({ running: 3, waiting: 1, kvCacheUsage: 0 }, on.now),
    // Of five requests at b, two have to wait, and count twice.
    scores: [1, 7, 1]
  },
  { strategy: "power_of_two", weights: [1, 2, 4], scores: [1, 0.5, 0.25] },
  {
    strategy: "latency_based",
    given: (on) => {
      took(on, "a", 100)
      took(on, "b", 300)
    },
    // The mean is 200; one without a sample is tried before any is compared.
    scores: [-2, -2 / 3, undefined]
  },
  {
    strategy: "latency_based",
    given: (on) => {
      took(on, "a", 100)
      took(on, "b", 300)
      on.with("c", { inflight: 1 })
    },
    scores: [-2, -2 / 3, -1]
  },
  {
    strategy: "response_aware",
    given: (on) => {
      took(on, "a", 100)
      took(on, "b", 300)
      on.with("b", { inflight: 1 })
    },
    scores: [100, 600, 200]
  },
  { strategy: "prefix_aware", given: (on) => on.with("b", { inflight: 1 }), scores: [0.75, 1.5, 0.75] },
  {
    strategy: "prefix_aware",
    given: (on) => on.choice({ prompt }),
    request: { prompt },
    // To compute the whole prompt costs 2, as does twice the mean load.
    scores: [1, 3, 3]
  },
  { strategy: "consistent_hash", scores: [undefined, undefined, undefined] }
]

describe("the score of each candidate", () => {
  it.effect.each(scored)("of $strategy is $scores", ({ given, request, scores, strategy, weights = [1, 1, 1] }) =>
    withFleet(
      { backends: weights.map((weight, index) => ({ name: "abc".charAt(index), weight })), pool: { strategy } },
      (on) => {
        given?.(on)
        const considered = on.scheduler.considered(on.request(request), on.now)
        assert.deepStrictEqual(
          considered.map(({ score }) => score),
          scores
        )
      }
    )
  )

  it.effect("of consistent_hash is the same for the same key, and behind all others above the fair share", () =>
    withFleet({ ...named("a", "b", "c"), pool: { strategy: "consistent_hash" } }, (on) => {
      const scores = () => on.scheduler.considered(on.request({ hashKey: 42 }), on.now).map(({ score }) => must(score))
      const before = scores()
      const owner = on.choice({ hashKey: 42 })
      const position = "abc".indexOf(owner)
      assert.strictEqual(Math.min(...before), before[position])
      assert.deepStrictEqual(scores(), before)
      on.with(owner, { inflight: 20 })
      assert.strictEqual(Math.max(...scores()), scores()[position])
    })
  )
})
