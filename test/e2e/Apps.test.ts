/** Apps with a web view, and pages: whose origin may use the gateway, and what the others are told. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, errorOf, untilReadyz } from "./Ask.ts"
import { serve } from "./Program.ts"

const setUp = Effect.fnUntraced(function* (config: Record<string, unknown> = {}) {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve({ backends: [{ name: "engine", url: simulator.url }], ...config })
  yield* untilReadyz(gateway.url)
  return gateway
})

const keyed = { keys: [{ name: "k", key: "k1" }], admin: { token: "t1" } }

const bearer = { authorization: "Bearer k1" }

const preflight = (url: string, origin: string) =>
  ask(url, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization, content-type"
    }
  })

const apps = [
  "app://notes.example",
  "tauri://localhost",
  "vscode-webview://0a1b",
  "chrome-extension://abcdef",
  "file://"
]

const pages = ["https://evil.example", "http://localhost:3000", "null"]

describe("a listener that asks for keys", () => {
  it.live(
    "an app with a valid key is served and may read the answer, and its preflight, which has no key, is answered",
    () =>
      Effect.gen(function* () {
        const { url } = yield* setUp(keyed)
        for (const origin of apps) {
          const before = yield* preflight(`${url}/v1/chat/completions`, origin)
          assert.strictEqual(before.status, 204)
          assert.strictEqual(before.headers.get("access-control-allow-origin"), origin)
          assert.include(before.headers.get("access-control-allow-headers"), "authorization")
          const answers = [
            yield* chat(url, { max_tokens: 1 }, { ...bearer, origin }),
            yield* chat(url, { max_tokens: 1, stream: true }, { "x-api-key": "k1", origin }),
            yield* ask(`${url}/v1/models`, { headers: { ...bearer, origin } }),
            yield* ask(`${url}/healthz`, { headers: { ...bearer, origin } }),
            yield* ask(`${url}/stats`, { headers: { authorization: "Bearer t1", origin } })
          ]
          for (const answer of answers) {
            assert.strictEqual(answer.status, 200, answer.text)
            assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin)
            assert.strictEqual(answer.headers.get("vary"), "Origin")
          }
        }
      })
  )

  it.live("an app without a valid key is told so, wherever it asks", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp(keyed)
      const [origin = ""] = apps
      for (const at of ["/v1/models", "/v1/files", "/healthz", "/readyz", "/stats"]) {
        for (const headers of [{ origin }, { origin, authorization: "Bearer wrong" }]) {
          const answer = yield* ask(url + at, { headers })
          assert.strictEqual(answer.status, 401, at)
          assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin)
        }
      }
    })
  )

  it.live("a page that is not listed is refused, with a valid key too, and told which setting lets it in", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp(keyed)
      for (const origin of pages) {
        const refused = [
          yield* preflight(`${url}/v1/models`, origin),
          yield* ask(`${url}/v1/models`, { headers: { ...bearer, origin } }),
          yield* ask(`${url}/healthz`, { headers: { ...bearer, origin } }),
          yield* ask(`${url}/stats`, { headers: { authorization: "Bearer t1", origin } })
        ]
        for (const answer of refused) {
          assert.strictEqual(answer.status, 403)
          assert.strictEqual(errorOf(answer).code, "origin_not_allowed")
          assert.include(errorOf(answer).message, "cors.origins")
          assert.isNull(answer.headers.get("access-control-allow-origin"))
        }
      }
    })
  )
})

describe("a listener that asks for no key", () => {
  it.live("an app is refused as a page is, its preflight and a key that it brings included, until it is listed", () =>
    Effect.gen(function* () {
      const closed = yield* setUp()
      for (const origin of apps) {
        for (const answer of [
          yield* preflight(`${closed.url}/v1/models`, origin),
          yield* ask(`${closed.url}/v1/models`, { headers: { origin } }),
          yield* ask(`${closed.url}/healthz`, { headers: { ...bearer, origin } }),
          yield* ask(`${closed.url}/stats`, { headers: { origin } })
        ]) {
          assert.strictEqual(errorOf(answer).code, "origin_not_allowed")
          assert.include(errorOf(answer).message, "cors.origins")
          assert.isNull(answer.headers.get("access-control-allow-origin"))
        }
      }
      const schemes = apps.map((origin) => `${origin.slice(0, origin.indexOf("://"))}://*`)
      const open = yield* setUp({ listeners: [{ port: 0, cors: { origins: schemes } }] })
      for (const origin of apps) {
        assert.strictEqual((yield* preflight(`${open.url}/v1/models`, origin)).status, 204)
        const answer = yield* ask(`${open.url}/v1/models`, { headers: { origin } })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin)
      }
      const page = yield* ask(`${open.url}/v1/models`, { headers: { origin: "https://evil.example" } })
      assert.strictEqual(page.status, 403)
    })
  )
})

describe("a client with a base URL that is not quite right", () => {
  it.live("gets the list of models, or is told what is wrong with it", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp(keyed)
      for (const at of ["/v1/models", "/v1/models/", "/models", "/models/", "/openai/v1/models"]) {
        const { json, status } = yield* ask(url + at, { headers: bearer })
        assert.strictEqual(status, 200, at)
        assert.deepInclude(json, { object: "list" })
      }
      for (const at of ["/v1/models/sim-model", "/v1/models/sim-model/"]) {
        assert.deepInclude((yield* ask(url + at, { headers: bearer })).json, { id: "sim-model" })
      }
      for (const at of [
        "/v1/v1",
        "/v1/v1/models",
        "/v1/v1/chat/completions",
        "/v1/v1/v1/embeddings",
        "/openai/v1/v1/files"
      ]) {
        for (const method of ["GET", "POST"]) {
          const answer = yield* ask(url + at, { method, headers: bearer })
          assert.strictEqual(answer.status, 404, at)
          assert.strictEqual(errorOf(answer).code, "not_found")
          assert.match(errorOf(answer).message, /\/v1 twice.*base URL/)
        }
        assert.strictEqual((yield* ask(url + at)).status, 401)
      }
      for (const at of ["/models", "/models/"]) assert.strictEqual((yield* ask(url + at)).status, 401)
      // A longer name is another path, and an engine's own.
      assert.notMatch((yield* ask(`${url}/v1/v1beta/x`, { headers: bearer })).text, /twice/)
    })
  )
})
