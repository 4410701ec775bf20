import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Schema } from "effect"
import { TestClock } from "effect/testing"
import { GatewayConfig } from "../../src/domain/GatewayConfig.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { type BackendState, Registry } from "../../src/registry/Registry.ts"
import { OutlierDetector } from "../../src/resilience/OutlierDetector.ts"
import { layerTime } from "../Time.ts"

/** What a backend does in a second: it has so many requests, ends some, and begins as many answers, so late. */
interface Work {
  readonly inflight: number
  readonly ends: number
  readonly begins: number
}

const well: Work = { inflight: 16, ends: 8, begins: 100 }
const broken: Work = { inflight: 16, ends: 1, begins: 1500 }

const decode = Schema.decodeUnknownSync(GatewayConfig)

interface Pooled {
  readonly weight?: number
  readonly priority?: number
  readonly models?: ReadonlyArray<string>
}

const configOf = (members: Readonly<Record<string, Pooled>>): GatewayConfig =>
  decode({
    listeners: [{ port: 0, pool: "default" }],
    backends: Object.entries(members).map(([name, { models }], index) => ({
      name,
      url: `http://10.0.0.${index + 1}:8000`,
      ...(models !== undefined && { models })
    })),
    pools: [
      {
        name: "default",
        backends: Object.entries(members).map(([name, { priority = 0, weight = 1 }]) => ({ name, priority, weight }))
      }
    ]
  })

/** A pool that works, second by second, under the eyes of the detector. */
class Scene {
  readonly #states: ReadonlyMap<string, BackendState>
  readonly #now: () => number

  constructor(states: ReadonlyMap<string, BackendState>, now: () => number) {
    this.#states = states
    this.#now = now
  }

  /** Lets time pass; who is not named is well. */
  readonly work = (seconds: number, others: Readonly<Record<string, Work>> = {}) =>
    Effect.gen({ self: this }, function* () {
      for (let second = 0; second < seconds; second++) {
        for (const [name, state] of this.#states) {
          const { begins, ends, inflight } = others[name] ?? well
          state.requests += Math.max(1, inflight + ends - state.inflight)
          state.inflight = inflight
          for (let answer = 0; answer < ends; answer++) state.latency.record(begins, this.#now())
        }
        yield* TestClock.adjust("1 second")
      }
    })

  /** Who is asked last now. */
  get setBack(): string {
    return [...this.#states]
      .filter(([, state]) => state.ejectedUntil > this.#now())
      .map(([name]) => name)
      .join("")
  }

  /** Works until somebody is set back anew; for how many seconds then. */
  readonly until = (name: string, works: Readonly<Record<string, Work>>) =>
    Effect.gen({ self: this }, function* () {
      const state = this.#states.get(name)
      assert.isDefined(state)
      const before = state.ejectedUntil
      for (let second = 0; second < 8; second++) {
        yield* this.work(1, works)
        if (state.ejectedUntil > before) return (state.ejectedUntil - this.#now()) / 1000
      }
      return assert.fail(`${name} was not set back within eight seconds`)
    })
}

const watching = <A, E>(members: Readonly<Record<string, Pooled>>, test: (scene: Scene) => Effect.Effect<A, E>) => {
  const services = Layer.mergeAll(layerTime, Registry.layerMemory(configOf(members)))
  return Effect.gen(function* () {
    const { backends } = (yield* Registry).current()
    const { now } = yield* MonotonicClock
    return yield* test(new Scene(new Map([...backends].map(([name, { state }]) => [name, state])), now))
  }).pipe(Effect.provide(OutlierDetector.layer.pipe(Layer.provideMerge(services))))
}

const eight = { a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {} }

describe("a backend that turns ten times slower than its peers", () => {
  it.effect("is asked last within ten seconds, for ten seconds", () =>
    watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        assert.strictEqual(scene.setBack, "")
        yield* scene.work(2, { c: broken })
        assert.strictEqual(yield* scene.until("c", { c: broken }), 10)
        assert.strictEqual(scene.setBack, "c")
        yield* scene.work(9)
        assert.strictEqual(scene.setBack, "c")
        yield* scene.work(1)
        assert.strictEqual(scene.setBack, "")
      })
    )
  )

  it.effect("is found even where it begins no answer at all", () =>
    watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        assert.strictEqual(yield* scene.until("c", { c: { inflight: 30, ends: 0, begins: 0 } }), 10)
      })
    )
  )

  it.effect("is asked last for twice as long each time that it is found slow again, and five minutes at most", () =>
    watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        const times: Array<number> = []
        for (let round = 0; round < 7; round++) {
          const seconds = yield* scene.until("c", { c: broken })
          times.push(seconds)
          yield* scene.work(seconds - 1, { c: broken })
        }
        assert.deepStrictEqual(times, [10, 20, 40, 80, 160, 300, 300])
      })
    )
  )

  it.effect("is taken for a new case when it was well for five minutes", () =>
    watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        assert.strictEqual(yield* scene.until("c", { c: broken }), 10)
        yield* scene.work(320)
        assert.strictEqual(yield* scene.until("c", { c: broken }), 10)
      })
    )
  )

  it.effect("is left in peace when it is well again", () =>
    watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        yield* scene.until("c", { c: broken })
        yield* scene.work(9, { c: broken })
        yield* scene.work(1)
        for (let second = 0; second < 60; second++) {
          yield* scene.work(1)
          assert.strictEqual(scene.setBack, "")
        }
      })
    )
  )
})

