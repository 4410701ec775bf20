/** Streams that say 200 and then begin with an error: nothing of them has reached the client, so nothing is lost. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import {
  chatEvents,
  event,
  messagesEvents,
  ollamaLines,
  responsesEvents,
  type Writing
} from "../protocol/EventStreams.ts"
import { type Question, withGateway } from "./Harness.ts"
import { labelled, later, type Piece, stream } from "./ScriptedTransport.ts"

const plain: Writing = { newline: "\n", lead: "data: ", spaced: false }
const written = (data: unknown, name?: string) => event(data, plain, name)
const lines = (...values: ReadonlyArray<unknown>) => values.map((value) => `${JSON.stringify(value)}\n`).join("")
const done = "data: [DONE]\n\n"

const opened = {
  chat: written({ choices: [{ index: 0, delta: { role: "assistant", content: null }, finish_reason: null }] }),
  messages: written(messagesEvents.start, "message_start") + written({ type: "ping" }, "ping"),
  responses:
    written(responsesEvents.created, "response.created") +
    written({ type: "response.in_progress", response: { error: null } }, "response.in_progress"),
  ollama: lines(ollamaLines.content(""))
}

const good = {
  chat: [written(chatEvents.role), written(chatEvents.content("hi")), written(chatEvents.finish), done],
  messages: [opened.messages, written(messagesEvents.delta("hi")), written(messagesEvents.stop)],
  responses: [opened.responses, written(responsesEvents.delta("hi")), written(responsesEvents.completed("hi"))],
  ollama: [lines(ollamaLines.content("hi"), ollamaLines.done)]
}

type Known = keyof typeof good

const asked: Record<Known, Question> = {
  chat: { body: { stream: true } },
  messages: { path: "/v1/messages", body: { stream: true } },
  responses: { path: "/v1/responses", body: { stream: true } },
  ollama: { path: "/api/chat" }
}

const streaming = (dialect: Known, pieces: ReadonlyArray<Piece>) =>
  stream(pieces, dialect === "ollama" ? { headers: labelled("application/x-ndjson") } : {})

/** How an engine says it, in which dialect, and the status that this stands for. */
const errors: ReadonlyArray<readonly [what: string, dialect: Known, text: string, status: number]> = [
  ["OpenAI's form with a number", "chat", written({ error: { message: "dead", code: 500 } }), 500],
  ["a number as text", "chat", written({ error: { message: "dead", code: "502" } }), 502],
  ["a word for too many", "chat", written({ error: { message: "slow down", type: "rate_limit_error" } }), 429],
  ["a word for a code", "chat", written({ error: { message: "long", code: "context_length_exceeded" } }), 400],
  ["nothing but a text", "chat", written({ error: "the engine is dead" }), 500],
  ["vLLM's form", "chat", written({ object: "error", message: "no", type: "BadRequestError", code: 400 }), 400],
  ["SGLang's form", "chat", written({ error: { object: "error", message: "no", code: 503 } }), 503],
  ["llama.cpp's line", "chat", 'error: {"code":500,"message":"no","type":"server_error"}\n\n', 500],
  ["a named event", "chat", written("the engine is dead", "error"), 500],
  ["a chunk with an error", "chat", written({ id: "c", choices: [], error: { message: "no", code: 502 } }), 502],
  ["overloaded_error", "messages", written(messagesEvents.error, "error"), 503],
  ["api_error", "messages", written({ type: "error", error: { type: "api_error", message: "no" } }, "error"), 500],
  [
    "invalid_request_error",
    "messages",
    written({ type: "error", error: { type: "invalid_request_error", message: "no" } }, "error"),
    400
  ],
  ["an error event", "responses", written({ type: "error", code: "server_error", message: "no" }, "error"), 500],
  [
    "response.failed",
    "responses",
    written({ type: "response.failed", response: { error: { code: "rate_limit_exceeded", message: "no" } } }),
    429
  ],
  ["a line of Ollama's", "ollama", lines(ollamaLines.error), 500],
  ["a line of Ollama's without its end", "ollama", lines(ollamaLines.error).trimEnd(), 500]
]

const leads: ReadonlyArray<readonly [what: string, lead: (dialect: Known) => ReadonlyArray<Piece>]> = [
  ["at once", () => []],
  ["behind comments", () => [": ping\n\n", later("1 second", ": ping\n\n")]],
  ["behind what opens a stream", (dialect) => [opened[dialect]]],
  [
    "behind comments and an opening, cut into pieces",
    (dialect) => [": pi", "ng\n\n", ...opened[dialect].split(/(?<=t)/)]
  ]
]

