/** An independent mock of OpenAI's API as upstream: what answers here was not written in this project. */
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import { Simulator } from "../../src/sim/Simulator.ts"
import { chat } from "./Ask.ts"
import { serve } from "./Program.ts"

const mock = Effect.acquireRelease(
  Effect.promise(async () => {
    const made = new LLMock({ port: 0 })
    await made.start()
    return made
  }),
  (made) => Effect.promise(() => made.stop())
)

const hello = [{ role: "user" as const, content: "hello" }]

const setUp = Effect.fnUntraced(function* (extra: ReadonlyArray<object> = []) {
  const upstream = yield* mock
  upstream.onMessage("hello", { content: "Hello from somewhere else" })
  const gateway = yield* serve({
    backends: [
      {
        name: "mock",
        url: upstream.url,
        auth: { type: "bearer", token: "sk-of-the-backend" },
        models: ["gpt-4o"],
        headers: [
          { op: "insert", name: "X-Team", value: "a" },
          { op: "replace", name: "X-Env", value: "production" },
          { op: "remove", name: "X-Internal" }
        ]
      },
      ...extra
    ]
  })
  const client = new OpenAI({ apiKey: "sk-of-the-client", baseURL: `${gateway.url}/v1`, maxRetries: 0 })
  return { upstream, gateway, client }
})

describe("aimock behind the gateway", () => {
  it.live("answers a completion, a stream and a tool call", () =>
    Effect.gen(function* () {
      const { client, upstream } = yield* setUp()
      const whole = yield* Effect.promise(() => client.chat.completions.create({ model: "gpt-4o", messages: hello }))
      assert.strictEqual(whole.choices[0]?.message.content, "Hello from somewhere else")
      const streamed = yield* Effect.promise(() =>
        client.chat.completions.stream({ model: "gpt-4o", messages: hello }).finalChatCompletion()
      )
      assert.strictEqual(streamed.choices[0]?.message.content, "Hello from somewhere else")
      upstream.onMessage("weather", { toolCalls: [{ name: "weather", arguments: '{"city":"Oslo"}' }] })
      const called = yield* Effect.promise(() =>
        client.chat.completions.create({
          model: "gpt-4o",
          messages: [{ role: "user", content: "weather?" }],
          tools: [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }]
        })
      )
      const tool = called.choices[0]?.message.tool_calls?.[0]
      assert.strictEqual(tool?.type === "function" ? tool.function.arguments : "", '{"city":"Oslo"}')
    })
  )

  it.live("sees the backend's credentials and headers, and nothing of the client's that is none of its business", () =>
    Effect.gen(function* () {
      const { gateway, upstream } = yield* setUp()
      yield* chat(
        gateway.url,
        { model: "gpt-4o", messages: hello },
        {
          authorization: "Bearer sk-of-the-client",
          "x-api-key": "sk-of-the-client",
          "x-team": "b",
          "x-env": "test",
          "x-internal": "secret",
          "x-request-id": "my-request",
          "x-kept": "yes",
          "x-weir-timeout": "30s"
        }
      )
      const headers = upstream.getLastRequest()?.headers ?? {}
      // Its journal hides the value; `Credentials.test.ts` shows that it is the right one.
      assert.strictEqual(headers["authorization"], "[REDACTED]")
      assert.strictEqual(headers["x-team"], "b")
      assert.strictEqual(headers["x-env"], "production")
      assert.strictEqual(headers["x-request-id"], "my-request")
      assert.strictEqual(headers["x-kept"], "yes")
      assert.strictEqual(headers["host"], new URL(upstream.url).host)
      for (const name of ["x-internal", "x-api-key", "x-weir-timeout"]) assert.notProperty(headers, name)
      assert.notInclude(JSON.stringify(headers), "sk-of-the-client")
    })
  )

  it.live("may say 429 or 503 once: another backend answers", () =>
    Effect.gen(function* () {
      const other = yield* Simulator.make({ models: ["gpt-4o"] })
      const { gateway, upstream } = yield* setUp([{ name: "other", url: other.url, models: ["gpt-4o"] }])
      for (const status of [429, 503]) {
        for (let round = 0; round < 2; round++) {
          upstream.nextRequestError(status, { message: "not now" })
          const answer = yield* chat(gateway.url, { model: "gpt-4o", messages: hello, max_tokens: 1 })
          assert.strictEqual(answer.status, 200)
        }
      }
    })
  )

  it.live("is passed on as it is where it says 400, and is asked once", () =>
    Effect.gen(function* () {
      const { gateway, upstream } = yield* setUp()
      upstream.clearRequests()
      upstream.nextRequestError(400, {
        message: "too long",
        type: "invalid_request_error",
        code: "context_length_exceeded"
      })
      const answer = yield* chat(gateway.url, { model: "gpt-4o", messages: hello })
      assert.strictEqual(answer.status, 400)
      assert.nestedPropertyVal(answer.json, "error.code", "context_length_exceeded")
      assert.strictEqual(answer.headers.get("x-weir-attempts"), "1")
      assert.strictEqual(upstream.getRequests().length, 1)
    })
  )
})
