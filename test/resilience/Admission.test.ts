import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { Admission } from "../../src/resilience/Admission.ts"
import { Timers } from "../../src/resilience/Timers.ts"
import { fc } from "../registry/Properties.ts"
import { type Bounds, FakeRequests, Places, type Visitor } from "./FakeRequests.ts"
import { forAll } from "./Programs.ts"

const layer = Admission.layer.pipe(Layer.provideMerge(Timers.layer))

const withCrowd = <A>(
  bounds: Partial<Bounds>,
  use: (crowd: FakeRequests, admission: Admission["Service"]) => Effect.Effect<A, never, Scope.Scope>
) =>
  Effect.flatMap(Admission, (admission) => use(new FakeRequests(admission, bounds), admission)).pipe(
    Effect.provide(layer)
  )

/** The error that a visitor was turned away with. */
const errorOf = ({ exit }: Visitor): unknown =>
  exit === undefined || Exit.isSuccess(exit) ? undefined : Cause.squash(exit.cause)

const plenty = () => new Places(1000)

describe("a pool with a limit", () => {
  it.effect("has at most that many at work, the next ones wait, and each that leaves lets one in", () =>
    withCrowd({ maxConcurrent: 2 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = plenty()
        const first = yield* crowd.come({ places })
        for (let i = 0; i < 3; i++) yield* crowd.come({ places })
        assert.deepStrictEqual(crowd.told, ["in", "in", "waits", "waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [2, 2])
        yield* first.finish
        assert.deepStrictEqual(crowd.told, ["done", "in", "in", "waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [2, 1])
      })
    )
  )

  it.effect("lets in by priority, and within one priority in the order of coming", () =>
    withCrowd({ maxConcurrent: 1 }, (crowd) =>
      Effect.gen(function* () {
        const places = plenty()
        const admitted: Array<number> = []
        const note = ({ name }: Visitor) => admitted.push(name)
        const first = yield* crowd.come({ places })
        for (const priority of [5, 0, 5, -1, 0]) yield* crowd.come({ places, priority, brief: true, onAdmitted: note })
        yield* first.finish
        assert.deepStrictEqual(admitted, [4, 2, 5, 1, 3])
      })
    )
  )

  it.effect("lets no newcomer pass those that wait for the same", () =>
    withCrowd({ maxConcurrent: 5 }, (crowd) =>
      Effect.gen(function* () {
        const places = new Places(0)
        yield* crowd.come({ places })
        places.free = 1
        yield* crowd.come({ places })
        assert.deepStrictEqual(crowd.told, ["waits", "waits"])
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(crowd.told, ["in", "waits"])
      })
    )
  )

  it.effect("lets one with a better claim pass those that wait", () =>
    withCrowd({ maxConcurrent: 5 }, (crowd) =>
      Effect.gen(function* () {
        const places = new Places(0)
        yield* crowd.come({ places, priority: 1 })
        places.free = 1
        yield* crowd.come({ places, priority: 0 })
        assert.deepStrictEqual(crowd.told, ["waits", "in"])
      })
    )
  )

  it.effect("does not let a full model hold up requests for another one", () =>
    withCrowd({ maxConcurrent: 2 }, (crowd) =>
      Effect.gen(function* () {
        const full = new Places(1)
        const free = plenty()
        const first = yield* crowd.come({ places: full, group: "full" })
        yield* crowd.come({ places: full, group: "full" })
        yield* crowd.come({ places: free, group: "free" })
        yield* crowd.come({ places: free, group: "free" })
        assert.deepStrictEqual(crowd.told, ["in", "waits", "in", "waits"])
        yield* first.finish
        assert.deepStrictEqual(crowd.told, ["done", "in", "in", "waits"])
      })
    )
  )

  it.effect("has one for each pool: a full one says nothing of another", () =>
    Effect.gen(function* () {
      const admission = yield* Admission
      const one = new FakeRequests(admission, { pool: "one", maxConcurrent: 1, maxQueue: 0 })
      const two = new FakeRequests(admission, { pool: "two", maxConcurrent: 1, maxQueue: 0 })
      const places = plenty()
      for (const crowd of [one, one, two]) yield* crowd.come({ places })
      assert.deepStrictEqual([one.told, two.told], [["in", "QueueFull"], ["in"]])
      assert.deepStrictEqual([admission.active("one"), admission.active("two"), admission.active("three")], [1, 1, 0])
    }).pipe(Effect.provide(layer))
  )
})

describe("a full queue", () => {
  it.effect("turns the next one away at once, saying when to come again", () =>
    withCrowd({ maxConcurrent: 1, maxQueue: 2 }, (crowd) =>
      Effect.gen(function* () {
        const places = plenty()
        for (let i = 0; i < 3; i++) yield* crowd.come({ places })
        const late = yield* crowd.come({ places })
        assert.deepStrictEqual(crowd.told, ["in", "waits", "waits", "QueueFull"])
        assert.deepInclude(errorOf(late), { retryAfter: 30, status: 503, code: "queue_full" })
      })
    )
  )

  it.effect("a queue without any places lets in a request that finds room, and none waits", () =>
    withCrowd({ maxConcurrent: 1, maxQueue: 0 }, (crowd) =>
      Effect.gen(function* () {
        const places = plenty()
        const first = yield* crowd.come({ places })
        yield* crowd.come({ places })
        yield* first.finish
        yield* crowd.come({ places })
        assert.deepStrictEqual(crowd.told, ["done", "QueueFull", "in"])
      })
    )
  )

  it.effect("is not filled by requests at work that look for their next backend", () =>
    withCrowd({ maxConcurrent: 1, maxQueue: 1 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = new Places(1)
        const first = yield* crowd.come({ places })
        places.free = -1
        yield* first.again
        yield* crowd.come({ places })
        assert.deepStrictEqual(crowd.told, ["waits", "waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [1, 1])
      })
    )
  )

  it.effect("tells a time that comes from how fast the others leave, between 1 and 60 seconds", () =>
    withCrowd({ maxConcurrent: 1, maxQueue: 3, queueTimeout: 7000 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = plenty()
        assert.strictEqual(admission.retryAfter("p", 7000), 7)
        let last = yield* crowd.come({ places })
        for (let i = 0; i < 20; i++) {
          const next = yield* crowd.come({ places })
          yield* TestClock.adjust(2000)
          yield* last.finish
          last = next
        }
        for (let i = 0; i < 3; i++) yield* crowd.come({ places })
        const turnedAway = yield* crowd.come({ places })
        // Three in the line and one every two seconds: the fourth has its turn in about eight.
        assert.closeTo(Number(Reflect.get(Object(errorOf(turnedAway)), "retryAfter")), 8, 1)
        assert.strictEqual(admission.retryAfter("p", 3_600_000), Reflect.get(Object(errorOf(turnedAway)), "retryAfter"))
        assert.strictEqual(admission.retryAfter("another", 3_600_000), 60)
      })
    )
  )
})

describe("a waiting request", () => {
  it.effect("is told when the queue's time is over, to 20 ms, and its place is free", () =>
    withCrowd({ maxConcurrent: 1, maxQueue: 1, queueTimeout: 5000 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = plenty()
        yield* crowd.come({ places })
        const late = yield* crowd.come({ places })
        yield* TestClock.adjust(4999)
        assert.deepStrictEqual(crowd.told, ["in", "waits"])
        yield* TestClock.adjust(21)
        assert.deepStrictEqual(crowd.told, ["in", "QueueTimeout"])
        assert.deepInclude(errorOf(late), { retryAfter: 5, status: 503, code: "queue_timeout" })
        assert.strictEqual(admission.depth("p"), 0)
        yield* crowd.come({ places })
        assert.deepStrictEqual(crowd.told, ["in", "QueueTimeout", "waits"])
      })
    )
  )

  it.effect("is told of its own deadline where that comes first", () =>
    withCrowd({ maxConcurrent: 1, queueTimeout: 5000 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = plenty()
        yield* crowd.come({ places })
        const late = yield* crowd.come({ places, deadline: 1000 })
        yield* TestClock.adjust(1020)
        assert.deepStrictEqual(crowd.told, ["in", "DeadlineExceeded"])
        assert.deepInclude(errorOf(late), { status: 504 })
        assert.strictEqual(admission.depth("p"), 0)
      })
    )
  )

  it.effect("leaves at once when its client does, and those behind move up", () =>
    withCrowd({ maxConcurrent: 1, maxQueue: 2 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = plenty()
        const first = yield* crowd.come({ places })
        const second = yield* crowd.come({ places })
        yield* crowd.come({ places })
        yield* second.interrupt
        assert.strictEqual(admission.depth("p"), 1)
        yield* crowd.come({ places })
        yield* first.finish
        assert.deepStrictEqual(crowd.told, ["done", "left", "in", "waits"])
      })
    )
  )

  it.effect("a request that waits for a backend is let in as soon as something is said to be given back", () =>
    withCrowd({ maxConcurrent: 5 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = new Places(0)
        yield* crowd.come({ places })
        places.free = 1
        assert.deepStrictEqual(crowd.told, ["waits"])
        admission.wake()
        assert.deepStrictEqual(crowd.told, ["in"])
      })
    )
  )

  it.effect("looks again by itself within 70 ms, for what only time brings back", () =>
    withCrowd({ maxConcurrent: 5 }, (crowd) =>
      Effect.gen(function* () {
        const places = new Places(0)
        yield* crowd.come({ places })
        yield* TestClock.adjust("10 seconds")
        places.free = 1
        yield* TestClock.adjust(70)
        assert.deepStrictEqual(crowd.told, ["in"])
      })
    )
  )

  it.effect("is turned away as soon as it is clear that no backend will be there", () =>
    withCrowd({ maxConcurrent: 5 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = new Places(0)
        let hope = true
        const otherwise = () => (hope ? ({ _tag: "Wait" } as const) : ({ _tag: "Refused", error: "nobody" } as const))
        yield* crowd.come({ places, otherwise })
        yield* crowd.come({ places, otherwise })
        hope = false
        admission.wake()
        yield* crowd.come({ places, otherwise })
        assert.deepStrictEqual(crowd.told, ["nobody", "nobody", "nobody"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [0, 0])
      })
    )
  )

  it.effect("a request that waits again, for its next backend, keeps its permit and is bounded by the same time", () =>
    withCrowd({ maxConcurrent: 1, queueTimeout: 1000 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = new Places(1)
        const first = yield* crowd.come({ places })
        places.free = -1
        yield* first.again
        yield* TestClock.adjust(900)
        assert.deepStrictEqual([crowd.told, admission.active("p")], [["waits"], 1])
        yield* TestClock.adjust(120)
        assert.deepStrictEqual([crowd.told, admission.active("p")], [["QueueTimeout"], 0])
      })
    )
  )

  it.effect("a request that waits again finds what is free at once, though others wait for a permit", () =>
    withCrowd({ maxConcurrent: 1 }, (crowd) =>
      Effect.gen(function* () {
        const places = plenty()
        const first = yield* crowd.come({ places })
        yield* crowd.come({ places })
        yield* first.again
        assert.deepStrictEqual(crowd.told, ["in", "waits"])
      })
    )
  )
})

