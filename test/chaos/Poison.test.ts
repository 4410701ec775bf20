/** Requests that every engine fails at, sent again and again as SDKs do, among those of other clients. */
import { createServer, request, type ServerResponse } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask as get, untilReadyz } from "../e2e/Ask.ts"
import { serve } from "../e2e/Program.ts"
import { listen } from "../transport/Origin.ts"
import { ask, lackOf, type Outcome, volley } from "./Clients.ts"
import { assertServed, metric, statsOf } from "./Scene.ts"

/** How an engine fails at what it does not expect. */
type Failing = (response: ServerResponse) => void

const refusing =
  (status: number): Failing =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json" })
    response.end(JSON.stringify({ error: { message: "this cannot be done", type: "server_error", code: status } }))
  }

const streaming = (response: ServerResponse, ...events: ReadonlyArray<object>): void => {
  response.writeHead(200, { "content-type": "text/event-stream" })
  for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`)
}

/** What has been written goes out first. */
const breakingOff = (response: ServerResponse): void => {
  response.socket?.end(() => response.destroy())
}

const chunk = (delta: object) => ({ id: "c", object: "chat.completion.chunk", choices: [{ index: 0, delta }] })

interface Kind {
  readonly what: string
  readonly streamed: boolean
  /** How many send it at once, beside eight other clients. */
  readonly senders: number
  readonly fail: Failing
}

const kinds: ReadonlyArray<Kind> = [
  { what: "answer with 500", streamed: false, senders: 8, fail: refusing(500) },
  { what: "answer with 501", streamed: false, senders: 8, fail: refusing(501) },
  { what: "reset the connection at", streamed: false, senders: 8, fail: ({ socket }) => socket?.resetAndDestroy() },
  {
    what: "break a whole answer off at",
    streamed: false,
    senders: 8,
    fail: (response) => {
      response.writeHead(200, { "content-type": "application/json", "content-length": 1000 })
      response.write('{"id":"c","choices":[')
      breakingOff(response)
    }
  },
  {
    what: "begin a stream with an error at",
    streamed: true,
    senders: 8,
    fail: (response) => {
      streaming(response, { error: { message: "this cannot be done", type: "server_error", code: 500 } })
      response.end("data: [DONE]\n\n")
    }
  },
  {
    what: "break a stream off before its first token at",
    streamed: true,
    senders: 8,
    fail: (response) => {
      streaming(response, chunk({ role: "assistant", content: "" }))
      breakingOff(response)
    }
  },
  {
    what: "break a stream off in its middle at",
    streamed: true,
    // What has reached a client cannot be asked for elsewhere, so it counts: only a share of it is tolerated.
    senders: 2,
    fail: (response) => {
      streaming(
        response,
        chunk({ role: "assistant", content: "" }),
        chunk({ content: "One" }),
        chunk({ content: " or" })
      )
      breakingOff(response)
    }
  }
]

/** What makes a request poisonous stands in its prompt: the gateway cannot know it. */
const poison = "poison"
const prompt = { messages: [{ role: "user", content: poison }] }

/** An engine that is well but for how it fails at poison, and how often it has. */
const engine = Effect.fnUntraced(function* (name: string, fail: Failing) {
  const pace = { ttft: Duration.millis(10), itl: Duration.millis(3), tokens: 8, slots: 64, slowdown: 0 }
  const well = yield* Effect.orDie(Simulator.make({ name, ...pace }))
  let failed = 0
  const server = createServer((incoming, response) => {
    const pieces: Array<Buffer> = []
    incoming.on("data", (piece: Buffer) => pieces.push(piece))
    incoming.on("end", () => {
      const body = Buffer.concat(pieces)
      if (body.includes(poison)) {
        failed++
        return fail(response)
      }
      const headers = { "content-type": "application/json" }
      const onward = request(
        `${well.url}${incoming.url ?? "/"}`,
        { method: incoming.method, headers, agent: false },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, { "content-type": answer.headers["content-type"] })
          answer.pipe(response)
        }
      )
      onward.on("error", () => response.destroy())
      onward.end(body)
    })
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  return { url: `http://127.0.0.1:${port}`, failed: () => failed }
})

/** What an official SDK asks for again: what is not said to be final, until a stream has begun. */
const asksAgain = ({ headers, status }: Outcome, isObedient: boolean): boolean =>
  !(isObedient && headers["x-should-retry"] === "false") &&
  (status === 0 || [408, 409, 429].includes(status) || status >= 500)

const tries = 3

/** `isObedient`: it heeds `x-should-retry`, which not every program does. */
const mistaken = Effect.fnUntraced(function* (url: string, streamed: boolean, isObedient: boolean) {
  for (let tried = 1; ; tried++) {
    const outcome = yield* ask(url, { streamed, fields: prompt })
    assert.isDefined(lackOf(outcome), "no failure looks like an answer")
    if (tried === tries || !asksAgain(outcome, isObedient)) return
  }
})

const rounds = 12

describe("poisonous requests", () => {
  for (const { fail, senders, streamed, what } of kinds) {
    it.live(
      `requests that two engines ${what}, tried again as SDKs do, cost other clients no answer and open no circuit`,
      () =>
        Effect.gen(function* () {
          const engines = [yield* engine("a", fail), yield* engine("b", fail)]
          const gateway = yield* serve({
            health: { interval: "200ms", timeout: "5s" },
            backends: engines.map(({ url }, index) => ({ name: `engine-${index}`, url, models: ["sim-model"] })),
            // The second request for the same comes soon after the first.
            pools: [{ name: "default", backends: ["engine-0", "engine-1"], retry: { initialDelay: "10ms" } }]
          })
          yield* untilReadyz(gateway.url)
          const others = (count: number) => Effect.map(volley(gateway.url, count), assertServed)
          yield* others(16)
          for (let round = 0; round < rounds; round++) {
            const poisonous = Array.from({ length: senders }, (_, n) => mistaken(gateway.url, streamed, n % 2 === 0))
            yield* Effect.all([others(8), ...poisonous], { concurrency: "unbounded" })
          }
          for (const { failed } of engines) assert.isAbove(failed(), 0, "each engine is asked")

          const { backends } = yield* statsOf(gateway)
          assert.deepStrictEqual(
            backends.map(({ circuit, health }) => [circuit, health]),
            [
              ["closed", "healthy"],
              ["closed", "healthy"]
            ]
          )
          assert.strictEqual(yield* metric(gateway, "weir_circuitbreaker_state_changes_total"), 0)
          assert.strictEqual((yield* get(`${gateway.url}/readyz`)).status, 200)
        }),
      60_000
    )
  }
})
