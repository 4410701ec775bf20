/** The strategies that go by what is known of each backend: its own account, its latency, its failures. */
import { assert, describe, it } from "@effect/vitest"
import { Random } from "effect"
import { StrategyName } from "../../src/domain/Pool.ts"
import { type Fleet, type FleetLike, named, nameOf, withFleet } from "./Fleet.ts"

const fleet = (strategy: string, ...weights: ReadonlyArray<number>): FleetLike => ({
  backends: weights.map((weight, index) => ({ name: "abcdefgh".charAt(index), weight })),
  pool: { strategy }
})

const count = (choices: string, name: string): number => choices.split(name).length - 1

const load = (running: number, waiting = 0, kvCacheUsage = 0) => ({ running, waiting, kvCacheUsage })

describe("least_loaded", () => {
  it.effect("counts what others have sent there, which only the engine knows", () =>
    withFleet(fleet("least_loaded", 1, 1), (on) => {
      on.state("a").reported(load(5), on.now)
      assert.strictEqual(on.choices(5), "bbbbb")
    })
  )

  it.effect("counts what was sent since the engine was asked, and not what was there then a second time", () =>
    withFleet(fleet("least_loaded", 1, 1), (on) => {
      on.with("a", { inflight: 4 })
      on.state("a").reported(load(4), on.now)
      on.state("b").reported(load(2), on.now)
      assert.deepStrictEqual([nameOf(on.lease()), nameOf(on.lease())], ["b", "b"])
      on.lease()
      on.lease()
      assert.deepStrictEqual([on.state("a").inflight, on.state("b").inflight], [5, 3])
    })
  )

  it.effect("takes a reading of more than 15 seconds ago neither for idle nor for busy", () =>
    withFleet(fleet("least_loaded", 1, 1), (on) => {
      on.state("a").reported(load(50), on.now)
      on.now += 15_000
      assert.strictEqual(on.choices(4), "bbbb")
      on.now += 1
      assert.strictEqual(count(on.choices(4), "a"), 2)
    })
  )

  it.effect("counts requests that have to wait twice, once it has seen how many slots an engine has", () =>
    withFleet(fleet("least_loaded", 1, 2), (on) => {
      on.state("b").reported(load(4, 1), on.now)
      on.state("b").reported(load(0), on.now)
      on.with("a", { inflight: 3 })
      on.with("b", { inflight: 6 })
      // By weight alone: (3 + 1) / 1 and (6 + 1) / 2. Three of those seven would have to wait.
      assert.strictEqual(on.choice(), "a")
    })
  )

  it.effect.each([{ metric: "kvCacheUsage" }, { metric: "gpuUsage" }])(
    "counts all up to twice where $metric is nearly full",
    ({ metric }) =>
      withFleet(fleet("least_loaded", 1, 1), (on) => {
        const tell = (share: number) => {
          on.state("a").reported({ ...load(1), [metric]: share }, on.now)
          on.state("b").reported(load(2), on.now)
        }
        tell(0.8)
        assert.strictEqual(on.choice(), "a")
        tell(1)
        assert.strictEqual(on.choice(), "b")
      })
  )

  it.effect("lets equals take turns", () =>
    withFleet(fleet("least_loaded", 1, 1, 1), (on) => {
      assert.deepStrictEqual(
        ["a", "b", "c"].map((name) => count(on.choices(30), name)),
        [10, 10, 10]
      )
    })
  )
})

const tried = (on: Fleet, latencies: Readonly<Record<string, number>>, samples = 30) => {
  for (const [name, millis] of Object.entries(latencies)) {
    for (let sample = 0; sample < samples; sample++) on.state(name).latency.record(millis, on.now)
  }
}

describe("latency_based", () => {
  it.effect("gives a backend that is twice as slow half as much, and not everything to the fastest", () =>
    withFleet(fleet("latency_based", 1, 1, 1), (on) => {
      tried(on, { a: 100, b: 200, c: 400 })
      const choices = on.choices(700)
      assert.deepStrictEqual(
        ["a", "b", "c"].map((name) => count(choices, name)),
        [400, 200, 100]
      )
    })
  )

  it.effect("honours weights among equally fast ones", () =>
    withFleet(fleet("latency_based", 3, 1), (on) => {
      tried(on, { a: 100, b: 100 })
      assert.strictEqual(count(on.choices(400), "a"), 300)
    })
  )

  it.effect("tries a backend that was never tried, with one request at a time", () =>
    withFleet(fleet("latency_based", 1, 1), (on) => {
      tried(on, { a: 1 })
      const first = on.lease()
      assert.strictEqual(nameOf(first), "b")
      // It is taken for average until it has answered.
      assert.strictEqual(count(on.choices(100), "b"), 50)
      first.release()
      assert.strictEqual(on.choice(), "b")
    })
  )

  it.effect("forgets slowness with time, so that a backend that was slow once is asked again", () =>
    withFleet(fleet("latency_based", 1, 1), (on) => {
      tried(on, { a: 100, b: 10_000 })
      assert.isBelow(count(on.choices(1000), "b"), 15)
      on.now += 600_000
      tried(on, { a: 100 })
      assert.isAbove(count(on.choices(1000), "b"), 15)
    })
  )
})

