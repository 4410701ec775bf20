import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { Lease } from "../../src/scheduler/Scheduler.ts"
import { named, nameOf, seededRandom, withFleet } from "./Fleet.ts"

describe("a lease", () => {
  it.effect("counts from the choice and is given back once, however often that is said", () =>
    withFleet(named("a"), (fleet) => {
      const lease = fleet.lease()
      const other = fleet.lease()
      assert.strictEqual(fleet.state("a").inflight, 2)
      lease.release()
      lease.release()
      assert.strictEqual(fleet.state("a").inflight, 1)
      other.release()
      assert.strictEqual(fleet.state("a").inflight, 0)
    })
  )

  it.effect("is never given beyond maxConcurrency, and counts are exact through any storm", () =>
    withFleet(
      { backends: [{ name: "a", maxConcurrency: 3 }, { name: "b", maxConcurrency: 5, weight: 9 }, { name: "c" }] },
      (fleet) => {
        const roll = seededRandom(3)
        const held: Array<Lease> = []
        for (let i = 0; i < 5000; i++) {
          if (roll(5) < 3) held.push(fleet.lease({ ...(roll(2) === 0 && { session: `s${roll(20)}` }) }))
          else {
            const lease = held.splice(roll(held.length + 1), 1)[0]
            lease?.release()
            if (roll(3) === 0) lease?.release()
          }
          for (const name of ["a", "b", "c"]) {
            const { inflight } = fleet.state(name)
            assert.strictEqual(inflight, held.filter((each) => nameOf(each) === name).length)
          }
          assert.isAtMost(fleet.state("a").inflight, 3)
          assert.isAtMost(fleet.state("b").inflight, 5)
        }
        for (const lease of held) lease.release()
        assert.deepStrictEqual(
          ["a", "b", "c"].map((name) => fleet.state(name).inflight),
          [0, 0, 0]
        )
      }
    )
  )
})

const tiered = {
  backends: [
    { name: "a", maxConcurrency: 1 },
    { name: "b", maxConcurrency: 1 },
    { name: "c", maxConcurrency: 1 }
  ],
  pool: { backends: ["a", { name: "b", priority: 5 }, { name: "c", priority: 1 }], strategy: "failover" }
}

describe("tiers", () => {
  it.effect("serve one after the other: the next only when the one before has none left", () =>
    withFleet(tiered, (fleet) => {
      const first = fleet.lease()
      const second = fleet.lease()
      const third = fleet.lease()
      assert.deepStrictEqual([first, second, third].map(nameOf), ["a", "c", "b"])
      assert.strictEqual(fleet.refusal().reason, "saturated")
      first.release()
      assert.strictEqual(fleet.choice(), "a")
    })
  )

  it.effect.each(["dead", "draining", "resting", "open", "tried", "disabled"])(
    "leave out a backend that is %s",
    (what) =>
      withFleet(
        {
          ...tiered,
          backends: tiered.backends.map((each) => ({ ...each, enabled: what !== "disabled" || each.name !== "a" }))
        },
        (fleet) => {
          if (what === "dead") fleet.found("a", "unhealthy")
          if (what === "draining") fleet.found("a", "draining")
          if (what === "resting") fleet.with("a", { restsFor: 1 })
          if (what === "open") fleet.openCircuit("a", fleet.now + 1)
          assert.strictEqual(fleet.choice(what === "tried" ? { tried: [fleet.state("a")] } : {}), "c")
        }
      )
  )

  it.effect("ask a backend that is busy or degraded only when no other tier has a better one", () =>
    withFleet(tiered, (fleet) => {
      fleet.found("a", "busy")
      assert.strictEqual(fleet.choice(), "c")
      fleet.found("c", "degraded")
      assert.strictEqual(fleet.choice(), "b")
      fleet.found("b", "unhealthy")
      assert.strictEqual(fleet.choice(), "a")
    })
  )
})

describe("a backend that is not probed yet", () => {
  it.effect("may be asked like a healthy one", () =>
    withFleet(named("a", "b"), (fleet) => {
      fleet.found("a", "healthy")
      assert.deepStrictEqual(new Set(fleet.choices(6)), new Set("ab"))
    })
  )
})

