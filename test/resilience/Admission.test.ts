import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { Capacity, Registry } from "../../src/registry/Registry.ts"
import { Admission } from "../../src/resilience/Admission.ts"
import { configOf, putInForce } from "../registry/Fixtures.ts"
import { fc } from "../registry/Properties.ts"
import { layerTime } from "../Time.ts"
import { type Bounds, type FakeRequest, FakeRequests, Slots } from "./FakeRequests.ts"
import { forAll } from "./Programs.ts"
import { ScriptedCapacity } from "./ScriptedCapacity.ts"

const pools = (...names: ReadonlyArray<string>) => configOf({ pools: names.map((name) => ({ name, backends: [] })) })

const layerOver = (capacity: Layer.Layer<Capacity>) =>
  Admission.layer.pipe(
    Layer.provideMerge(layerTime),
    Layer.provideMerge(Layer.unwrap(Effect.map(pools("p", "one", "two"), Registry.layerMemory))),
    Layer.provide(capacity)
  )

const layer = layerOver(Capacity.layer)

const withRequests = <A>(
  bounds: Partial<Bounds>,
  use: (requests: FakeRequests, admission: Admission["Service"]) => Effect.Effect<A, never, Scope.Scope>
) =>
  Effect.flatMap(Admission, (admission) => use(new FakeRequests(admission, bounds), admission)).pipe(
    Effect.provide(layer)
  )

/** The error that a request was turned away with. */
const errorOf = ({ exit }: FakeRequest): unknown =>
  exit === undefined || Exit.isSuccess(exit) ? undefined : Cause.squash(exit.cause)

const plenty = () => new Slots(1000)

