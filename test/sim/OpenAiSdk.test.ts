import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI, { NotFoundError, RateLimitError } from "openai"
import { at, launch, type Running } from "./Harness.ts"

const clientOf = (simulator: Running) => new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: "none", maxRetries: 0 })

const messages = [{ role: "user" as const, content: "use the tool" }]

const parameters = { type: "object", properties: { city: { type: "string" } } }

describe("OpenAI's own client", () => {
  it.live("reads a stream of chat chunks to its end, with its usage", () =>
    Effect.gen(function* () {
      const client = clientOf(yield* launch())
      const final = yield* Effect.promise(() =>
        client.chat.completions
          .stream({ model: "sim-model", messages, stream_options: { include_usage: true } })
          .finalChatCompletion()
      )
      assert.strictEqual(final.choices[0]?.finish_reason, "stop")
      assert.isAbove(final.choices[0]?.message.content?.length ?? 0, 10)
      assert.strictEqual(final.usage?.completion_tokens, 10)
    })
  )

  it.live("puts a streamed tool call together", () =>
    Effect.gen(function* () {
      const client = clientOf(yield* launch())
      const tools = [{ type: "function" as const, function: { name: "weather", parameters } }]
      const final = yield* Effect.promise(() =>
        client.chat.completions.stream({ model: "sim-model", messages, tools }).finalChatCompletion()
      )
      const call: unknown = final.choices[0]?.message.tool_calls?.[0]
      assert.strictEqual(at(call, "function", "name"), "weather")
      assert.strictEqual(at(call, "function", "arguments"), '{"city":"sample"}')
    })
  )

  it.live("reads a streamed response to its end", () =>
    Effect.gen(function* () {
      const client = clientOf(yield* launch())
      const final = yield* Effect.promise(() =>
        client.responses.stream({ model: "sim-model", input: "hello" }).finalResponse()
      )
      assert.strictEqual(final.status, "completed")
      assert.isAbove(final.output_text.length, 10)
      assert.strictEqual(final.usage?.output_tokens, 10)
    })
  )

  it.live("decodes embeddings, for which it asks as base64 by itself", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const client = clientOf(simulator)
      const answer = yield* Effect.promise(() => client.embeddings.create({ model: "sim-model", input: "hello" }))
      assert.strictEqual(answer.data[0]?.embedding.length, 64)
      assert.closeTo(Math.hypot(...(answer.data[0]?.embedding ?? [])), 1, 1e-6)
    })
  )

  it.live("knows the errors by their status and code", () =>
    Effect.gen(function* () {
      const simulator = yield* launch()
      const client = clientOf(simulator)
      const failure = Effect.flip(
        Effect.tryPromise({
          try: () => client.chat.completions.create({ model: "gpt-9", messages }),
          catch: (error) => error
        })
      )
      const unknownModel = yield* failure
      assert.instanceOf(unknownModel, NotFoundError)
      yield* simulator.setFaults({ kind: "status", status: 429 })
      const limited = yield* failure
      assert.instanceOf(limited, RateLimitError)
    })
  )
})
