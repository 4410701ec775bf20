import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { AffinityTable } from "../../src/scheduler/Affinity.ts"
import { Lease } from "../../src/scheduler/Scheduler.ts"
import { holdsFor } from "../Property.ts"
import { putInForce } from "../registry/Fixtures.ts"
import { configOf, type Fleet, type FleetLike, named, nameOf, onFleet, withFleet } from "./Fleet.ts"

const at = (backend: string, instance?: string) => ({ backend, instance })

describe("the table of sessions", () => {
  it("remembers a session until it was not used for its time to live", () => {
    const table = new AffinityTable(1000, 10)
    table.bind("s", at("a"), false, 0)
    assert.strictEqual(table.lookup("s", 999)?.backend, "a")
    table.bind("s", at("a"), false, 999)
    assert.strictEqual(table.lookup("s", 1998)?.backend, "a")
    assert.isUndefined(table.lookup("s", 1999))
    assert.isUndefined(table.lookup("s", 1998), "what is over is over")
  })

  it("holds no more sessions than it may, and forgets the one not used for the longest", () => {
    const table = new AffinityTable(1000, 3)
    for (const [time, key] of ["p", "q", "r"].entries()) table.bind(key, at("a"), false, time)
    table.bind("p", at("a"), false, 3)
    table.bind("t", at("b"), false, 4)
    assert.strictEqual(table.size, 3)
    assert.deepStrictEqual(
      ["p", "q", "r", "t"].map((key) => table.lookup(key, 5)?.backend),
      ["a", undefined, "a", "b"]
    )
    for (let i = 0; i < 1000; i++) table.bind(`x${i}`, at("a"), false, 6)
    assert.strictEqual(table.size, 3)
  })

  it("costs no more with a great many sessions, even one that comes on and on", () => {
    const among = (sessions: number): number => {
      const table = new AffinityTable(1000, sessions)
      for (let i = 0; i < sessions; i++) table.bind(`s${i}`, at("a"), false, 0)
      const micros = () => {
        const start = performance.now()
        for (let i = 0; i < 20_000; i++) table.bind("s0", at("a"), false, 0)
        return performance.now() - start
      }
      return Math.min(micros(), micros(), micros())
    }
    among(10)
    // A Map out of which an entry is taken and put in again was five hundred times as slow.
    assert.isBelow(among(100_000), among(10) * 30)
  })

  it("forgets what is over when something new comes", () => {
    const table = new AffinityTable(10, 100)
    for (let i = 0; i < 50; i++) table.bind(`x${i}`, at("a"), false, 0)
    table.bind("new", at("a"), false, 10)
    assert.strictEqual(table.size, 1)
  })
})

const outcome = (fleet: Fleet, session: string, more = {}) => {
  const lease = fleet.lease({ session, ...more })
  lease.release()
  return `${lease.sticky} ${nameOf(lease)}`
}

const two: FleetLike = { ...named("a", "b"), pool: { strategy: "round_robin" } }

describe("places that only one can hold", () => {
  it("are held by the latest session, and no more of them are remembered than sessions, whatever happens", () => {
    const step = fc.record({
      key: fc.constantFrom("p", "q", "r", "s"),
      backend: fc.constantFrom("a", "b"),
      instance: fc.constantFrom(undefined, "m", "m-2"),
      exclusive: fc.boolean(),
      passed: fc.nat(40),
      look: fc.boolean()
    })
    holdsFor(fc.array(step, { maxLength: 40 }), (steps) => {
      const table = new AffinityTable(100, 3)
      let now = 0
      /** Which session holds each place, where one does. */
      const holders = new Map<string, string>()
      for (const { backend, exclusive, instance, key, look, passed } of steps) {
        now += passed
        if (look) table.lookup(key, now)
        else {
          const place = `${backend} ${instance}`
          const holder = holders.get(place)
          table.bind(key, at(backend, instance), exclusive, now)
          for (const [held, by] of holders) if (by === key) holders.delete(held)
          if (exclusive) holders.set(place, key)
          if (exclusive && holder !== undefined && holder !== key) assert.isUndefined(table.lookup(holder, now))
          assert.deepInclude(table.lookup(key, now), at(backend, instance))
        }
        assert.isAtMost(table.holding, table.size)
        assert.isAtMost(table.size, 3)
      }
    })
  })

  it("places that clients make up are forgotten with their sessions", () => {
    const table = new AffinityTable(1000, 10)
    for (let i = 0; i < 5000; i++) table.bind(`s${i % 50}`, at("a", `made-up-${i}`), true, i)
    assert.isAtMost(table.holding, 10)
  })
})

