/** What is not routed by model travels byte for byte, in both directions. */

import { createHash } from "node:crypto"
import { get } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask } from "./Ask.ts"
import { serve } from "./Program.ts"

const setUp = Effect.fnUntraced(function* (backend: object = {}, config: object = {}) {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve({ backends: [{ name: "engine", url: simulator.url, ...backend }], ...config })
  return { simulator, url: gateway.url }
})

/** The names of an answer's headers as they came over the wire, in lower case. */
const rawNames = (url: string) =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    get(url, (answer) => {
      answer.resume()
      resume(Effect.succeed(answer.rawHeaders.filter((_, n) => n % 2 === 0).map((name) => name.toLowerCase())))
    })
  })

describe("passing through", () => {
  it.live("keeps path, query, method, headers and body", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const [method, path] of [
        ["GET", "/echo/a%2Fb//c;d?x=%20&y=%C3%A4&x"],
        ["DELETE", "/echo/files/1"],
        ["PATCH", "/echo/%E4%BD%A0"],
        ["PUT", "/v1/echo?a[]=1"]
      ] as const) {
        const answer = yield* ask(url + path, {
          method,
          headers: { "x-kept": "yes" },
          ...(method !== "GET" && { body: "{}" })
        })
        assert.strictEqual(answer.status, 200)
        assert.deepInclude(answer.json, { method, url: path })
        assert.include(answer.text, '["x-kept","yes"]')
      }
    })
  )

  it.live("streams a body of 8 MiB that is no JSON, announced or chunked, without a byte changed", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const bytes = new Uint8Array(8 * 1024 * 1024).map((_, index) => (index * 31) % 251)
      const sha256 = createHash("sha256").update(bytes).digest("hex")
      const chunked = new ReadableStream<Uint8Array>({
        start: (controller) => {
          for (let at = 0; at < bytes.length; at += 100_003) controller.enqueue(bytes.subarray(at, at + 100_003))
          controller.close()
        }
      })
      const uploads: ReadonlyArray<RequestInit> = [{ body: bytes }, { body: chunked, duplex: "half" }]
      for (const init of uploads) {
        const answer = yield* ask(`${url}/echo/upload`, {
          method: "POST",
          headers: { "content-type": "audio/wav" },
          ...init
        })
        assert.strictEqual(answer.status, 200, answer.text)
        assert.include(answer.text, sha256)
      }
    })
  )

  it.live("sends a multipart form as it came", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const form = new FormData()
      form.set("file", new Blob(["sound"]), "a.wav")
      form.set("model", "sim-model")
      const answer = yield* ask(`${url}/echo/v1/audio/transcriptions`, { method: "POST", body: form })
      assert.strictEqual(answer.status, 200)
      assert.include(answer.text, "multipart/form-data; boundary=")
    })
  )

  it.live("maps /v1 to the backend's address and prefix, and leaves other paths alone", () =>
    Effect.gen(function* () {
      // Below that prefix is no list of models, by which it would be seen to live.
      const { url } = yield* setUp({ pathPrefix: "/echo/prefix", models: ["m"], health: { path: "/health" } })
      assert.deepInclude((yield* ask(`${url}/v1/files?a=1`)).json, { url: "/echo/prefix/files?a=1" })
      assert.deepInclude((yield* ask(`${url}/echo/other`)).json, { url: "/echo/other" })
    })
  )

  it.live("shows the backend its own credential in place of the client's", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ auth: { type: "basic", username: "u", password: "p" } })
      const answer = yield* ask(`${url}/echo/x`, { headers: { authorization: "Bearer of-the-client" } })
      assert.include(answer.text, '["authorization","Basic dTpw"]')
      assert.notInclude(answer.text, "of-the-client")
    })
  )

  it.live("answers HEAD as the backend does, without a body", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const answer = yield* ask(`${url}/echo/x`, { method: "HEAD" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.text, "")
    })
  )

  it.live("says each thing once: no header of the gateway's own stands beside the backend's", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const path of ["/echo/x", "/v1/models", "/healthz"]) {
        const names = yield* rawNames(url + path)
        assert.include(names, "date")
        for (const name of ["date", "connection", "content-length", "content-type", "x-request-id"]) {
          assert.isAtMost(names.filter((each) => each === name).length, 1, `${name} of ${path}`)
        }
      }
    })
  )

  it.live("leaves out what administers an engine, in every spelling, and nothing of it reaches one", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      for (const [method, path] of [
        ["POST", "/flush_cache"],
        ["GET", "/flush_cache"],
        ["DELETE", "/api/delete"],
        ["POST", "/v1/load_lora_adapter"],
        ["POST", "/v1/Unload_LoRA_adapter"],
        ["POST", "//sleep"],
        ["POST", "/wake%5Fup/"],
        ["POST", "/reset_prefix_cache;x"],
        ["POST", "/openai/v1/collective_rpc"],
        ["POST", "/slots/0?action=erase"]
      ] as const) {
        const answer = yield* ask(url + path, { method })
        assert.strictEqual(answer.status, 403, `${method} ${path}`)
        assert.nestedPropertyVal(answer.json, "error.code", "path_not_allowed")
        assert.isFalse(answer.headers.has("x-routed-node"), `${method} ${path}`)
      }
    })
  )

  it.live("is for keys of all models; one of some models gets nothing where no model is named", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp(
        {},
        {
          keys: [
            { name: "some", key: "some", models: ["m"] },
            { name: "all", key: "all" }
          ]
        }
      )
      for (const [method, path, body] of [
        ["GET", "/echo/x", undefined],
        ["DELETE", "/v1/files/1", undefined],
        ["POST", "/completion", '{"prompt":"x"}'],
        ["POST", "/echo/x", "model=large"]
      ] as const) {
        const init = { method, ...(body !== undefined && { body }) }
        const refused = yield* ask(url + path, { ...init, headers: { authorization: "Bearer some" } })
        assert.strictEqual(refused.status, 403, path)
        assert.nestedPropertyVal(refused.json, "error.code", "model_not_allowed")
        const passed = yield* ask(url + path, { ...init, headers: { authorization: "Bearer all" } })
        assert.notStrictEqual(passed.status, 403, path)
      }
    })
  )
})
