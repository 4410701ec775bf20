/** The last way is never closed: what is out is asked all the same where nothing else is left. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type Harness, withGateway } from "./Harness.ts"
import { answer, refuse, type Step, silence } from "./ScriptedTransport.ts"

const well = answer(200, '{"ok":true}')

const isOut = (gateway: Harness, ...names: ReadonlyArray<string>) =>
  gateway.passUntil(() => names.every((name) => gateway.state(name).health.status === "unhealthy"))

/** Makes a backend's probes fail until it is out. */
const killProbes = (gateway: Harness, ...names: ReadonlyArray<string>) => {
  for (const name of names) gateway.transport.probes.set(name, refuse)
  return isOut(gateway, ...names)
}

/** Its probes are answered with 429, whatever else that says. */
const sayBusy = (gateway: Harness, headers: Readonly<Record<string, string>>) => {
  gateway.transport.probes.set("a", answer(429, "{}", { headers }))
  return gateway.passUntil(() => gateway.state("a").health.status === "rate_limited")
}

const open = (gateway: Harness, name: string) => gateway.openCircuit(name, 600_000)

describe("a pool whose every backend is out", () => {
  const reasons: ReadonlyArray<{
    readonly what: string
    readonly happen: (gateway: Harness) => Effect.Effect<unknown>
  }> = [
    { what: "its probes are not answered", happen: (gateway) => killProbes(gateway, "a") },
    { what: "its circuit is open", happen: (gateway) => Effect.sync(() => open(gateway, "a")) },
    {
      what: "it rests without having asked for it",
      happen: (gateway) => Effect.sync(() => gateway.state("a").rest(gateway.now() + 600_000, false))
    },
    { what: "its probes are answered with 429", happen: (gateway) => sayBusy(gateway, {}) },
    {
      what: "all of it together",
      happen: (gateway) =>
        Effect.andThen(
          killProbes(gateway, "a"),
          Effect.sync(() => {
            open(gateway, "a")
            gateway.state("a").rest(gateway.now() + 600_000, false)
          })
        )
    }
  ]
  it.effect.each(reasons)("the least bad backend is asked though $what", ({ happen }) =>
    withGateway({ script: { a: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* happen(gateway)
        assert.strictEqual((yield* gateway.ask()).status, 200)
      })
    )
  )

  it.effect("the state of the backend that is asked goes on to say the truth", () =>
    withGateway({ script: { a: [well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* killProbes(gateway, "a")
        for (let i = 0; i < 5; i++) {
          yield* gateway.ask()
          yield* TestClock.adjust("5 seconds")
          assert.strictEqual(gateway.state("a").health.status, "unhealthy")
        }
      })
    )
  )

  it.effect("a backend with an open circuit is asked before one whose probes fail, and others where that fails", () =>
    withGateway({ script: { a: [well], b: [refuse, well] } }, (gateway) =>
      Effect.gen(function* () {
        yield* killProbes(gateway, "a")
        open(gateway, "b")
        assert.strictEqual((yield* gateway.ask()).status, 200)
        assert.strictEqual(gateway.transport.asked, "ba")
      })
    )
  )

  it.effect("a success of the last resort closes an open circuit, a failure changes nothing", () =>
    withGateway({ script: { a: [answer(500), well] } }, (gateway) =>
      Effect.gen(function* () {
        open(gateway, "a")
        const until = gateway.state("a").circuit.openUntil
        assert.strictEqual((yield* gateway.ask()).status, 500)
        assert.deepStrictEqual(gateway.state("a").circuit, { phase: "open", openUntil: until, trialRunning: false })
        assert.strictEqual((yield* gateway.ask()).status, 200)
        assert.strictEqual(gateway.state("a").circuit.phase, "closed")
      })
    )
  )

  it.effect("the least bad backend is asked by three requests at a time; others get a 503 with a time", () =>
    withGateway({ script: { a: [silence] } }, (gateway) =>
      Effect.gen(function* () {
        yield* killProbes(gateway, "a")
        const fibers = yield* Effect.forEach([1, 2, 3], () => gateway.start(gateway.request()))
        assert.strictEqual(gateway.transport.asked, "aaa")
        for (let i = 0; i < 5; i++) {
          const error = yield* gateway.refusal()
          assert.deepStrictEqual([error.status, error.code, error.retryAfter], [503, "no_healthy_backend", 5])
        }
        assert.strictEqual(gateway.state("a").lastResorts, 3)
        yield* Effect.forEach(fibers, Fiber.interrupt)
        assert.strictEqual(gateway.state("a").lastResorts, 0)
      })
    )
  )

  it.effect("a least bad backend that cannot be reached is the 503 that it would have been", () =>
    withGateway({ script: { a: [refuse], b: [refuse] } }, (gateway) =>
      Effect.gen(function* () {
        yield* killProbes(gateway, "a", "b")
        const error = yield* gateway.refusal()
        assert.deepStrictEqual([error.status, error.code, error.retryAfter], [503, "no_healthy_backend", 5])
        assert.deepStrictEqual([gateway.state("a").lastResorts, gateway.state("b").lastResorts], [0, 0])
      })
    )
  )
})

describe("a backend that is no last resort", () => {
  const cases: ReadonlyArray<{
    readonly what: string
    readonly setting?: object
    readonly probe?: Step
    readonly happen?: (gateway: Harness) => void
  }> = [
    { what: "that is disabled", setting: { enabled: false } },
    { what: "that refuses the credential of its probes", probe: answer(401) },
    { what: "whose probes say when to come back", probe: answer(429, "{}", { headers: { "retry-after": "30" } }) },
    {
      what: "that loads its model",
      happen: (gateway) => gateway.state("a").probed("warming", { unhealthyAfter: 3, healthyAfter: 1 }, 0, 0)
    },
    {
      what: "that asked for its rest",
      happen: (gateway) => gateway.state("a").rest(gateway.now() + 600_000, true)
    }
  ]
  it.effect.each(cases)("a backend $what is not asked as a last resort", ({ happen, probe, setting }) =>
    withGateway({ script: { a: [well] }, backends: { a: setting ?? {} } }, (gateway) =>
      Effect.gen(function* () {
        if (probe !== undefined) gateway.transport.probes.set("a", probe)
        yield* TestClock.adjust("20 seconds")
        happen?.(gateway)
        yield* gateway.refusal()
        assert.strictEqual(gateway.transport.asked, "")
      })
    )
  )

  const fallbacks = {
    backends: { a: { models: ["m"] }, b: { models: ["n"] } },
    more: { models: [{ match: "m", fallbacks: ["n"] }] }
  }
  it.effect("no last resort is asked while a fallback model can be had", () =>
    withGateway({ script: { a: [well], b: [well] }, ...fallbacks }, (gateway) =>
      Effect.gen(function* () {
        yield* killProbes(gateway, "a")
        assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "b")
        yield* killProbes(gateway, "b")
        assert.strictEqual(
          (yield* gateway.ask()).headers["x-routed-node"],
          "a",
          "nor can the fallback: the model itself"
        )
      })
    )
  )

  it.effect("no last resort is asked while the fallback backend can be had", () =>
    withGateway(
      { script: { a: [well], b: [well] }, pool: { backends: ["a"] }, more: { fallbackBackend: "b" } },
      (gateway) =>
        Effect.gen(function* () {
          yield* killProbes(gateway, "a")
          assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "b")
          yield* killProbes(gateway, "b")
          assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "a")
        })
    )
  )

  it.effect("no last resort is asked while another tier has a backend", () =>
    withGateway(
      { script: { a: [well], b: [well] }, pool: { backends: ["a", { name: "b", priority: 1 }] } },
      (gateway) =>
        Effect.gen(function* () {
          yield* killProbes(gateway, "a")
          assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "b")
        })
    )
  )
})

describe("an engine that restarts", () => {
  it.effect("is back at the first good probe, though its circuit has a long cooldown", () =>
    withGateway(
      {
        script: { a: [answer(500), answer(500), well], b: [well] },
        backends: { a: { breaker: { minRequests: 2, cooldown: "1h" }, health: { interval: "5s" } } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 2; i++) yield* gateway.ask()
          assert.strictEqual(gateway.state("a").circuit.phase, "open")
          yield* TestClock.adjust("7 seconds")
          assert.strictEqual((yield* gateway.ask()).headers["x-routed-node"], "a")
          assert.strictEqual(gateway.state("a").circuit.phase, "closed")
        })
    )
  )
})
