/** A real llama-server behind the built gateway. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import { ask, chat } from "../e2e/Ask.ts"
import { eventually } from "../e2e/Program.ts"
import { engineGateway } from "./EngineGateway.ts"

const story = "Once upon a time there was a small river that ran to the sea. ".repeat(12)

describe("a real llama-server", () => {
  it.live("answers completions and streams through the gateway", () =>
    Effect.gen(function* () {
      const { url } = yield* engineGateway(1)
      const client = new OpenAI({ apiKey: "none", baseURL: `${url}/v1`, maxRetries: 0 })
      const messages = [{ role: "user" as const, content: "Tell me of the river." }]
      const models = yield* Effect.promise(() => client.models.list())
      assert.deepStrictEqual(
        models.data.map(({ id }) => id),
        ["tiny"]
      )
      const whole = yield* Effect.promise(() =>
        client.chat.completions.create({ model: "tiny", messages, max_tokens: 16 })
      )
      assert.isAbove(whole.choices[0]?.message.content?.length ?? 0, 0)
      const streamed = yield* Effect.promise(() =>
        client.chat.completions.stream({ model: "tiny", messages, max_tokens: 16 }).finalChatCompletion()
      )
      assert.oneOf(streamed.choices[0]?.finish_reason, ["stop", "length"])
      const response = yield* Effect.promise(() =>
        client.responses.create({ model: "tiny", input: "River", max_output_tokens: 8 })
      )
      assert.strictEqual(response.object, "response")
    })
  )

  it.live("logs a cancelled task when a client leaves mid-stream", () =>
    Effect.gen(function* () {
      const { engines, url } = yield* engineGateway(1)
      const client = new OpenAI({ apiKey: "none", baseURL: `${url}/v1`, maxRetries: 0 })
      yield* Effect.promise(async () => {
        const stream = await client.chat.completions.create({
          model: "tiny",
          messages: [{ role: "user", content: "Go on and on." }],
          stream: true,
          max_tokens: 3000
        })
        let pieces = 0
        for await (const _piece of stream) if (++pieces > 5) break
        stream.controller.abort()
      })
      const line = yield* eventually(
        Effect.sync(() => engines[0]?.log.find((each) => each.includes("cancel task"))),
        () => engines[0]?.log.slice(-20).join("\n") ?? ""
      )
      assert.include(line, "cancel task")
    })
  )

  it.live("finds a session's prompt in its cache, since the session stays with it", () =>
    Effect.gen(function* () {
      const { url } = yield* engineGateway(2)
      const send = (session: string) =>
        chat(
          url,
          { model: "tiny", max_tokens: 4, messages: [{ role: "user", content: story }] },
          { "x-session-key": session }
        )
      const first = yield* send("s")
      const second = yield* send("s")
      assert.strictEqual(second.headers.get("x-routed-node"), first.headers.get("x-routed-node"))
      assert.strictEqual(second.headers.get("x-weir-sticky"), "hit")
      const cached = (text: string) => Number(/"cached_tokens":(\d+)/.exec(text)?.[1] ?? 0)
      assert.isAbove(cached(second.text), cached(first.text))
      assert.isAbove(cached(second.text), 50)
    })
  )

  it.live("passes its own 400 for a prompt that is too long, and is not blamed for it", () =>
    Effect.gen(function* () {
      const { url } = yield* engineGateway(1)
      const answer = yield* chat(url, { model: "tiny", messages: [{ role: "user", content: story.repeat(40) }] })
      assert.strictEqual(answer.status, 400)
      assert.include(answer.text, "exceed_context_size_error")
      assert.strictEqual(answer.headers.get("x-weir-attempts"), "1")
      const stats = yield* ask(`${url}/stats`)
      assert.nestedPropertyVal(stats.json, "backends[0].failures", 0)
      assert.nestedPropertyVal(stats.json, "backends[0].circuit", "closed")
    })
  )
})
