import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { Registry } from "../../src/registry/Registry.ts"
import { type CallResult, type CallRole, CircuitBreaker } from "../../src/resilience/CircuitBreaker.ts"
import { backendOf, configOf, putInForce } from "../registry/Fixtures.ts"
import { fc } from "../registry/Properties.ts"
import { layerTime } from "../Time.ts"
import { counted, layerMetrics } from "../telemetry/TestMetrics.ts"
import { forAll } from "./Programs.ts"

const backendWith = (breaker: object) => ({ name: "a", url: "http://127.0.0.1:9001", breaker })

const scene = Effect.gen(function* () {
  const breaker = yield* CircuitBreaker
  const { now } = yield* MonotonicClock
  const registry = yield* Registry
  const backend = () => backendOf(registry.current(), "a")
  /** One call from its beginning to its end; what it was to the circuit. */
  const call = (result: CallResult): CallRole => {
    const role = breaker.begin(backend())
    breaker.end(backend(), role, result)
    return role
  }
  const calls = (...results: ReadonlyArray<CallResult>) => {
    for (const result of results) call(result)
  }
  return {
    breaker,
    registry,
    backend,
    call,
    calls,
    circuit: () => backend().state.circuit,
    phase: () => backend().state.circuit.phase,
    /** A probe of the prober finds it well. */
    goodProbe: () => backend().state.health.probed("healthy", { unhealthyAfter: 3, healthyAfter: 1 }, 0, now()),
    /** Makes it open. */
    open: () => calls("broken", "broken", "broken", "broken", "broken")
  }
})

type Scene = Effect.Success<typeof scene>

const layerOf = (breaker: object, logs = Logger.layer([])) =>
  Layer.unwrap(
    Effect.map(configOf({ backends: [backendWith(breaker)] }), (config) =>
      CircuitBreaker.layer.pipe(
        Layer.provideMerge(Layer.mergeAll(layerTime, Registry.layerMemory(config), layerMetrics, logs))
      )
    )
  )

const onBreaker = <A>(breaker: object, use: (on: Scene) => Effect.Effect<A>, logs = Logger.layer([])) =>
  Effect.flatMap(scene, use).pipe(Effect.provide(layerOf(breaker, logs)))

const alternating = (count: number): ReadonlyArray<CallResult> =>
  Array.from({ length: count }, (_, index) => (index % 2 === 0 ? "success" : "failure"))

