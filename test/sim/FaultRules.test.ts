import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { at, chatBody, launch, parsed, postJson, type Running, send } from "./Harness.ts"
import { ask, get, post } from "./RawClient.ts"

const status = (simulator: Running, body: object = {}) =>
  Effect.map(postJson(`${simulator.url}/v1/chat/completions`, chatBody("x", body)), (answer) => answer.status)

const sequence = (simulator: Running, count: number) => Effect.replicateEffect(status(simulator), count)

describe("a fault", () => {
  it.live("a fault with times plays so often, then is gone", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults({ kind: "status", status: 503, times: 2 })
      assert.strictEqual(yield* status(simulator), 503)
      const left = parsed((yield* send(`${simulator.url}/sim/faults`)).text)
      assert.deepStrictEqual(left, [{ kind: "status", status: 503, times: 1 }])
      assert.deepStrictEqual(yield* sequence(simulator, 2), [503, 200])
    })
  )

  it.live("a fault with a ratio plays on that share, the same requests for a seed", () =>
    Effect.gen(function* () {
      const run = Effect.gen(function* () {
        const simulator = yield* launch({ seed: 11 })
        yield* simulator.setFaults({ kind: "status", status: 500, ratio: 0.5 })
        return yield* sequence(simulator, 12)
      })
      const first = yield* run
      assert.deepStrictEqual(new Set(first), new Set([200, 500]))
      assert.deepStrictEqual(yield* run, first)
    })
  )

  it.live("can be for streaming requests only, or for the others", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults({ kind: "status", status: 500, stream: true })
      assert.deepStrictEqual([yield* status(simulator), yield* status(simulator, { stream: true })], [200, 500])
      yield* simulator.setFaults({ kind: "status", status: 500, stream: false })
      assert.deepStrictEqual([yield* status(simulator), yield* status(simulator, { stream: true })], [500, 200])
    })
  )

  it.live("leaves probes alone unless its path says so", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const probe = (path: string) => Effect.map(send(`${simulator.url}${path}`), (answer) => answer.status)
      yield* simulator.setFaults({ kind: "status", status: 500 })
      assert.deepStrictEqual([yield* probe("/health"), yield* probe("/v1/models")], [200, 200])
      yield* simulator.setFaults([
        { kind: "status", status: 503, path: "/health" },
        { kind: "cut", path: "/v1/models" }
      ])
      assert.strictEqual(yield* probe("/health"), 503)
      assert.isFalse((yield* ask(simulator.port, get("/v1/models"))).complete)
      assert.strictEqual(yield* status(simulator), 200)
    })
  )

  it.live("may be any on a path that no engine stands behind", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const models = Effect.suspend(() => ask(simulator.port, get("/v1/models")))
      const path = "/v1/models"
      yield* simulator.setFaults({ kind: "reset", path })
      assert.strictEqual((yield* models).ending, "reset")
      yield* simulator.setFaults({ kind: "slow_first_token", delay: 1, path })
      assert.isTrue((yield* models).complete)
      yield* simulator.setFaults({ kind: "gzip", path })
      assert.include((yield* models).head, "content-encoding: gzip")
      yield* simulator.setFaults({ kind: "stall", for: 1, path })
      assert.strictEqual(at(parsed((yield* models).body), "object"), "list")
      yield* simulator.setFaults({ kind: "early_answer", path: "/v1/echo" })
      assert.strictEqual((yield* ask(simulator.port, post("/v1/echo", "x"))).status, 400)
    })
  )

  it.live("plays before what is wrong with the request is looked at", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults({ kind: "status", status: 503 })
      const answer = yield* send(`${simulator.url}/v1/chat/completions`, { method: "POST", body: "{" })
      assert.strictEqual(answer.status, 503)
    })
  )
})

const itemsOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

describe("setting faults", () => {
  it.live("replaces those in force, or adds to them, and takes all back", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const url = `${simulator.url}/sim/faults`
      const kinds = (text: string) => itemsOf(parsed(text)).map((fault) => at(fault, "kind"))
      const stall = { kind: "stall", for: "2s", afterTokens: 3 }
      assert.deepStrictEqual(kinds((yield* postJson(url, { kind: "reset" })).text), ["reset"])
      const replaced = yield* postJson(url, [stall])
      assert.deepStrictEqual(parsed(replaced.text), [{ ...stall, for: 2000 }])
      assert.deepStrictEqual(kinds((yield* postJson(`${url}?add=true`, { kind: "gzip" })).text), ["stall", "gzip"])
      assert.deepStrictEqual(kinds((yield* send(url)).text), ["stall", "gzip"])
      assert.deepStrictEqual(kinds((yield* send(url, { method: "DELETE" })).text), [])
    })
  )

  const bad: ReadonlyArray<readonly [string, unknown, string, RegExp]> = [
    ["an unknown kind", { kind: "explode" }, "fault.kind", /unknown kind of fault; known: status, reset, .*die/],
    ["no kind", [{ kind: "reset" }, {}], "faults[1].kind", /Missing key/i],
    ["an unknown parameter", { kind: "cut", afterTokns: 2 }, "fault.afterTokns", /unknown parameter/],
    ["a missing parameter", { kind: "status" }, "fault.status", /Missing key/i],
    ["a wrong duration", { kind: "slow_first_token", delay: "soon" }, "fault.delay", /such as 500ms/],
    ["a wrong ratio", { kind: "reset", ratio: 2 }, "fault.ratio", /between 0 and 1/],
    ["a wrong path", { kind: "reset", path: "v1" }, "fault.path", /begins with \//],
    ["no times", { kind: "reset", times: 0 }, "fault.times", /whole number/],
    ["no object", "reset", "fault", /object/i]
  ]
  for (const [what, body, param, message] of bad) {
    it.live(`a fault with ${what} is answered with 400, saying what and where, and changes nothing`, () =>
      Effect.gen(function* () {
        const simulator = yield* launch()
        yield* simulator.setFaults({ kind: "gzip" })
        const answer = yield* postJson(`${simulator.url}/sim/faults`, body)
        assert.strictEqual(answer.status, 400)
        assert.strictEqual(at(parsed(answer.text), "error", "param"), param)
        assert.match(String(at(parsed(answer.text), "error", "message")), message)
        assert.strictEqual(at(parsed((yield* send(`${simulator.url}/sim/faults`)).text), 0, "kind"), "gzip")
      })
    )
  }

  it.live("text that is no JSON is answered with 400", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const answer = yield* send(`${simulator.url}/sim/faults`, { method: "POST", body: "{" })
      assert.strictEqual(answer.status, 400)
    })
  )
})
