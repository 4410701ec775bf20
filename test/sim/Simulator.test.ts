import { request } from "node:https"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { FaultInvalid, type FaultSpec, faultKinds, Simulator } from "../../src/sim/Simulator.ts"
import { cert, key } from "./Certificate.ts"
import { at, chatBody, chatText, eventsOf, eventually, launch, parsed, postJson, quick, send } from "./Harness.ts"
import { ask, dial, get, post } from "./RawClient.ts"

const streamed = post("/v1/chat/completions", chatBody("x", { stream: true }))

describe("starting", () => {
  it.live("a start on a port that is in use fails with a typed error", () =>
    Effect.gen(function* () {
      const first = yield* launch()
      const error = yield* Effect.flip(launch({ port: first.port }))
      assert.strictEqual(error._tag, "ServeError")
      assert.include(String(error.cause), "EADDRINUSE")
    })
  )

  it.live("a start with a certificate that is none fails with a typed error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(launch({ tls: { cert: "no", key: "no" } }))
      assert.strictEqual(error._tag, "ServeError")
    })
  )

  it.live("several in one process gives servers that share nothing", () =>
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([launch({ name: "one" }), launch({ name: "other" })])
      yield* one.setFaults({ kind: "status", status: 500 })
      const status = (url: string) =>
        Effect.map(postJson(`${url}/v1/chat/completions`, chatBody("x")), (answer) => answer.status)
      assert.deepStrictEqual([yield* status(one.url), yield* status(other.url)], [500, 200])
      assert.deepInclude(yield* one.stats, { name: "one", failed: 1, finished: 0 })
      assert.deepInclude(yield* other.stats, { name: "other", failed: 0, finished: 1 })
    })
  )

  it.live("a layer gives the same service, twice over if asked twice", () =>
    Effect.gen(function* () {
      const port = Effect.map(Simulator, (simulator) => simulator.port)
      const one = yield* Layer.build(Simulator.layer(quick)).pipe(
        Effect.flatMap((built) => Effect.provide(port, built))
      )
      const two = yield* Layer.build(Simulator.layer(quick)).pipe(
        Effect.flatMap((built) => Effect.provide(port, built))
      )
      assert.notStrictEqual(one, two)
      assert.strictEqual((yield* ask(one, get("/health"))).status, 200)
    })
  )
})

describe("stopping", () => {
  it.live("closes the port and every connection at once, also those that would never end", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults([
        { kind: "silence", times: 1 },
        { kind: "endless_head", times: 1 },
        { kind: "stall", afterTokens: 1 }
      ])
      const silent = yield* dial(simulator.port, streamed)
      yield* eventually(simulator, ({ faultsPlayed }) => faultsPlayed["silence"] === 1)
      const endless = yield* dial(simulator.port, streamed)
      const stalled = yield* dial(simulator.port, streamed)
      yield* stalled.until((received) => received.length > 0)
      yield* endless.until((received) => received.length > 0)
      yield* simulator.stop
      yield* Effect.all([silent.ended, endless.ended, stalled.ended])
      assert.include(String(yield* Effect.flip(ask(simulator.port, streamed))), "ECONNREFUSED")
    })
  )

  it.live("a simulator that is stopped in the middle of a refusal does not come back", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults({ kind: "refuse", for: 20 })
      yield* simulator.stop
      const again = yield* launch({ port: simulator.port })
      assert.strictEqual(again.port, simulator.port)
    })
  )
})

describe("a seed", () => {
  it.live("decides what is said: the same for the same question, something else for another seed", () =>
    Effect.gen(function* () {
      const say = (seed: number, content: string) =>
        Effect.scoped(
          Effect.gen(function* () {
            const simulator = yield* launch({ seed })
            const body = chatBody(content, { stream: true })
            return chatText(eventsOf((yield* ask(simulator.port, post("/v1/chat/completions", body))).body))
          })
        )
      const first = yield* say(1, "x")
      assert.strictEqual(yield* say(1, "x"), first)
      assert.notStrictEqual(yield* say(2, "x"), first)
      assert.notStrictEqual(yield* say(1, "y"), first)
    })
  )
})

