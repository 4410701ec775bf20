/** Engines close connections that were idle for a while (uvicorn after five seconds), often just as a request comes. */
import { createServer } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { listen } from "../transport/Origin.ts"
import { ask, chat } from "./Ask.ts"
import { serve } from "./Program.ts"

const answer = JSON.stringify({ object: "chat.completion", choices: [{ index: 0, finish_reason: "stop" }] })

/** Breaks each connection so many milliseconds after its last answer, without a word beforehand. */
const impatient = Effect.fnUntraced(function* (patience: number) {
  const counts = { connections: 0, answers: 0 }
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    request.resume().once("end", () => {
      response.setHeader("content-type", "application/json")
      response.end(request.url === "/v1/models" ? '{"data":[{"id":"sim-model"}]}' : answer)
      if (request.method === "POST") counts.answers++
      setTimeout(() => request.socket.destroy(), patience)
    })
  })
  server.on("connection", () => counts.connections++)
  const port = yield* listen(server, () => server.closeAllConnections())
  return { counts, url: `http://127.0.0.1:${port}` }
})

describe("an engine that closes idle connections as the next request comes", () => {
  it.live("loses none, though no other backend is there, and stays in good standing", () =>
    Effect.gen(function* () {
      const engine = yield* impatient(15)
      const gateway = yield* serve({ backends: [{ name: "engine", url: engine.url, models: ["sim-model"] }] })
      const statuses: Array<number> = []
      for (let n = 0; n < 150; n++) {
        // Several at once, so that several connections are idle for equally long and are closed together.
        const answers = yield* Effect.all(
          Array.from({ length: 8 }, () => chat(gateway.url, { stream: false })),
          { concurrency: 8 }
        )
        statuses.push(...answers.map(({ status }) => status))
        // About as long as the engine waits: some come before it closes, some after, some in that very moment.
        yield* Effect.promise(() => sleep(10 + (n % 10)))
      }
      assert.deepStrictEqual([...new Set(statuses)], [200])
      assert.isAbove(engine.counts.connections, 20, "connections were closed all the time")
      const { text } = yield* ask(`${gateway.url}/stats`)
      assert.include(text, '"circuit":"closed"')
      assert.include(text, '"health":"healthy"')
    })
  )
})

/** Serves once on each connection; what comes after that is told that the connection had been idle for too long. */
const lateTeller = Effect.gen(function* () {
  const counts = { late: 0 }
  const served = new WeakSet<object>()
  const server = createServer((request, response) => {
    request.resume().once("end", () => {
      if (request.method === "POST" && served.has(request.socket)) {
        counts.late++
        return void response.writeHead(408, { connection: "close" }).end()
      }
      if (request.method === "POST") served.add(request.socket)
      response.setHeader("content-type", "application/json")
      response.end(request.method === "POST" ? answer : '{"data":[{"id":"sim-model"}]}')
    })
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  return { counts, url: `http://127.0.0.1:${port}` }
})

describe("an engine that answers 408 to what comes on a connection that it has given up", () => {
  it.live("loses none, without a retry of the pool's, and stays in good standing", () =>
    Effect.gen(function* () {
      const engine = yield* lateTeller
      const gateway = yield* serve({
        backends: [{ name: "engine", url: engine.url, models: ["sim-model"] }],
        pools: [{ name: "default", backends: ["engine"], retry: { attempts: 0 } }]
      })
      for (let n = 0; n < 20; n++) {
        const asked = yield* chat(gateway.url, { stream: false })
        assert.strictEqual(asked.status, 200)
        assert.strictEqual(asked.headers.get("x-weir-attempts"), "1")
      }
      assert.isAbove(engine.counts.late, 5)
      const { text } = yield* ask(`${gateway.url}/stats`)
      assert.include(text, '"circuit":"closed"')
      assert.include(text, '"failures":0')
    })
  )
})