describe("a closed circuit", () => {
  it.effect("opens when enough calls were made and too many of them failed", () =>
    onBreaker({}, ({ calls, phase }) =>
      Effect.sync(() => {
        calls(...alternating(9))
        assert.strictEqual(phase(), "closed")
        calls("failure")
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("stays closed below the threshold, however many calls there are", () =>
    onBreaker({ threshold: 0.5 }, ({ calls, phase }) =>
      Effect.sync(() => {
        for (let i = 0; i < 200; i++) calls("success", "failure", "success")
        assert.strictEqual(phase(), "closed")
      })
    )
  )

  it.effect("follows its own settings", () =>
    onBreaker({ threshold: 0.2, minRequests: 5 }, ({ calls, phase }) =>
      Effect.sync(() => {
        calls("success", "success", "success", "success")
        assert.strictEqual(phase(), "closed")
        calls("failure")
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("opens at five transport errors or time-outs in a row, without waiting for a volume", () =>
    onBreaker({ minRequests: 1000 }, ({ calls, phase }) =>
      Effect.sync(() => {
        calls("broken", "broken", "broken", "broken", "success", "broken", "broken", "broken", "broken")
        assert.strictEqual(phase(), "closed")
        calls("broken")
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("opens at as many transport errors in a row as it is set to", () =>
    onBreaker({ minRequests: 1000, consecutive: 2 }, ({ calls, phase }) =>
      Effect.sync(() => {
        calls("broken", "success", "broken")
        assert.strictEqual(phase(), "closed")
        calls("broken")
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("has no hidden rule: answers with an error count towards the share alone, and end a row", () =>
    onBreaker({ threshold: 1, minRequests: 1000 }, ({ calls, phase }) =>
      Effect.sync(() => {
        for (let i = 0; i < 100; i++) calls("failure", "failure", "failure", "failure", "failure")
        for (let i = 0; i < 99; i++) calls("broken", "broken", "broken", "broken", "failure")
        calls("broken", "broken", "broken", "broken")
        assert.strictEqual(phase(), "closed")
        calls("failure")
        assert.strictEqual(phase(), "open", "at the thousandth call")
      })
    )
  )

  it.effect("does not hold against a backend what is older than the window", () =>
    onBreaker({ window: "10s" }, ({ calls, phase }) =>
      Effect.gen(function* () {
        for (let round = 0; round < 20; round++) {
          calls("broken", "broken", "broken", "broken", "success")
          assert.strictEqual(phase(), "closed")
          yield* TestClock.adjust("10 seconds")
        }
      })
    )
  )

  it.effect("is not moved by what says nothing of the backend: back-pressure, clients that left", () =>
    onBreaker({}, ({ calls, phase }) =>
      Effect.sync(() => {
        calls("broken", "broken", "broken", "broken")
        for (let i = 0; i < 100; i++) calls("ignored")
        assert.strictEqual(phase(), "closed")
        calls("broken")
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("counts a stream that broke off after it had begun, and not towards a row", () =>
    onBreaker({ minRequests: 8, threshold: 0.6 }, ({ backend, breaker, calls, phase }) =>
      Effect.sync(() => {
        calls("success", "success", "success")
        for (let i = 0; i < 4; i++) {
          calls("success")
          breaker.brokeOff(backend())
        }
        assert.strictEqual(phase(), "closed", "four of seven")
        calls("success")
        breaker.brokeOff(backend())
        assert.strictEqual(phase(), "open", "five of eight")
      })
    )
  )

  it.effect("counts a stream that broke off once, as a failure, in the share of failures", () =>
    onBreaker({ threshold: 0.7, minRequests: 10 }, ({ backend, breaker, calls, phase }) =>
      Effect.sync(() => {
        // Four of each five break off: as one success and one failure each, that would be less than half.
        for (let i = 0; i < 2; i++) {
          assert.strictEqual(phase(), "closed")
          calls("success", "success", "success", "success")
          for (let n = 0; n < 3; n++) breaker.brokeOff(backend())
          calls("success")
          breaker.brokeOff(backend())
        }
        assert.strictEqual(phase(), "open")
      })
    )
  )
})

describe("an open circuit", () => {
  it.effect("is shown half open when its cooldown is over, even where no traffic comes", () =>
    onBreaker({ cooldown: "30s" }, ({ circuit, open, phase }) =>
      Effect.gen(function* () {
        yield* TestClock.adjust("7 seconds")
        open()
        assert.strictEqual(circuit().openUntil, 37_000)
        yield* TestClock.adjust("29 seconds")
        assert.strictEqual(phase(), "open")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(phase(), "half_open")
      })
    )
  )

  it.effect("is not closed by calls that began before it opened", () =>
    onBreaker({}, ({ backend, breaker, open, phase }) =>
      Effect.sync(() => {
        const early = [1, 2, 3].map(() => breaker.begin(backend()))
        assert.deepStrictEqual(early, ["usual", "usual", "usual"])
        open()
        breaker.end(backend(), "usual", "success")
        breaker.end(backend(), "usual", "failure")
        breaker.brokeOff(backend())
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("turns half open for the call that the scheduler chose it for after the cooldown", () =>
    onBreaker({ cooldown: "500ms" }, ({ backend, breaker, circuit, open, phase }) =>
      Effect.gen(function* () {
        open()
        yield* TestClock.adjust(600)
        assert.strictEqual(breaker.begin(backend()), "trial")
        assert.deepStrictEqual([phase(), circuit().trialRunning], ["half_open", true])
      })
    )
  )
})

describe("a half-open circuit", () => {
  const halfOpen = (use: (on: Scene) => Effect.Effect<void>) =>
    onBreaker({ cooldown: "10s" }, (on) =>
      Effect.gen(function* () {
        on.open()
        yield* TestClock.adjust("11 seconds")
        assert.strictEqual(on.phase(), "half_open")
        yield* use(on)
      })
    )

  it.effect("lets one trial through, and shows that it is under way", () =>
    halfOpen(({ backend, breaker, circuit }) =>
      Effect.sync(() => {
        assert.isFalse(circuit().trialRunning)
        assert.strictEqual(breaker.begin(backend()), "trial")
        assert.isTrue(circuit().trialRunning)
      })
    )
  )

  it.effect("closes when the trial succeeds, and has forgotten what was before", () =>
    halfOpen(({ call, calls, circuit, phase }) =>
      Effect.sync(() => {
        assert.strictEqual(call("success"), "trial")
        assert.deepStrictEqual(circuit(), { phase: "closed", openUntil: 0, trialRunning: false })
        calls("broken", "broken", "broken", "broken")
        assert.strictEqual(phase(), "closed")
      })
    )
  )

  it.effect("opens again for a whole cooldown when the trial fails", () =>
    halfOpen(({ call, circuit, phase }) =>
      Effect.gen(function* () {
        call("failure")
        assert.deepStrictEqual(circuit(), { phase: "open", openUntil: 21_000, trialRunning: false })
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual(phase(), "open")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(phase(), "half_open")
      })
    )
  )

  it.effect("lets the next one try when a trial ended without saying anything", () =>
    halfOpen(({ call, circuit, phase }) =>
      Effect.sync(() => {
        call("ignored")
        assert.deepStrictEqual([phase(), circuit().trialRunning], ["half_open", false])
        call("success")
        assert.strictEqual(phase(), "closed")
      })
    )
  )

  it.effect("is not moved by calls that began before", () =>
    halfOpen(({ backend, breaker, phase }) =>
      Effect.sync(() => {
        breaker.end(backend(), "usual", "failure")
        assert.strictEqual(phase(), "half_open")
        breaker.end(backend(), "usual", "success")
        assert.strictEqual(phase(), "half_open")
      })
    )
  )

  it.effect("closes at a good probe when no traffic has tried it for some seconds", () =>
    halfOpen(({ goodProbe, phase }) =>
      Effect.gen(function* () {
        goodProbe()
        yield* TestClock.adjust("3 seconds")
        goodProbe()
        assert.strictEqual(phase(), "half_open")
        yield* TestClock.adjust("3 seconds")
        goodProbe()
        yield* TestClock.adjust("1 second")
        assert.strictEqual(phase(), "closed")
      })
    )
  )

  it.effect("is not closed by probes while its trial is under way", () =>
    halfOpen(({ backend, breaker, goodProbe, phase }) =>
      Effect.gen(function* () {
        breaker.begin(backend())
        yield* TestClock.adjust("20 seconds")
        goodProbe()
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(phase(), "half_open")
        breaker.end(backend(), "trial", "failure")
        assert.strictEqual(phase(), "open")
      })
    )
  )

  it.effect("is not closed by a good probe of before it opened", () =>
    onBreaker({ cooldown: "1s" }, ({ goodProbe, open, phase }) =>
      Effect.gen(function* () {
        goodProbe()
        open()
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(phase(), "half_open")
      })
    )
  )
})

describe("what changes in the configuration", () => {
  it.effect("counts from the next call on, and an open circuit stays what it is", () =>
    onBreaker({ minRequests: 1000, threshold: 1 }, ({ calls, open, phase, registry }) =>
      Effect.gen(function* () {
        calls("success", "failure", "success")
        yield* Effect.orDie(
          putInForce(registry, yield* configOf({ backends: [backendWith({ minRequests: 4, threshold: 0.5 })] }))
        )
        calls("failure")
        assert.strictEqual(phase(), "open")
        yield* Effect.orDie(putInForce(registry, yield* configOf({ backends: [backendWith({ window: "1s" })] })))
        assert.strictEqual(phase(), "open")
        yield* TestClock.adjust("31 seconds")
        assert.strictEqual(phase(), "half_open")
        open()
      })
    )
  )
})

describe("the metrics", () => {
  it.effect("tell each change of the circuit and each result", () =>
    onBreaker({ cooldown: "10s" }, ({ backend, breaker, call, open }) =>
      Effect.gen(function* () {
        call("success")
        call("ignored")
        open()
        yield* TestClock.adjust("11 seconds")
        call("failure")
        yield* TestClock.adjust("11 seconds")
        call("success")
        breaker.brokeOff(backend())
        assert.deepStrictEqual(yield* counted("weir_circuitbreaker_state_changes_total"), {
          "a closed open": 1,
          "a open half_open": 2,
          "a half_open open": 1,
          "a half_open closed": 1
        })
        assert.deepStrictEqual(yield* counted("weir_circuitbreaker_calls_total"), {
          "a success": 2,
          "a ignored": 1,
          "a failure": 7
        })
      })
    )
  )
})

describe("the log", () => {
  it.effect("tells each opening, trial and closing, with the backend and the reason", () => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      const [text, fields] = Array.isArray(message) ? message : [message]
      lines.push(`${logLevel} ${text} ${fields.backend} ${fields.from} ${fields.to}: ${fields.reason}`)
    })
    return onBreaker(
      { cooldown: "10s", minRequests: 6 },
      ({ call, calls, open }) =>
        Effect.gen(function* () {
          open()
          yield* TestClock.adjust("11 seconds")
          call("broken")

          yield* TestClock.adjust("11 seconds")
          call("success")
          calls("success", "failure", "failure", "success", "success", "failure")
          yield* TestClock.adjust("1 second")
          assert.deepStrictEqual(lines, [
            "Warn circuit opens a closed open: 5 transport errors or time-outs in a row",
            "Info circuit lets a trial through a open half_open: its cooldown is over",
            "Warn circuit opens a half_open open: its trial failed",
            "Info circuit lets a trial through a open half_open: its cooldown is over",
            "Info circuit closes a half_open closed: its trial succeeded",
            "Warn circuit opens a closed open: 3 of 6 requests failed"
          ])
        }),
      Logger.layer([logger])
    )
  })
})

describe("any course of events", () => {
  const event = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant("begin" as const) }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("end" as const),
        who: fc.nat(),
        result: fc.constantFrom<CallResult>("success", "failure", "broken", "broken", "ignored")
      })
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("probe" as const, "brokeOff" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("pass" as const), millis: fc.nat({ max: 6000 }) }) }
  )

  it("has one trial at a time, and a circuit that can always close again", () =>
    forAll(
      fc.array(event, { maxLength: 120, size: "max" }),
      layerOf({ cooldown: "3s", minRequests: 4 }),
      Effect.fnUntraced(function* (events) {
        const { backend, breaker, circuit, goodProbe, phase } = yield* scene
        const { now } = yield* MonotonicClock
        const running: Array<CallRole> = []
        // As the scheduler asks before it chooses.
        const permits = () => phase() === "closed" || (now() >= circuit().openUntil && !circuit().trialRunning)
        for (const one of events) {
          const before = phase()
          if (one.do === "begin") {
            if (permits()) running.push(breaker.begin(backend()))
            else running.push(breaker.begin(backend(), true))
          } else if (one.do === "end") {
            const [role] = running.splice(one.who % Math.max(1, running.length), 1)
            if (role === undefined) continue
            breaker.end(backend(), role, one.result)
            if (one.result === "ignored") assert.strictEqual(phase(), before)
            if (role === "usual" && before !== "closed") assert.strictEqual(phase(), before)
            if (role === "last_resort" && before !== "closed" && phase() !== before)
              assert.strictEqual(phase(), "closed")
          } else if (one.do === "pass") yield* TestClock.adjust(one.millis)
          else if (one.do === "probe") goodProbe()
          else breaker.brokeOff(backend())
          const trials = running.filter((role) => role === "trial").length
          assert.isAtMost(trials, 1)
          assert.strictEqual(circuit().trialRunning, trials === 1)
          if (trials === 1) assert.strictEqual(phase(), "half_open")
        }
        for (const role of running) breaker.end(backend(), role, "ignored")
        yield* TestClock.adjust("10 seconds")
        goodProbe()
        yield* TestClock.adjust("1 second")
        assert.strictEqual(phase(), "closed")
      }),
      200
    ))
})
