import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { askJson as ask, at, chatBody, onSimulator, parsed, send } from "./Harness.ts"

describe("bad input", () => {
  const cases: ReadonlyArray<readonly [string, string, unknown, number, string, string | null]> = [
    ["without a model", "/v1/chat/completions", { messages: [{ role: "user" }] }, 400, "invalid_request", "model"],
    [
      "without messages",
      "/v1/chat/completions",
      { model: "sim-model", messages: [] },
      400,
      "invalid_request",
      "messages.0"
    ],
    ["of a wrong type", "/v1/chat/completions", chatBody("x", { stream: "yes" }), 400, "invalid_request", "stream"],
    ["with no tokens", "/v1/chat/completions", chatBody("x", { max_tokens: 0 }), 400, "invalid_request", "max_tokens"],
    ["that is no object", "/v1/embeddings", "text", 400, "invalid_request", null],
    ["for an unknown model", "/v1/completions", { model: "gpt-9", prompt: "x" }, 404, "model_not_found", "model"],
    ["that is too long", "/v1/chat/completions", chatBody("x".repeat(4000)), 400, "context_length_exceeded", "messages"]
  ]
  for (const [what, path, body, status, code, param] of cases) {
    it.live(`a request ${what} is answered with ${status} ${code}`, () =>
      Effect.gen(function* () {
        const answer = yield* ask(path, body)
        assert.strictEqual(answer.status, status)
        assert.strictEqual(at(answer.json, "error", "type"), "invalid_request_error")
        assert.strictEqual(at(answer.json, "error", "code"), code)
        assert.strictEqual(at(answer.json, "error", "param"), param)
      })
    )
  }

  it.live("text that is no JSON is answered with 400, whatever it is", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        for (const body of ['{"model":', "", "\u0000\u0001", "[".repeat(10_000)]) {
          const answer = yield* send(`${simulator.url}/v1/chat/completions`, { method: "POST", body })
          assert.strictEqual(answer.status, 400)
          assert.strictEqual(at(parsed(answer.text), "error", "code"), "invalid_json")
        }
        assert.strictEqual((yield* simulator.stats).failed, 4)
      })
    )
  )

  it.live("bad input under /v1/messages is answered in Anthropic's form", () =>
    Effect.gen(function* () {
      const { json, status } = yield* ask("/v1/messages", { ...chatBody("x"), model: "nobody" })
      assert.strictEqual(status, 404)
      assert.strictEqual(at(json, "type"), "error")
      assert.strictEqual(at(json, "error", "type"), "not_found_error")
    })
  )

  it.live("a request to an unknown path is answered with 404 in OpenAI's form", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        for (const path of ["/", "/v1/files", "/%zz", "/v1/chat/completions/x"]) {
          const answer = yield* send(`${simulator.url}${path}`, { method: "POST" })
          assert.strictEqual(answer.status, 404)
          assert.strictEqual(at(parsed(answer.text), "error", "type"), "invalid_request_error")
          assert.strictEqual(at(parsed(answer.text), "error", "code"), "not_found")
        }
      })
    )
  )
})

describe("the echo", () => {
  it.live("tells method, path and query, headers as they came, and what the body was", () =>
    onSimulator((simulator) =>
      Effect.gen(function* () {
        const body = Buffer.alloc(3_000_000, "weir")
        const sha256 = createHash("sha256").update(body).digest("hex")
        for (const path of ["/v1/echo?a=1&a=2", "/echo/x/y%20z?q", "/echo"]) {
          const answer = yield* send(`${simulator.url}${path}`, { method: "PATCH", headers: { "X-Two": "2" }, body })
          const json = parsed(answer.text)
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(at(json, "method"), "PATCH")
          assert.strictEqual(at(json, "url"), path)
          assert.deepStrictEqual(at(json, "body"), { bytes: body.length, sha256 })
          assert.include(JSON.stringify(at(json, "headers")), '["X-Two","2"]')
        }
        const plain = yield* send(`${simulator.url}/v1/echo`)
        assert.strictEqual(at(parsed(plain.text), "body", "bytes"), 0)
      })
    )
  )
})
