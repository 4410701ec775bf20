/** The official `openai` package as the client of the built program. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import OpenAI, { AuthenticationError, InternalServerError, NotFoundError } from "openai"
import { Simulator } from "../../src/sim/Simulator.ts"
import { untilReadyz } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const key = "sk-test"

/** One simulated engine behind the gateway, and the SDK in front of it. */
const setUp = Effect.fnUntraced(function* (engine: Parameters<typeof Simulator.make>[0] = {}, pool: object = {}) {
  const simulator = yield* Simulator.make({ ttft: Duration.millis(5), itl: Duration.millis(2), ...engine })
  const gateway = yield* serve({
    keys: [{ name: "test", key }],
    backends: [{ name: "engine", url: simulator.url, adapter: "vllm", maxConcurrency: 4 }],
    pools: [{ name: "default", backends: ["engine"], ...pool }]
  })
  const client = new OpenAI({ apiKey: key, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
  return { simulator, gateway, client }
})

const call = <A>(promise: (signal: AbortSignal) => Promise<A>) => Effect.promise(promise)

const failing = <A>(promise: () => Promise<A>) =>
  Effect.flip(Effect.tryPromise({ try: promise, catch: (error): unknown => error }))

const collect = async <A>(source: AsyncIterable<A>): Promise<Array<A>> => {
  const all: Array<A> = []
  for await (const item of source) all.push(item)
  return all
}

const hello = [{ role: "user" as const, content: "Hello" }]

describe("the openai package", () => {
  it.live("gets a chat completion", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp()
      const answer = yield* call(() =>
        client.chat.completions.create({ model: "sim-model", messages: hello, max_tokens: 5 })
      )
      assert.strictEqual(answer.choices[0]?.finish_reason, "length")
      assert.strictEqual(answer.usage?.completion_tokens, 5)
    })
  )

  it.live("gets a stream, token by token, with its usage", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp()
      const pieces = yield* call(async () => {
        const stream = await client.chat.completions.create({
          model: "sim-model",
          messages: hello,
          max_tokens: 6,
          stream: true,
          stream_options: { include_usage: true }
        })
        return collect(stream)
      })
      const text = pieces.map((piece) => piece.choices[0]?.delta.content ?? "").join("")
      assert.isAbove(text.length, 0)
      assert.isAtLeast(pieces.length, 8)
      assert.strictEqual(pieces.at(-1)?.usage?.completion_tokens, 6)
    })
  )

  it.live("gets a tool call, whole and streamed", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp()
      const request = {
        model: "sim-model",
        messages: [{ role: "user" as const, content: "Use the tool" }],
        tool_choice: { type: "function" as const, function: { name: "weather" } },
        tools: [
          {
            type: "function" as const,
            function: {
              name: "weather",
              parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
            }
          }
        ]
      }
      const whole = yield* call(() => client.chat.completions.create(request))
      const toolCall = whole.choices[0]?.message.tool_calls?.[0]
      assert.strictEqual(toolCall?.type === "function" ? toolCall.function.name : "", "weather")
      assert.strictEqual(whole.choices[0]?.finish_reason, "tool_calls")
      const streamed = yield* call(() => client.chat.completions.stream(request).finalChatCompletion())
      assert.strictEqual(streamed.choices[0]?.finish_reason, "tool_calls")
    })
  )

  it.live("gets embeddings", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp()
      const { data } = yield* call(() => client.embeddings.create({ model: "sim-model", input: ["a", "b"] }))
      assert.strictEqual(data.length, 2)
      assert.isAbove(data[0]?.embedding.length ?? 0, 1)
    })
  )

  it.live("gets a response of the responses API, whole and streamed", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp()
      const whole = yield* call(() => client.responses.create({ model: "sim-model", input: "Hello" }))
      assert.isAbove(whole.output_text.length, 0)
      const events = yield* call(async () =>
        collect(await client.responses.create({ model: "sim-model", input: "Hello", stream: true }))
      )
      assert.strictEqual(events.at(-1)?.type, "response.completed")
    })
  )

  it.live("gets the list of models, and one of them", () =>
    Effect.gen(function* () {
      const { client } = yield* setUp({ models: ["org/big-1", "small"] })
      yield* eventually(
        call(async () => ((await client.models.list()).data.length === 2 ? true : undefined)),
        () => "two models"
      )
      const one = yield* call(() => client.models.retrieve("org/big-1"))
      assert.strictEqual(one.id, "org/big-1")
      assert.instanceOf(yield* failing(() => client.models.retrieve("nobody")), NotFoundError)
    })
  )

  it.live("aborts a stream, and the engine is told within 200 ms", () =>
    Effect.gen(function* () {
      const { client, simulator } = yield* setUp({ tokens: 10_000 })
      const aborted = yield* call(async () => {
        const stream = await client.chat.completions.create({ model: "sim-model", messages: hello, stream: true })
        for await (const piece of stream) {
          if (piece.choices[0]?.delta.content) break
        }
        stream.controller.abort()
        return performance.now()
      })
      yield* eventually(
        Effect.map(simulator.stats, ({ cancelled }) => (cancelled === 1 ? true : undefined)),
        () => "a cancelled request at the engine"
      )
      assert.isBelow(performance.now() - aborted, 200)
      const stats = yield* simulator.stats
      assert.strictEqual(stats.running, 0)
    })
  )

  it.live("aborts a request that does not stream, and the engine is told", () =>
    Effect.gen(function* () {
      const { client, simulator } = yield* setUp({ tokens: 10_000 })
      const controller = new AbortController()
      const request = client.chat.completions
        .create({ model: "sim-model", messages: hello }, { signal: controller.signal })
        .then(
          () => "answered",
          () => "aborted"
        )
      yield* eventually(
        Effect.map(simulator.stats, ({ running }) => (running === 1 ? true : undefined)),
        () => "a running request"
      )
      controller.abort()
      assert.strictEqual(yield* call(() => request), "aborted")
      yield* eventually(
        Effect.map(simulator.stats, ({ cancelled, running }) => (cancelled === 1 && running === 0 ? true : undefined)),
        () => "a cancelled request at the engine"
      )
    })
  )

  it.live("is told that its key is wrong", () =>
    Effect.gen(function* () {
      const { gateway } = yield* setUp()
      const stranger = new OpenAI({ apiKey: "sk-wrong", baseURL: `${gateway.url}/v1`, maxRetries: 0 })
      const error = yield* failing(() => stranger.models.list())
      assert.instanceOf(error, AuthenticationError)
      assert.strictEqual(error.code, "invalid_api_key")
    })
  )

  it.live("is told that no backend serves a model", () =>
    Effect.gen(function* () {
      const { client, gateway } = yield* setUp()
      yield* untilReadyz(gateway.url)
      const error = yield* failing(() => client.chat.completions.create({ model: "nothing", messages: hello }))
      assert.instanceOf(error, NotFoundError)
      assert.strictEqual(error.code, "model_not_found")
      assert.strictEqual(error.param, "model")
    })
  )

  it.live("is told when to come back where the queue is full", () =>
    Effect.gen(function* () {
      const { client, simulator } = yield* setUp({ tokens: 10_000 }, { admission: { maxConcurrent: 1, maxQueue: 1 } })
      const controller = new AbortController()
      const ask = () =>
        client.chat.completions.create({ model: "sim-model", messages: hello }, { signal: controller.signal })
      const held = [ask(), ask()].map((promise) => promise.catch(() => "aborted"))
      yield* eventually(
        Effect.map(simulator.stats, ({ running }) => (running === 1 ? true : undefined)),
        () => "a running request"
      )
      const error = yield* eventually(
        failing(ask).pipe(
          Effect.map((found) => (found instanceof InternalServerError ? found : undefined)),
          Effect.orElseSucceed(() => undefined)
        ),
        () => "a refusal"
      )
      assert.strictEqual(error.status, 503)
      assert.strictEqual(error.code, "queue_full")
      assert.match(error.headers?.get("retry-after") ?? "", /^([1-9]|[1-5]\d|60)$/)
      controller.abort()
      yield* call(() => Promise.all(held))
    })
  )
})