describe("response_aware", () => {
  it.effect("multiplies response time by the requests under way", () =>
    withFleet(fleet("response_aware", 1, 1), (on) => {
      tried(on, { a: 100, b: 300 })
      assert.strictEqual(on.choices(3), "aaa")
      on.with("a", { inflight: 3 })
      assert.strictEqual(on.choices(3), "bbb")
    })
  )

  it.effect("divides by the success rate: a backend that fails half of the time counts as twice as slow", () =>
    withFleet(fleet("response_aware", 1, 1), (on) => {
      tried(on, { a: 100, b: 150 })
      assert.strictEqual(on.choice(), "a")
      for (let n = 0; n < 10; n++) on.state("a").outcomes.record(n % 2 === 0, on.now)
      assert.strictEqual(on.choice(), "b")
    })
  )

  it.effect("is not moved by a single sample", () =>
    withFleet(fleet("response_aware", 1, 1), (on) => {
      tried(on, { a: 100, b: 110 }, 100)
      on.state("a").latency.record(300, on.now)
      assert.strictEqual(on.choice(), "a")
    })
  )

  it.effect("takes a backend without samples for average", () =>
    withFleet(fleet("response_aware", 1, 1, 1), (on) => {
      tried(on, { a: 100, b: 300 })
      // c is taken for 200: after a with nothing in flight, before a with two.
      assert.strictEqual(on.choice(), "a")
      on.with("a", { inflight: 2 })
      assert.strictEqual(on.choice(), "c")
    })
  )
})

describe("power_of_two", () => {
  it.effect("never takes the busiest while there is another", () =>
    withFleet(fleet("power_of_two", 1, 1, 1, 1), (on) => {
      on.with("c", { inflight: 9 })
      const choices = on.choices(1000)
      assert.strictEqual(count(choices, "c"), 0)
      for (const name of "abd") assert.isAbove(count(choices, name), 200)
    }).pipe(Random.withSeed(1))
  )

  it.effect("measures business by weight", () =>
    withFleet(fleet("power_of_two", 1, 4), (on) => {
      on.with("b", { inflight: 2 })
      assert.strictEqual(on.choices(20), "b".repeat(20))
      on.with("b", { inflight: 4 })
      assert.strictEqual(on.choices(20), "a".repeat(20))
    }).pipe(Random.withSeed(2))
  )

  it.effect("keeps a large pool within a few requests of the mean", () =>
    withFleet(
      { ...named(...Array.from({ length: 50 }, (_, index) => `n${index}`)), pool: { strategy: "power_of_two" } },
      (on) => {
        for (let n = 0; n < 1000; n++) on.lease()
        const counts = [...on.snapshot.backends.values()].map(({ state }) => state.inflight)
        assert.isAtMost(Math.max(...counts), 25)
        assert.isAtLeast(Math.min(...counts), 14)
      }
    ).pipe(Random.withSeed(3))
  )

  it.effect("finds the one that can take it among many that cannot", () =>
    withFleet(
      { ...named(...Array.from({ length: 40 }, (_, index) => `n${index}`)), pool: { strategy: "power_of_two" } },
      (on) => {
        for (const name of on.snapshot.backends.keys()) if (name !== "n17") on.found(name, "unhealthy")
        assert.strictEqual(on.choice(), "n17")
      }
    ).pipe(Random.withSeed(4))
  )
})

describe("random", () => {
  it.effect("takes each in proportion to its weight", () =>
    withFleet(fleet("random", 1, 2, 4), (on) => {
      const choices = on.choices(14_000)
      assert.approximately(count(choices, "a"), 2000, 150)
      assert.approximately(count(choices, "b"), 4000, 200)
      assert.approximately(count(choices, "c"), 8000, 250)
    }).pipe(Random.withSeed(5))
  )

  it.effect("shares what an absent one would get among the others, by their weights", () =>
    withFleet(fleet("random", 5, 1, 2), (on) => {
      on.found("a", "unhealthy")
      const choices = on.choices(3000)
      assert.strictEqual(count(choices, "a"), 0)
      assert.approximately(count(choices, "b"), 1000, 100)
    }).pipe(Random.withSeed(6))
  )
})

describe("a backend that was found far slower than its peers", () => {
  it.effect.each(StrategyName.literals)("is asked last by %s, and still asked where there is no other", (strategy) =>
    withFleet(fleet(strategy, 1, 1, 1), (on) => {
      on.with("a", { ejectedFor: 10_000 })
      assert.strictEqual(count(on.choices(30, { hashKey: 7 }), "a"), 0)
      on.found("b", "unhealthy")
      on.found("c", "unhealthy")
      assert.strictEqual(on.choices(3), "aaa")
      on.now += 10_000
      on.found("b", "healthy")
      on.found("c", "healthy")
      const keys = Array.from({ length: 60 }, (_, hashKey) => on.choice({ hashKey })).join("")
      assert.isAbove(count(keys, "a"), 0)
    }).pipe(Random.withSeed(7))
  )
})

describe("a backend that recovered", () => {
  const comeBack = (on: Fleet, name: string) => {
    const limits = { unhealthyAfter: 1, healthyAfter: 1 }
    on.state(name).probed("unhealthy", limits, 0, on.now)
    on.state(name).probed("healthy", limits, 0, on.now)
  }

  it.effect("is given a fifth of its weight at first, and all of it after 20 seconds", () =>
    withFleet(fleet("weighted_round_robin", 1, 1), (on) => {
      comeBack(on, "b")
      assert.strictEqual(count(on.choices(120), "b"), 20)
      on.now += 10_000
      assert.approximately(count(on.choices(160), "b"), 60, 1)
      on.now += 10_000
      assert.approximately(count(on.choices(100), "b"), 50, 1)
    })
  )

  it.effect("is not overrun, though it has nothing to do and all others have", () =>
    withFleet(fleet("least_inflight", 1, 1, 1), (on) => {
      on.found("c", "unhealthy")
      for (let n = 0; n < 40; n++) on.lease()
      comeBack(on, "c")
      const next = Array.from({ length: 10 }, () => nameOf(on.lease())).join("")
      assert.isAtMost(count(next, "c"), 4)
      assert.isAtLeast(count(next, "c"), 1)
    })
  )
})