describe("a backend that is not ejected", () => {
  it.effect.each([
    { reason: "since all are slow", works: Object.fromEntries(Object.keys(eight).map((name) => [name, broken])) },
    { reason: "for a queue: answers begin late, and as many end", works: { c: { ...well, begins: 1500 } } },
    { reason: "for long answers: few end, and they begin in time", works: { c: { ...well, ends: 1 } } },
    { reason: "for a queue of its own making", works: { c: { inflight: 80, ends: 8, begins: 1500 } } },
    { reason: "for being half as fast", works: { c: { inflight: 16, ends: 4, begins: 200 } } },
    {
      reason: "on a pool that has hardly anything to do",
      works: Object.fromEntries(
        Object.keys(eight).map((name) => [name, { inflight: 0, ends: name === "c" ? 0 : 1, begins: 100 }])
      )
    }
  ])("a backend is not ejected $reason", ({ works }) =>
    watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        for (let second = 0; second < 40; second++) {
          yield* scene.work(1, works)
          assert.strictEqual(scene.setBack, "")
        }
      })
    )
  )

  it.effect("a backend is not ejected for having a small part of the others' weight, and being slower by as much", () =>
    watching({ a: { weight: 10 }, b: { weight: 10 }, c: { weight: 1 }, d: { weight: 10 } }, (scene) =>
      Effect.gen(function* () {
        for (let second = 0; second < 40; second++) {
          yield* scene.work(1, { c: broken })
          assert.strictEqual(scene.setBack, "")
        }
      })
    )
  )

  it.effect("a backend without peers is not ejected: alone, alone with its models, or alone in its tier", () =>
    watching({ a: {}, b: {}, c: { models: ["large"] }, d: { priority: 1 } }, (scene) =>
      Effect.gen(function* () {
        for (let second = 0; second < 40; second++) {
          yield* scene.work(1, { c: broken, d: broken })
          assert.strictEqual(scene.setBack, "")
        }
      })
    )
  )
})

describe("the part of a pool that is ejected at most", () => {
  it.effect.each([
    { slow: "abc", members: eight, most: 2 },
    { slow: "ab", members: { a: {}, b: {}, c: {}, d: {}, e: {} }, most: 1 },
    { slow: "a", members: { a: {}, b: {} }, most: 1 }
  ])("a pool of which $slow are slow has at most $most ejected at once", ({ members, most, slow }) =>
    watching(members, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        const works = Object.fromEntries(slow.split("").map((name) => [name, broken]))
        let seen = 0
        for (let second = 0; second < 60; second++) {
          yield* scene.work(1, works)
          seen = Math.max(seen, scene.setBack.length)
        }
        assert.strictEqual(seen, most)
      })
    )
  )
})

describe("the log", () => {
  it.effect("tells each ejection once, with the backend and the reason", () => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      const [text, fields] = Array.isArray(message) ? message : [message]
      lines.push(`${logLevel} ${text} ${fields.backend}: ${fields.reason}`)
    })
    const line = "Warn backend ejected c: it is far slower than its peers; it is asked last for a while"
    return watching(eight, (scene) =>
      Effect.gen(function* () {
        yield* scene.work(30)
        assert.deepStrictEqual(lines, [])
        const seconds = yield* scene.until("c", { c: broken })
        yield* scene.work(seconds - 1, { c: broken })
        assert.deepStrictEqual(lines, [line])
        yield* scene.until("c", { c: broken })
        assert.deepStrictEqual(lines, [line, line])
      })
    ).pipe(Effect.provide(Logger.layer([logger])))
  })
})