describe("a session", () => {
  it.effect("stays on its backend, and requests without one do not", () =>
    withFleet(two, (fleet) => {
      assert.strictEqual(outcome(fleet, "s"), "miss a")
      assert.strictEqual(outcome(fleet, "t"), "miss b")
      for (let i = 0; i < 5; i++) assert.deepStrictEqual([outcome(fleet, "s"), outcome(fleet, "t")], ["hit a", "hit b"])
      assert.isUndefined(fleet.lease().sticky)
    })
  )

  it.effect("is new again when it was not used for its time to live, which every use begins anew", () =>
    withFleet({ ...two, pool: { ...two.pool, sticky: { ttl: "2s" } } }, (fleet) => {
      outcome(fleet, "s")
      for (let i = 0; i < 4; i++) {
        fleet.now += 1900
        assert.strictEqual(outcome(fleet, "s"), "hit a")
      }
      fleet.now += 2000
      assert.match(outcome(fleet, "s"), /^miss/)
    })
  )

  it.effect.each(["dead", "draining", "resting", "open", "tried", "full"])(
    "moves off a backend that is %s, and stays where it went",
    (what) =>
      withFleet({ backends: [{ name: "a", maxConcurrency: 2 }, { name: "b" }], pool: two.pool ?? {} }, (fleet) => {
        outcome(fleet, "s")
        if (what === "dead") fleet.found("a", "unhealthy")
        if (what === "draining") fleet.found("a", "draining")
        if (what === "resting") fleet.with("a", { restsFor: 60 })
        if (what === "open") fleet.openCircuit("a", fleet.now + 60)
        if (what === "full") fleet.with("a", { inflight: 2 })
        assert.strictEqual(outcome(fleet, "s", what === "tried" ? { tried: [fleet.state("a")] } : {}), "moved b")
        fleet.found("a", "healthy")
        fleet.with("a", { inflight: 0 })
        fleet.now += 100
        assert.strictEqual(outcome(fleet, "s"), "hit b")
      })
  )

  it.effect("moves off a backend that has become far slower than the others, unless these are no better", () =>
    withFleet(two, (fleet) => {
      outcome(fleet, "s")
      for (const name of ["a", "b"]) fleet.with(name, { ejectedFor: 1000 })
      assert.strictEqual(outcome(fleet, "s"), "hit a")
      fleet.with("b", { ejectedFor: 0 })
      assert.strictEqual(outcome(fleet, "s"), "moved b")
      fleet.now += 2000
      assert.strictEqual(outcome(fleet, "s"), "hit b")
    })
  )

  it.effect("goes back to a better tier as soon as that has a usable backend again", () =>
    withFleet({ ...named("a", "b"), pool: { backends: ["a", { name: "b", priority: 1 }] } }, (fleet) => {
      assert.strictEqual(outcome(fleet, "s"), "miss a")
      fleet.found("a", "unhealthy")
      assert.strictEqual(outcome(fleet, "s"), "moved b")
      assert.strictEqual(outcome(fleet, "s"), "hit b")
      fleet.found("a", "healthy")
      assert.strictEqual(outcome(fleet, "s"), "moved a")
    })
  )
})

/** One running request for each session, each beginning on the backend that its session likes. */
const begin = (fleet: Fleet, sessions: ReadonlyArray<string>): ReadonlyArray<Lease> =>
  sessions.map((session) => fleet.lease({ session }))

const many = (count: number) => Array.from({ length: count }, (_, index) => `s${index}`)