describe("the batch", () => {
  it.live("is never larger than the slots, and every request is served", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ slots: 3 })
      const one = postJson(`${simulator.url}/v1/chat/completions`, chatBody("x"))
      const answers = yield* Effect.all(
        Array.from({ length: 12 }, () => one),
        { concurrency: 12 }
      )
      assert.isTrue(answers.every(({ status }) => status === 200))
      assert.deepInclude(yield* simulator.stats, { maxRunning: 3, finished: 12, running: 0, waiting: 0 })
    })
  )
})

describe("the books", () => {
  it.live("tell what the last requests were and what became of them", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const body = chatBody("x", { stream: true })
      yield* ask(simulator.port, post("/v1/chat/completions", body))
      yield* send(`${simulator.url}/v1/files?x=1`, { headers: { "x-mark": "me" } })
      yield* eventually(simulator, ({ failed, finished }) => finished + failed === 2)
      const requests = parsed((yield* send(`${simulator.url}/sim/requests?limit=5`)).text)
      const [first, second] = [at(requests, 0), at(requests, 1)]
      assert.strictEqual(at(requests, 2), undefined)
      assert.strictEqual(at(first, "method"), "POST")
      assert.strictEqual(at(first, "model"), "sim-model")
      assert.strictEqual(at(first, "stream"), true)
      assert.strictEqual(at(first, "outcome"), "finished")
      assert.strictEqual(at(first, "body", "bytes"), JSON.stringify(body).length)
      assert.strictEqual(at(second, "url"), "/v1/files?x=1")
      assert.strictEqual(at(second, "outcome"), "failed")
      assert.strictEqual(at(second, "status"), 404)
      assert.include(JSON.stringify(at(second, "headers")), '["x-mark","me"]')
      assert.strictEqual((yield* simulator.requests(1)).length, 1)
    })
  )

  it.live("are bounded, and begin anew with a reset", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* Effect.forEach(
        Array.from({ length: 250 }, (_, index) => index),
        (index) => send(`${simulator.url}/x${index}`),
        { concurrency: 10, discard: true }
      )
      const stats = yield* simulator.stats
      assert.strictEqual((yield* simulator.requests()).length, 200)
      assert.isAtMost(Object.keys(stats.byPath).length, 101)
      assert.strictEqual(stats.started, 250)
      const reset = yield* postJson(`${simulator.url}/sim/reset`, {})
      assert.deepInclude(parsed(reset.text), { started: 0, failed: 0, byPath: {}, promptTokens: 0 })
      assert.deepStrictEqual(yield* simulator.requests(), [])
    })
  )

  it.live("do not count after a reset what began before it", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      yield* simulator.setFaults({ kind: "silence" })
      const connection = yield* dial(simulator.port, streamed)
      yield* eventually(simulator, ({ faultsPlayed }) => faultsPlayed["silence"] === 1)
      yield* simulator.reset()
      yield* simulator.clearFaults
      yield* connection.leave
      yield* ask(simulator.port, streamed)
      const stats = yield* eventually(simulator, ({ finished }) => finished === 1)
      assert.deepInclude(stats, { started: 1, cancelled: 0 })
    })
  )
})

describe("the handle in the process", () => {
  it.live("reads the same faults as HTTP, and refuses the same", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const wrong: FaultSpec = { kind: "reset", ratio: 7 }
      const error = yield* Effect.flip(simulator.setFaults(wrong))
      assert.instanceOf(error, FaultInvalid)
      assert.strictEqual(error.path, "fault.ratio")
      assert.strictEqual(faultKinds.length, 18)
    })
  )
})

describe("a simulator with TLS", () => {
  it.live("answers clients that do not look at its certificate, and no others", () =>
    Effect.gen(function* () {
      const simulator = yield* launch({ tls: { cert, key } })
      assert.match(simulator.url, /^https:/)
      const models = (rejectUnauthorized: boolean) =>
        Effect.callback<number | undefined, Error>((resume) => {
          const options = { port: simulator.port, host: "127.0.0.1", path: "/v1/models", rejectUnauthorized }
          const client = request({ ...options, agent: false }, (response) => {
            response.resume()
            resume(Effect.succeed(response.statusCode))
          })
          client.on("error", (error) => resume(Effect.fail(error)))
          client.end()
        })
      assert.strictEqual(yield* models(false), 200)
      assert.match(String(yield* Effect.flip(models(true))), /self-signed certificate/)
      yield* simulator.setFaults({ kind: "reset", path: "/v1/models" })
      assert.match(String(yield* Effect.flip(models(false))), /socket hang up|ECONNRESET/)
    })
  )
})