describe("a request that ends in the very moment of being let in", () => {
  it.effect("is let in once, and leaves nothing behind", () =>
    withCrowd({ maxConcurrent: 1 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = new Places(3)
        const first = yield* crowd.come({ places })
        for (let i = 0; i < 4; i++) yield* crowd.come({ places, brief: true })
        yield* first.finish
        assert.deepStrictEqual(crowd.told, ["done", "done", "done", "done", "done"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p"), places.free], [0, 0, 3])
      })
    )
  )

  it.effect("a request that leaves or is turned away is not let in afterwards by what it gave back itself", () =>
    withCrowd({ maxConcurrent: 1 }, (crowd, admission) =>
      Effect.gen(function* () {
        const places = new Places(1)
        let hope = true
        const first = yield* crowd.come({
          places,
          otherwise: () => {
            if (hope) return { _tag: "Wait" }
            // What comes free while it is being told.
            places.free = 1
            return { _tag: "Refused", error: "nobody" }
          }
        })
        places.free = -1
        yield* first.again
        places.free = 0
        hope = false
        admission.wake()
        assert.deepStrictEqual(crowd.told, ["nobody"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p"), places.free], [0, 0, 1])
      })
    )
  )
})

/** Whatever comes, in any order. */
const commands = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant("come" as const),
        group: fc.constantFrom("a", "b"),
        priority: fc.nat({ max: 2 }),
        brief: fc.boolean(),
        patience: fc.option(fc.nat({ max: 900 }))
      })
    },
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constantFrom("finish" as const, "again" as const, "leave" as const),
        who: fc.nat()
      })
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("pass" as const), millis: fc.nat({ max: 400 }) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("resize" as const),
        group: fc.constantFrom("a", "b"),
        by: fc.integer({ min: -2, max: 2 }),
        poke: fc.boolean()
      })
    }
  ),
  { maxLength: 60, size: "max" }
)

