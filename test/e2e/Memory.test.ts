/** What requests leave behind in memory, as the collector itself tells it. */
import * as http from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { serve } from "./Program.ts"

const completion = JSON.stringify({ id: "c", choices: [{ message: { content: "ok" }, finish_reason: "stop" }] })

const models = JSON.stringify({ object: "list", data: [{ id: "m" }] })

/** An engine that answers at once. */
const engine = Effect.acquireRelease(
  Effect.callback<http.Server>((resume) => {
    const server = http.createServer((request, response) => {
      const answer = request.method === "GET" ? models : completion
      request.resume().on("end", () => response.setHeader("content-type", "application/json").end(answer))
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.callback<void>((resume) => {
      server.closeAllConnections()
      server.close(() => resume(Effect.void))
    })
).pipe(
  Effect.map((server) => {
    const address = server.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  })
)

const question = JSON.stringify({ model: "m", messages: [{ role: "user", content: "a".repeat(500) }] })

const askOnce = (url: string, agent: http.Agent): Effect.Effect<number> =>
  Effect.callback((resume) => {
    const headers = { "content-type": "application/json", "content-length": question.length }
    const request = http.request(`${url}/v1/chat/completions`, { method: "POST", agent, headers }, (response) => {
      response.resume().on("end", () => resume(Effect.succeed(response.statusCode ?? 0)))
    })
    request.on("error", () => resume(Effect.succeed(0)))
    request.end(question)
  })

/** Bytes, of each time that the collector looked through young memory. */
const collections = (lines: ReadonlyArray<string>) =>
  lines.flatMap((line) => {
    const [, allocated, promoted] = / gc=s .* allocated=(\d+) promoted=(\d+)/.exec(line) ?? []
    return allocated === undefined ? [] : [{ allocated: Number(allocated), promoted: Number(promoted) }]
  })

const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((total, each) => total + each, 0)

describe("a request that is over", () => {
  it.live(
    "is young when it dies, however many backends there are: hardly anything of it grows old",
    () =>
      Effect.gen(function* () {
        const url = yield* engine
        const backends = Array.from({ length: 100 }, (_, index) => ({ name: `engine-${index}`, url }))
        const gateway = yield* serve({ backends, health: { interval: "1h" } }, { flags: ["--trace-gc-nvp"] })
        const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
        yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
        const some = Effect.forEach(Array.from({ length: 1000 }), () => askOnce(gateway.url, agent), {
          concurrency: 16
        })
        while (collections(gateway.stdout).length < 20) {
          const statuses = yield* some
          assert.deepStrictEqual([...new Set(statuses)], [200])
        }
        // By then the code is compiled, and what lives long is old already.
        const latest = collections(gateway.stdout).slice(-8)
        const share = sum(latest.map(({ promoted }) => promoted)) / sum(latest.map(({ allocated }) => allocated))
        assert.isBelow(share, 0.06)
      }),
    { timeout: 60_000 }
  )
})