describe("an open circuit", () => {
  it.effect("lets no request through before its time, then one, and none beside that one", () =>
    withFleet(named("a"), (fleet) => {
      fleet.openCircuit("a", fleet.now + 500)
      assert.strictEqual(fleet.refusal().reason, "resting")
      fleet.now += 500
      const trial = fleet.lease()
      fleet.with("a", { circuit: { trialRunning: true } })
      assert.strictEqual(fleet.refusal().reason, "unavailable")
      trial.release()
      fleet.with("a", { circuit: { trialRunning: false } })
      assert.strictEqual(fleet.choice(), "a")
    })
  )
})

describe("the reason why no backend is chosen", () => {
  it.effect("is that a backend will have room", () =>
    withFleet({ backends: [{ name: "a", maxConcurrency: 1 }, { name: "b" }] }, (fleet) => {
      fleet.found("b", "unhealthy")
      const lease = fleet.lease()
      assert.strictEqual(fleet.refusal().reason, "saturated")
      lease.release()
    })
  )

  it.effect("is that a backend will be back, with the time of the first", () =>
    withFleet(named("a", "b", "c"), (fleet) => {
      fleet.with("a", { restsFor: 900 })
      fleet.with("b", { restsFor: 300 })
      fleet.openCircuit("c", fleet.now + 600)
      const { reason, until } = fleet.refusal()
      assert.deepStrictEqual({ reason, until }, { reason: "resting", until: fleet.now + 300 })
      fleet.openCircuit("b", fleet.now + 5000)
      assert.strictEqual(fleet.refusal().until, fleet.now + 600)
    })
  )

  it.effect("is that none is there", () =>
    withFleet(named("a", "b"), (fleet) => {
      fleet.found("a", "unhealthy")
      fleet.found("b", "misconfigured")
      assert.strictEqual(fleet.refusal().reason, "unavailable")
    })
  )

  it.effect("is that all were tried, though they rest or are full", () =>
    withFleet({ backends: [{ name: "a", maxConcurrency: 1 }, { name: "b" }] }, (fleet) => {
      const lease = fleet.lease({ tried: [fleet.state("b")] })
      fleet.with("b", { restsFor: 10 })
      assert.strictEqual(fleet.refusal({ tried: [fleet.state("a"), fleet.state("b")] }).reason, "unavailable")
      lease.release()
    })
  )

  it.effect("is never told of a pool that has a usable backend, whatever its state", () =>
    Effect.forEach(fc.sample(situations, { seed: 5, numRuns: 200 }), (states) =>
      withFleet({ backends: states.map((_, index) => ({ name: `n${index}`, maxConcurrency: 2 })) }, (fleet) => {
        for (const [index, { circuit, inflight, rest, status, trial }] of states.entries()) {
          const name = `n${index}`
          if (status !== undefined) fleet.found(name, status)
          fleet.with(name, { inflight })
          fleet.with(name, { restsFor: rest })
          if (circuit !== undefined) fleet.openCircuit(name, fleet.now + circuit)
          fleet.with(name, { circuit: { trialRunning: trial && circuit !== undefined } })
        }
        const before = states.map((_, index) => fleet.state(`n${index}`).inflight)
        const outlook = fleet.scheduler.outlook(fleet.request(), fleet.now)
        assert.deepStrictEqual(
          states.map((_, index) => fleet.state(`n${index}`).inflight),
          before
        )
        const asked = fleet.ask()
        if (asked instanceof Lease) assert.strictEqual(outlook, "ready")
        else assert.deepStrictEqual(outlook, asked)
      })
    )
  )
})

const situations = fc.array(
  fc.record({
    status: fc.constantFrom(undefined, "healthy", "busy", "unhealthy", "warming"),
    inflight: fc.integer({ min: 0, max: 2 }),
    rest: fc.constantFrom(-1, 0, 5),
    circuit: fc.constantFrom(undefined, undefined, -1, 0, 7),
    trial: fc.boolean()
  } as const),
  { minLength: 0, maxLength: 4 }
)