describe("a course of requests that come, wait, fail over, give up and leave", () => {
  it("the limits are exact, none overtakes, none is lost, and in the end nothing is held", () =>
    forAll(
      fc.record({ maxConcurrent: fc.integer({ min: 1, max: 4 }), maxQueue: fc.nat({ max: 5 }), script: commands }),
      layer,
      Effect.fnUntraced(function* ({ maxConcurrent, maxQueue, script }) {
        const admission = yield* Admission
        const timers = yield* Timers
        const crowd = new FakeRequests(admission, { maxConcurrent, maxQueue, queueTimeout: 1000 })
        const groups: Record<string, Places> = { a: new Places(2), b: new Places(1) }
        let all = 3
        const pick = (visitors: ReadonlyArray<Visitor>, who: number) => visitors[who % Math.max(1, visitors.length)]
        const inOrder = (visitor: Visitor) => {
          for (const other of crowd.waiting) {
            if (other === visitor || other.group !== visitor.group) continue
            assert.isFalse(other.priority < visitor.priority, "passed one with a better claim")
            assert.isFalse(
              other.priority === visitor.priority && other.name < visitor.name,
              "passed one who came before"
            )
          }
        }
        const check = () => {
          const permitted = crowd.all.filter((visitor) => visitor.permitted).length
          assert.strictEqual(admission.active("p"), permitted)
          assert.isAtMost(permitted, maxConcurrent)
          assert.strictEqual(admission.depth("p"), crowd.waiting.length)
          assert.isAtMost(crowd.waiting.length, maxQueue)
          for (const { asking, leased, permitted: hasPermit } of crowd.all) {
            if (leased) assert.isTrue(hasPermit)
            if (hasPermit && !asking) assert.isTrue(leased)
          }
        }
        for (const command of script) {
          if (command.do === "come") {
            const places = groups[command.group]
            if (places === undefined) continue
            const { brief, group, patience, priority } = command
            const deadline = patience === null ? {} : { deadline: timers.now() + patience }
            yield* crowd.come({ places, group, priority, brief, onAdmitted: inOrder, ...deadline })
          } else if (command.do === "pass") {
            yield* TestClock.adjust(command.millis)
          } else if (command.do === "resize") {
            const places = groups[command.group]
            if (places === undefined) continue
            places.free += command.by
            all += command.by
            if (command.poke) admission.wake()
          } else if (command.do === "leave") {
            yield* pick(
              crowd.all.filter(({ exit }) => exit === undefined),
              command.who
            )?.interrupt ?? Effect.void
          } else {
            yield* pick(crowd.atWork, command.who)?.[command.do] ?? Effect.void
          }
          check()
        }
        // Nobody is left standing before what is free.
        yield* TestClock.adjust(70)
        check()
        for (const { asking, group, permitted } of crowd.all) {
          if (asking && (permitted || admission.active("p") < maxConcurrent)) {
            assert.isAtMost(groups[group]?.free ?? 0, 0, "waits although there is a place")
          }
        }
        while (crowd.atWork.length > 0) {
          yield* crowd.atWork[0]?.finish ?? Effect.void
          check()
        }
        yield* TestClock.adjust(1100)
        assert.notInclude(crowd.told, "waits")
        assert.notInclude(crowd.told, "broken")
        while (crowd.atWork.length > 0) yield* crowd.atWork[0]?.finish ?? Effect.void
        check()
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [0, 0])
        assert.strictEqual((groups["a"]?.free ?? 0) + (groups["b"]?.free ?? 0), all)
      }),
      1000
    ))
})