describe("sessions on a backend that is far busier than the others", () => {
  it.effect("move one by one, and only as many as it takes", () =>
    withFleet(named("a", "b"), (fleet) => {
      fleet.found("b", "unhealthy")
      for (const lease of begin(fleet, many(40))) lease.release()
      fleet.found("b", "healthy")
      const leases = begin(fleet, many(40))
      const moved = leases.filter(({ sticky }) => sticky === "moved").length
      assert.isAtLeast(moved, 10)
      assert.isAtMost(moved, 20)
      const { inflight } = fleet.state("a")
      assert.isAtMost(inflight, 1.25 * 20 + 2)
    })
  )

  it.effect("stay while the pool is quiet, where every count is far from the mean", () =>
    withFleet(named("a", "b", "c"), (fleet) => {
      const mine = fleet.lease({ session: "s" })
      const again = fleet.lease({ session: "s" })
      assert.deepStrictEqual([again.sticky, nameOf(again)], ["hit", nameOf(mine)])
    })
  )

  it.effect("stay where the work is shared evenly, though a third backend is dead", () =>
    withFleet(named("a", "b", "c"), (fleet) => {
      fleet.found("c", "unhealthy")
      for (const lease of begin(fleet, many(40))) lease.release()
      for (const name of ["a", "b"]) fleet.with(name, { inflight: 20 })
      fleet.state("a").latency.record(1, 0)
      const outcomes = many(40).map((session) => outcome(fleet, session))
      assert.deepStrictEqual(
        outcomes.filter((each) => !each.startsWith("hit")),
        []
      )
    })
  )

  it.effect("stay where the work is shared evenly, though others stand by for the case of need", () =>
    withFleet(
      {
        ...named("a", "b", "c", "d"),
        pool: { backends: ["a", "b", { name: "c", priority: 1 }, { name: "d", priority: 1 }] }
      },
      (fleet) => {
        for (const lease of begin(fleet, many(40))) lease.release()
        for (const name of ["a", "b"]) fleet.with(name, { inflight: 20 })
        fleet.state("a").latency.record(1, 0)
        fleet.state("a").latency.record(1, 0)
        const outcomes = many(40).map((session) => outcome(fleet, session))
        assert.deepStrictEqual(
          outcomes.filter((each) => !each.startsWith("hit")),
          []
        )
      }
    )
  )

  it.effect("count by weight: a strong backend may have more than the others", () =>
    withFleet({ backends: [{ name: "a", weight: 4 }, { name: "b" }] }, (fleet) => {
      for (const lease of begin(fleet, many(40))) lease.release()
      fleet.with("a", { inflight: 40 })
      fleet.with("b", { inflight: 10 })
      const hits = many(40).filter((session) => outcome(fleet, session).startsWith("hit"))
      assert.strictEqual(hits.length, 40)
    })
  )
})

describe("a new configuration", () => {
  it.effect("keeps sessions where how they are kept did not change, and begins anew where it did", () =>
    onFleet(two, (fleet) =>
      Effect.gen(function* () {
        outcome(fleet, "s")
        yield* putInForce(fleet.registry, configOf({ ...named("a", "b", "c"), pool: two.pool ?? {} }))
        assert.strictEqual(outcome(fleet, "s"), "hit a")
        yield* putInForce(fleet.registry, configOf({ ...named("b", "c"), pool: two.pool ?? {} }))
        assert.match(outcome(fleet, "s"), /^moved/)
        const place = outcome(fleet, "s")
        yield* putInForce(fleet.registry, configOf({ ...named("b", "c"), pool: { strategy: "failover" } }))
        assert.strictEqual(outcome(fleet, "s"), place, "another strategy takes no session away")
        yield* putInForce(fleet.registry, configOf({ ...named("b", "c"), pool: { sticky: { ttl: "1h" } } }))
        assert.match(outcome(fleet, "s"), /^miss/)
      })
    )
  )

  it.effect("without the pool takes its sessions away, also those of requests that began before", () =>
    onFleet(two, (fleet) =>
      Effect.gen(function* () {
        const old = fleet.request({ session: "s" })
        assert.match(outcome(fleet, "s"), /^miss/)
        const elsewhere = { pools: [{ name: "other", backends: ["a", "b"] }], listeners: [{ port: 0, pool: "other" }] }
        yield* putInForce(fleet.registry, configOf({ ...two, more: elsewhere }))
        const late = Array.from({ length: 2 }, () => fleet.scheduler.pick(old, fleet.now))
        const told = late.map((picked) => (picked instanceof Lease ? picked.sticky : picked.reason))
        assert.deepStrictEqual(told, ["miss", "hit"], "they find each other as long as they last")
        yield* putInForce(fleet.registry, configOf(two))
        assert.match(outcome(fleet, "s"), /^miss/)
      })
    )
  )

  it.effect("is not undone by a request that began with the old one", () =>
    onFleet({ ...named("a", "b", "c"), pool: { strategy: "round_robin" } }, (fleet) =>
      Effect.gen(function* () {
        const old = fleet.request()
        yield* putInForce(fleet.registry, configOf({ ...named("a", "b", "c"), pool: { sticky: { ttl: "1h" } } }))
        const place = outcome(fleet, "s").replace("miss", "hit")
        const late = fleet.scheduler.pick(old, fleet.now)
        assert.instanceOf(late, Lease)
        assert.strictEqual(outcome(fleet, "s"), place)
      })
    )
  )
})