const everyError = errors.flatMap(([what, dialect, text, status]) =>
  leads
    // Lines of JSON have no comments.
    .filter(([when]) => dialect !== "ollama" || !when.includes("comments"))
    .map(([when, lead]) => ({ what, when, dialect, status, pieces: [...lead(dialect), text] }))
)

describe("a stream that begins with an error", () => {
  it.effect.each(everyError.filter(({ status }) => status >= 429))(
    "is answered by another backend: $what, $when ($dialect)",
    ({ dialect, pieces, status }) =>
      withGateway({ script: { a: [streaming(dialect, pieces)], b: [streaming(dialect, good[dialect])] } }, (gateway) =>
        Effect.gen(function* () {
          const reading = yield* gateway.ask(asked[dialect])
          assert.strictEqual(reading.text, good[dialect].join(""))
          assert.strictEqual(gateway.transport.asked, "ab")
          assert.include(["cancelled", "finished"], gateway.transport.ends[0], "what it still sends is not wanted")
          const isPressure = status === 429 || status === 503
          assert.strictEqual(gateway.state("a").failures, isPressure ? 0 : 1)
        })
      )
  )

  it.effect.each(everyError)(
    "is told with the status that it carries where there is no other: $what, $when ($dialect)",
    ({ dialect, pieces, status }) =>
      withGateway({ script: { a: [streaming(dialect, pieces)] }, pool: { retry: { attempts: 0 } } }, (gateway) =>
        Effect.gen(function* () {
          const { headers, status: told, text } = yield* gateway.ask(asked[dialect])
          assert.strictEqual(told, status)
          assert.strictEqual(headers["content-type"], "application/json")
          const body: unknown = JSON.parse(text)
          if (dialect === "messages") assert.nestedPropertyVal(body, "type", "error")
          else assert.isTrue(/"(?:error|object)":/.test(text), text)
          assert.notInclude(text, "data:")
          if (status < 500) assert.strictEqual(gateway.state("a").failures, 0, "the request's own fault")
        })
      )
  )

  it.effect("a stream whose error is the request's fault is asked for once, however many backends there are", () =>
    withGateway(
      { script: { a: [stream([written({ error: { message: "no", code: 400 } })])], b: [stream(good.chat)] } },
      (gateway) =>
        Effect.gen(function* () {
          const { status, text } = yield* gateway.ask(asked.chat)
          assert.deepStrictEqual([status, text], [400, '{"error":{"message":"no","code":400}}'])
          assert.strictEqual(gateway.transport.asked, "a")
        })
    )
  )

  it.effect("loses to the other of two that are asked at once", () =>
    withGateway(
      {
        script: {
          a: [stream(good.chat), stream([later("3 seconds", written({ error: "dead" }))])],
          b: [stream([later("5 seconds", good.chat.join(""))])]
        },
        pool: { hedge: { enabled: true, minSamples: 1, minDelay: "100ms", budget: 1 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 2; i++) {
            assert.strictEqual((yield* gateway.ask(asked.chat)).text, good.chat.join(""))
          }
        })
    )
  )

  it.effect("a backend whose every stream begins with an error has its circuit opened", () =>
    withGateway(
      {
        script: { a: [stream([written({ error: { message: "dead", code: 500 } })])], b: [stream(good.chat)] },
        backends: { a: { breaker: { threshold: 0.5, minRequests: 5 } } },
        pool: { retry: { budget: 1 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          for (let i = 0; i < 20; i++) assert.strictEqual((yield* gateway.ask(asked.chat)).text, good.chat.join(""))
          assert.isBelow(gateway.transport.with("a").length, 20)
          assert.strictEqual(gateway.transport.with("b").length, 20)
        })
    )
  )
})

describe("a stream that ends with an error", () => {
  const begun = good.chat.slice(0, 2).join("")

  it.effect.each([
    { what: "an engine that died", error: { message: "dead", code: 500 }, failures: 1 },
    { what: "nothing but a text", error: "dead", failures: 1 },
    { what: "a bad gateway", error: { message: "dead", status: 502 }, failures: 1 },
    { what: "a request at fault", error: { message: "no", code: 400 }, failures: 0 },
    { what: "too many requests", error: { message: "no", type: "rate_limit_error" }, failures: 0 },
    { what: "too much to do", error: { message: "no", code: 503 }, failures: 0 }
  ])("counts against its backend where that is its fault: $what", ({ error, failures }) =>
    withGateway({ script: { a: [stream([begun, written({ error })])] } }, (gateway) =>
      Effect.gen(function* () {
        const { report, text } = yield* gateway.ask(asked.chat)
        assert.strictEqual(text, begun + written({ error }), "nothing is added to what the backend says")
        assert.deepStrictEqual([report.end, gateway.state("a").failures], ["upstream_error", failures])
      })
    )
  )
})