describe("a pool with a limit", () => {
  it.effect("has at most that many at work, the next ones wait, and each that leaves lets one in", () =>
    withRequests({ maxConcurrent: 2 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = plenty()
        const first = yield* requests.come({ slots })
        for (let i = 0; i < 3; i++) yield* requests.come({ slots })
        assert.deepStrictEqual(requests.told, ["in", "in", "waits", "waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [2, 2])
        yield* first.finish
        assert.deepStrictEqual(requests.told, ["done", "in", "in", "waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [2, 1])
      })
    )
  )

  it.effect("lets in by priority, and within one priority in the order of coming", () =>
    withRequests({ maxConcurrent: 1 }, (requests) =>
      Effect.gen(function* () {
        const slots = plenty()
        const permitted: Array<number> = []
        const note = ({ name }: FakeRequest) => permitted.push(name)
        const first = yield* requests.come({ slots })
        for (const priority of [5, 0, 5, -1, 0]) yield* requests.come({ slots, priority, brief: true, onPermit: note })
        yield* first.finish
        assert.deepStrictEqual(permitted, [4, 2, 5, 1, 3])
      })
    )
  )

  it.effect("lets no newcomer pass those that wait for the same", () =>
    withRequests({ maxConcurrent: 5 }, (requests) =>
      Effect.gen(function* () {
        const slots = new Slots(0)
        yield* requests.come({ slots })
        slots.free = 1
        yield* requests.come({ slots })
        assert.deepStrictEqual(requests.told, ["waits", "waits"])
        yield* TestClock.adjust(100)
        assert.deepStrictEqual(requests.told, ["in", "waits"])
      })
    )
  )

  it.effect("lets one with a better claim pass those that wait", () =>
    withRequests({ maxConcurrent: 5 }, (requests) =>
      Effect.gen(function* () {
        const slots = new Slots(0)
        yield* requests.come({ slots, priority: 1 })
        slots.free = 1
        yield* requests.come({ slots, priority: 0 })
        assert.deepStrictEqual(requests.told, ["waits", "in"])
      })
    )
  )

  it.effect("does not let a full model hold up requests for another one", () =>
    withRequests({ maxConcurrent: 2 }, (requests) =>
      Effect.gen(function* () {
        const full = new Slots(1)
        const free = plenty()
        const first = yield* requests.come({ slots: full, group: "full" })
        yield* requests.come({ slots: full, group: "full" })
        yield* requests.come({ slots: free, group: "free" })
        yield* requests.come({ slots: free, group: "free" })
        assert.deepStrictEqual(requests.told, ["in", "waits", "in", "waits"])
        yield* first.finish
        assert.deepStrictEqual(requests.told, ["done", "in", "in", "waits"])
      })
    )
  )

  it.effect("has one for each pool: a full one says nothing of another", () =>
    Effect.gen(function* () {
      const admission = yield* Admission
      const one = new FakeRequests(admission, { pool: "one", maxConcurrent: 1, maxQueue: 0 })
      const two = new FakeRequests(admission, { pool: "two", maxConcurrent: 1, maxQueue: 0 })
      const slots = plenty()
      for (const requests of [one, one, two]) yield* requests.come({ slots })
      assert.deepStrictEqual([one.told, two.told], [["in", "QueueFull"], ["in"]])
      assert.deepStrictEqual([admission.active("one"), admission.active("two"), admission.active("three")], [1, 1, 0])
    }).pipe(Effect.provide(layer))
  )
})

describe("a full queue", () => {
  it.effect("turns the next one away at once, saying when to come again", () =>
    withRequests({ maxConcurrent: 1, maxQueue: 2 }, (requests) =>
      Effect.gen(function* () {
        const slots = plenty()
        for (let i = 0; i < 3; i++) yield* requests.come({ slots })
        const late = yield* requests.come({ slots })
        assert.deepStrictEqual(requests.told, ["in", "waits", "waits", "QueueFull"])
        assert.deepInclude(errorOf(late), { retryAfter: 30, status: 503, code: "queue_full" })
      })
    )
  )

  it.effect("a queue without any places lets in a request that finds room, and none waits", () =>
    withRequests({ maxConcurrent: 1, maxQueue: 0 }, (requests) =>
      Effect.gen(function* () {
        const slots = plenty()
        const first = yield* requests.come({ slots })
        yield* requests.come({ slots })
        yield* first.finish
        yield* requests.come({ slots })
        assert.deepStrictEqual(requests.told, ["done", "QueueFull", "in"])
      })
    )
  )

  it.effect("is not filled by requests at work that look for their next backend", () =>
    withRequests({ maxConcurrent: 1, maxQueue: 1 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = new Slots(1)
        const first = yield* requests.come({ slots })
        slots.free = -1
        yield* first.again
        yield* requests.come({ slots })
        assert.deepStrictEqual(requests.told, ["waits", "waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [1, 1])
      })
    )
  )

  it.effect("tells a time that comes from how fast the others leave, between 1 and 60 seconds", () =>
    withRequests({ maxConcurrent: 1, maxQueue: 3, queueTimeout: 7000 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = plenty()
        assert.strictEqual(admission.retryAfter("p", 7000), 7)
        let last = yield* requests.come({ slots })
        for (let i = 0; i < 20; i++) {
          const next = yield* requests.come({ slots })
          yield* TestClock.adjust(2000)
          yield* last.finish
          last = next
        }
        for (let i = 0; i < 3; i++) yield* requests.come({ slots })
        const turnedAway = yield* requests.come({ slots })
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
    withRequests({ maxConcurrent: 1, maxQueue: 1, queueTimeout: 5000 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = plenty()
        yield* requests.come({ slots })
        const late = yield* requests.come({ slots })
        yield* TestClock.adjust(4999)
        assert.deepStrictEqual(requests.told, ["in", "waits"])
        yield* TestClock.adjust(21)
        assert.deepStrictEqual(requests.told, ["in", "QueueTimeout"])
        assert.deepInclude(errorOf(late), { retryAfter: 5, status: 503, code: "queue_timeout" })
        assert.strictEqual(admission.depth("p"), 0)
        yield* requests.come({ slots })
        assert.deepStrictEqual(requests.told, ["in", "QueueTimeout", "waits"])
      })
    )
  )

  it.effect("is told of its own deadline where that comes first", () =>
    withRequests({ maxConcurrent: 1, queueTimeout: 5000 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = plenty()
        yield* requests.come({ slots })
        const late = yield* requests.come({ slots, deadline: 1000 })
        yield* TestClock.adjust(1020)
        assert.deepStrictEqual(requests.told, ["in", "DeadlineExceeded"])
        assert.deepInclude(errorOf(late), { status: 504 })
        assert.strictEqual(admission.depth("p"), 0)
      })
    )
  )

  it.effect("leaves at once when its client does, and those behind move up", () =>
    withRequests({ maxConcurrent: 1, maxQueue: 2 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = plenty()
        const first = yield* requests.come({ slots })
        const second = yield* requests.come({ slots })
        yield* requests.come({ slots })
        yield* second.interrupt
        assert.strictEqual(admission.depth("p"), 1)
        yield* requests.come({ slots })
        yield* first.finish
        assert.deepStrictEqual(requests.told, ["done", "left", "in", "waits"])
      })
    )
  )

  it.effect("a request that waits for a backend is let in as soon as something is said to be given back", () =>
    withRequests({ maxConcurrent: 5 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = new Slots(0)
        yield* requests.come({ slots })
        slots.free = 1
        assert.deepStrictEqual(requests.told, ["waits"])
        admission.wake()
        assert.deepStrictEqual(requests.told, ["in"])
      })
    )
  )

  it.effect("looks again by itself within 70 ms, for what only time brings back", () =>
    withRequests({ maxConcurrent: 5 }, (requests) =>
      Effect.gen(function* () {
        const slots = new Slots(0)
        yield* requests.come({ slots })
        yield* TestClock.adjust("10 seconds")
        slots.free = 1
        yield* TestClock.adjust(70)
        assert.deepStrictEqual(requests.told, ["in"])
      })
    )
  )

  it.effect("is turned away as soon as it is clear that no backend will be there", () =>
    withRequests({ maxConcurrent: 5 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = new Slots(0)
        let hope = true
        const otherwise = () => (hope ? ({ _tag: "Wait" } as const) : ({ _tag: "Refused", error: "nobody" } as const))
        yield* requests.come({ slots, otherwise })
        yield* requests.come({ slots, otherwise })
        hope = false
        admission.wake()
        yield* requests.come({ slots, otherwise })
        assert.deepStrictEqual(requests.told, ["nobody", "nobody", "nobody"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [0, 0])
      })
    )
  )

  it.effect("a request that waits again, for its next backend, keeps its permit and is bounded by the same time", () =>
    withRequests({ maxConcurrent: 1, queueTimeout: 1000 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = new Slots(1)
        const first = yield* requests.come({ slots })
        slots.free = -1
        yield* first.again
        yield* TestClock.adjust(900)
        assert.deepStrictEqual([requests.told, admission.active("p")], [["waits"], 1])
        yield* TestClock.adjust(120)
        assert.deepStrictEqual([requests.told, admission.active("p")], [["QueueTimeout"], 0])
      })
    )
  )

  it.effect("a request that waits again finds what is free at once, though others wait for a permit", () =>
    withRequests({ maxConcurrent: 1 }, (requests) =>
      Effect.gen(function* () {
        const slots = plenty()
        const first = yield* requests.come({ slots })
        yield* requests.come({ slots })
        yield* first.again
        assert.deepStrictEqual(requests.told, ["in", "waits"])
      })
    )
  )
})

describe("a request that ends in the very moment of being let in", () => {
  it.effect("is let in once, and leaves nothing behind", () =>
    withRequests({ maxConcurrent: 1 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = new Slots(3)
        const first = yield* requests.come({ slots })
        for (let i = 0; i < 4; i++) yield* requests.come({ slots, brief: true })
        yield* first.finish
        assert.deepStrictEqual(requests.told, ["done", "done", "done", "done", "done"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p"), slots.free], [0, 0, 3])
      })
    )
  )

  it.effect("a request that leaves or is turned away is not let in afterwards by what it gave back itself", () =>
    withRequests({ maxConcurrent: 1 }, (requests, admission) =>
      Effect.gen(function* () {
        const slots = new Slots(1)
        let hope = true
        const first = yield* requests.come({
          slots,
          otherwise: () => {
            if (hope) return { _tag: "Wait" }
            // What comes free while it is being told.
            slots.free = 1
            return { _tag: "Refused", error: "nobody" }
          }
        })
        slots.free = -1
        yield* first.again
        slots.free = 0
        hope = false
        admission.wake()
        assert.deepStrictEqual(requests.told, ["nobody"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p"), slots.free], [0, 0, 1])
      })
    )
  )
})

describe("a permit", () => {
  it.effect(
    "that another process takes between a look and a take is waited for, and no backend is asked for it",
    () => {
      const capacity = new ScriptedCapacity()
      return Effect.gen(function* () {
        const admission = yield* Admission
        const requests = new FakeRequests(admission)
        const slots = new Slots(1)
        capacity.isLost = true
        yield* requests.come({ slots })
        yield* TestClock.adjust(70)
        assert.deepStrictEqual(requests.told, ["waits"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p"), slots.free], [0, 1, 1])
        capacity.isLost = false
        yield* TestClock.adjust(70)
        assert.deepStrictEqual(requests.told, ["in"])
        assert.deepStrictEqual([admission.active("p"), admission.depth("p"), slots.free], [1, 0, 0])
      }).pipe(Effect.provide(layerOver(capacity.layer)))
    }
  )

  it.effect("is not held by a request that broke while it looked for a backend", () =>
    withRequests({ maxConcurrent: 1 }, (requests, admission) =>
      Effect.gen(function* () {
        const broken = () => {
          throw new Error("a defect of ours")
        }
        yield* requests.come({ slots: new Slots(0), otherwise: broken })
        assert.deepStrictEqual([requests.told, admission.active("p")], [["broken"], 0])
      })
    )
  )
})

describe("a pool that is gone", () => {
  it.effect("keeps its limit for the requests that began with it, and is forgotten with the last of them", () => {
    const capacity = new ScriptedCapacity()
    return Effect.gen(function* () {
      const admission = yield* Admission
      const registry = yield* Registry
      const requests = new FakeRequests(admission, { maxConcurrent: 1 })
      const slots = plenty()
      const first = yield* requests.come({ slots })
      yield* putInForce(registry, yield* pools("one"))
      const second = yield* requests.come({ slots })
      assert.deepStrictEqual([requests.told, admission.active("p")], [["in", "waits"], 1])
      yield* first.finish
      yield* second.finish
      assert.deepStrictEqual(capacity.made, ["pool p"])
      const late = yield* requests.come({ slots })
      assert.deepStrictEqual(capacity.made, ["pool p", "pool p"], "one that comes later is counted as well")
      const impatient = yield* requests.come({ slots })
      yield* late.finish
      yield* impatient.finish
      assert.deepStrictEqual(requests.told, ["done", "done", "done", "done"])
      assert.strictEqual(admission.active("p"), 0)
    }).pipe(Effect.provide(layerOver(capacity.layer)))
  })

  it.effect("is forgotten at the change where none of its requests is left", () => {
    const capacity = new ScriptedCapacity()
    return Effect.gen(function* () {
      const registry = yield* Registry
      const requests = new FakeRequests(yield* Admission)
      const comeAndGo = Effect.flatMap(requests.come({ slots: plenty() }), ({ finish }) => finish)
      yield* comeAndGo
      yield* putInForce(registry, yield* pools("p"))
      yield* comeAndGo
      assert.deepStrictEqual(capacity.made, ["pool p"], "a change that leaves it there takes nothing away")
      yield* putInForce(registry, yield* pools("one"))
      yield* putInForce(registry, yield* pools("p"))
      yield* comeAndGo
      assert.deepStrictEqual(capacity.made, ["pool p", "pool p"])
    }).pipe(Effect.provide(layerOver(capacity.layer)))
  })
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
        index: fc.nat()
      })
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("pass" as const), millis: fc.nat({ max: 400 }) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("resize" as const),
        group: fc.constantFrom("a", "b"),
        by: fc.integer({ min: -2, max: 2 }),
        wake: fc.boolean()
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
        const { now } = yield* MonotonicClock
        const requests = new FakeRequests(admission, { maxConcurrent, maxQueue, queueTimeout: 1000 })
        const groups: Record<string, Slots> = { a: new Slots(2), b: new Slots(1) }
        let all = 3
        const pick = (among: ReadonlyArray<FakeRequest>, index: number) => among[index % Math.max(1, among.length)]
        const inOrder = (request: FakeRequest) => {
          for (const other of requests.waiting) {
            if (other === request || other.group !== request.group) continue
            assert.isFalse(other.priority < request.priority, "passed one with a better claim")
            assert.isFalse(
              other.priority === request.priority && other.name < request.name,
              "passed one that came before"
            )
          }
        }
        const check = () => {
          const permitted = requests.all.filter((request) => request.permitted).length
          assert.strictEqual(admission.active("p"), permitted)
          assert.isAtMost(permitted, maxConcurrent)
          assert.strictEqual(admission.depth("p"), requests.waiting.length)
          assert.isAtMost(requests.waiting.length, maxQueue)
          for (const { asking, leased, permitted: hasPermit } of requests.all) {
            if (leased) assert.isTrue(hasPermit)
            if (hasPermit && !asking) assert.isTrue(leased)
          }
        }
        for (const command of script) {
          if (command.do === "come") {
            const slots = groups[command.group]
            if (slots === undefined) continue
            const { brief, group, patience, priority } = command
            const deadline = patience === null ? {} : { deadline: now() + patience }
            yield* requests.come({ slots, group, priority, brief, onPermit: inOrder, ...deadline })
          } else if (command.do === "pass") {
            yield* TestClock.adjust(command.millis)
          } else if (command.do === "resize") {
            const slots = groups[command.group]
            if (slots === undefined) continue
            slots.free += command.by
            all += command.by
            if (command.wake) admission.wake()
          } else if (command.do === "leave") {
            yield* pick(
              requests.all.filter(({ exit }) => exit === undefined),
              command.index
            )?.interrupt ?? Effect.void
          } else {
            yield* pick(requests.atWork, command.index)?.[command.do] ?? Effect.void
          }
          check()
        }
        // Nobody is left standing before what is free.
        yield* TestClock.adjust(70)
        check()
        for (const { asking, group, permitted } of requests.all) {
          if (asking && (permitted || admission.active("p") < maxConcurrent)) {
            assert.isAtMost(groups[group]?.free ?? 0, 0, "waits although there is a place")
          }
        }
        while (requests.atWork.length > 0) {
          yield* requests.atWork[0]?.finish ?? Effect.void
          check()
        }
        yield* TestClock.adjust(1100)
        assert.notInclude(requests.told, "waits")
        assert.notInclude(requests.told, "broken")
        while (requests.atWork.length > 0) yield* requests.atWork[0]?.finish ?? Effect.void
        check()
        assert.deepStrictEqual([admission.active("p"), admission.depth("p")], [0, 0])
        assert.strictEqual((groups["a"]?.free ?? 0) + (groups["b"]?.free ?? 0), all)
      }),
      1000
    ))
})
