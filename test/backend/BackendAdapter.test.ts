import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BackendAdapter, type Outgoing } from "../../src/backend/BackendAdapter.ts"
import { AdapterKind } from "../../src/domain/Backend.ts"
import type { UpstreamRequest } from "../../src/transport/UpstreamTransport.ts"
import { lone } from "../registry/Fixtures.ts"
import { fc } from "../registry/Properties.ts"
import { forAll } from "../resilience/Programs.ts"
import { published, type Received, verify } from "./ApigGateway.ts"

const outgoing = (more: Partial<Outgoing> = {}): Outgoing => ({
  method: "POST",
  path: "/v1/chat/completions",
  query: "",
  headers: ["Content-Type", "application/json"],
  body: Buffer.from('{"model":"m"}'),
  readable: true,
  ...more
})

const signed = { adapter: "huawei-apig", url: "https://apig.example.com", auth: { type: "apig", ...published } }

const prepareFor = Effect.fnUntraced(function* (backend: object, what: Outgoing, pool: object = {}) {
  const adapters = yield* BackendAdapter
  const { member, pool: entry } = yield* lone(backend, pool)
  return adapters.prepare(member, entry.config.client, what)
})

/** The request as the other side gets it. */
const received = ({ backend, body, headers, method, path }: UpstreamRequest): Received => {
  const named = headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === "host")
  return {
    method,
    target: path,
    headers: named ? headers : ["host", new URL(backend.url).host, ...headers],
    body: body instanceof Uint8Array ? body : new Uint8Array(0)
  }
}

const verdict = (request: UpstreamRequest) =>
  Clock.clockWith((clock) => Effect.succeed(verify(received(request), published, clock.currentTimeMillisUnsafe())))

const valueOf = ({ headers }: UpstreamRequest, name: string): string | undefined => {
  const at = headers.findIndex((header, index) => index % 2 === 0 && header.toLowerCase() === name)
  return at < 0 ? undefined : headers[at + 1]
}

describe("a request for a backend", () => {
  it.effect("goes to its address with its credentials, its body and the query as they are", () =>
    Effect.gen(function* () {
      const what = outgoing({ query: "?a=1&b=%20" })
      const request = yield* prepareFor(
        {
          url: "http://h:1/base",
          pathPrefix: "/v1",
          auth: { type: "bearer", token: "t" },
          timeouts: { connect: "3s" }
        },
        what
      )
      assert.strictEqual(request.path, "/base/v1/chat/completions?a=1&b=%20")
      assert.strictEqual(request.body, what.body)
      assert.deepStrictEqual(request.headers, ["Content-Type", "application/json", "authorization", "Bearer t"])
      assert.deepStrictEqual([request.method, request.connectTimeout, request.readable], ["POST", 3000, true])
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("is made by the settings of the moment: two snapshots, two sets of credentials", () =>
    Effect.gen(function* () {
      const tokens = yield* Effect.forEach(["one", "two", "one"], (token) =>
        Effect.map(prepareFor({ auth: { type: "bearer", token } }, outgoing()), (request) =>
          valueOf(request, "authorization")
        )
      )
      assert.deepStrictEqual(tokens, ["Bearer one", "Bearer two", "Bearer one"])
    }).pipe(Effect.provide(BackendAdapter.layer))
  )
})

describe("a signed request", () => {
  it.effect("is accepted by a gateway that verifies it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 2, 3, 4, 5))
      for (const what of [
        outgoing(),
        outgoing({ body: Buffer.from('{"messages":[{"role":"user","content":"你好 😀"}]}') }),
        outgoing({ method: "GET", path: "/v1/models", headers: [], body: undefined }),
        // What a client must not choose is neither sent nor signed.
        outgoing({ headers: ["content-type", "application/json", "X-Stage", "TEST", "x-project-id", "p"] }),
        outgoing({ path: "/v1/a%20b/c~d/", query: "?limit=2&marker=1&limit=1&c" })
      ]) {
        const request = yield* prepareFor(signed, what)
        assert.isUndefined(yield* verdict(request))
        assert.strictEqual(valueOf(request, "x-sdk-date"), "20260102T030405Z")
      }
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it("is accepted whatever its path, its query and its body", () => {
    const odd = fc.string({
      unit: fc.constantFrom(...Array.from("/ab1-_.~!$&'()*+,;=:@%\"<>[]^`{|}\\"), "%2F", "%20", "%E4%BD%A0", "%ff"),
      size: "medium"
    })
    const pair = fc.tuple(odd, fc.option(odd)).map(([name, value]) => {
      const plain = (text: string) => text.replaceAll("&", "").replaceAll("?", "")
      return value === null ? plain(name) : `${plain(name)}=${plain(value)}`
    })
    return forAll(
      fc.record({
        path: odd.map((text) => `/${text}`),
        query: fc.array(pair, { maxLength: 5 }).map((pairs) => (pairs.length === 0 ? "" : `?${pairs.join("&")}`)),
        body: fc.oneof(
          fc.uint8Array(),
          fc.string({ unit: "grapheme" }).map((text) => new TextEncoder().encode(text))
        ),
        url: fc.constantFrom("https://apig.example.com", "https://apig.example.com:8443/base/", "http://10.0.0.1:80"),
        at: fc.integer({ min: 0, max: 4_000_000_000_000 })
      }),
      BackendAdapter.layer,
      Effect.fnUntraced(function* ({ at, body, path, query, url }) {
        yield* TestClock.setTime(at)
        const request = yield* prepareFor({ ...signed, url }, outgoing({ path, query, body }))
        assert.isUndefined(yield* verdict(request))
      }),
      500
    )
  })

  it.effect("is signed anew for each attempt: one that is sent much later is still good, an old one is not", () =>
    Effect.gen(function* () {
      const what = outgoing()
      const first = yield* prepareFor(signed, what)
      yield* TestClock.adjust("14 minutes")
      assert.isUndefined(yield* verdict(first))
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* verdict(first), "expired")
      const again = yield* prepareFor(signed, what)
      assert.isUndefined(yield* verdict(again))
      assert.notStrictEqual(valueOf(again, "authorization"), valueOf(first, "authorization"))
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("is refused when anything of it was changed on its way", () =>
    Effect.gen(function* () {
      const request = yield* prepareFor(signed, outgoing({ query: "?a=1" }))
      const changed = (more: Partial<Received>) => verify({ ...received(request), ...more }, published, 0)
      const mismatch = "signature does not match"
      assert.isUndefined(changed({}))
      assert.strictEqual(changed({ method: "PUT" }), mismatch)
      assert.strictEqual(changed({ target: "/v1/chat/completions?a=2" }), mismatch)
      assert.strictEqual(changed({ target: "/v1/completions?a=1" }), mismatch)
      assert.strictEqual(changed({ body: Buffer.from("{}") }), mismatch)
      const headers = received(request).headers.map((text) => (text === "apig.example.com" ? "evil.example.com" : text))
      assert.strictEqual(changed({ headers }), mismatch)
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("holds nothing that the client brought for this: no authorization, no date, no hash", () =>
    Effect.gen(function* () {
      const headers = [
        "Authorization",
        "Bearer client",
        "X-Sdk-Date",
        "20000101T000000Z",
        "X-Sdk-Content-Sha256",
        "bad"
      ]
      const request = yield* prepareFor(signed, outgoing({ headers }))
      assert.isUndefined(yield* verdict(request))
      assert.notInclude(request.headers.join(" "), "client")
      assert.notInclude(request.headers.join(" "), "20000101")
      assert.isUndefined(request.headers.find((name) => name.toLowerCase() === "x-sdk-content-sha256"))
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("signs the host that goes on the wire, with its port where it is not the usual one", () =>
    Effect.gen(function* () {
      const headers = [{ op: "replace", name: "Host", value: "public.example.com" }]
      for (const backend of [
        { ...signed, url: "https://apig.example.com:8443" },
        { ...signed, url: "https://apig.example.com:443" },
        { ...signed, headers }
      ]) {
        assert.isUndefined(yield* verdict(yield* prepareFor(backend, outgoing())))
      }
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("signs what header operations have made of it", () =>
    Effect.gen(function* () {
      const headers = [
        { op: "insert", name: "X-Stage", value: "RELEASE" },
        { op: "replace", name: "Content-Type", value: "application/json; charset=utf-8" }
      ]
      const request = yield* prepareFor({ ...signed, headers }, outgoing())
      assert.isUndefined(yield* verdict(request))
      assert.include(valueOf(request, "authorization"), "SignedHeaders=content-type;host;x-sdk-date;x-stage")
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("a signed request with a body that comes while it is sent says that its payload is not signed", () =>
    Effect.gen(function* () {
      const request = yield* prepareFor(signed, outgoing({ body: Stream.make(new Uint8Array(3)) }))
      assert.strictEqual(valueOf(request, "x-sdk-content-sha256"), "UNSIGNED-PAYLOAD")
      assert.isUndefined(yield* verdict(request))
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("names its access key and never its secret one", () =>
    Effect.gen(function* () {
      const request = yield* prepareFor(signed, outgoing())
      assert.include(valueOf(request, "authorization"), `Access=${published.accessKey}`)
      assert.notInclude(JSON.stringify(request.headers), published.secretKey)
    }).pipe(Effect.provide(BackendAdapter.layer))
  )
})

describe("a request for a cloud", () => {
  const sent = (backend: object, more: Partial<Outgoing> = {}) =>
    Effect.provide(prepareFor(backend, outgoing(more)), BackendAdapter.layer)
  const key = { type: "bearer", token: "k" }

  for (const [what, url, more, path] of [
    ["to a whole resource", "https://r.openai.azure.com", {}, "/openai/v1/chat/completions"],
    ["to its API as its address", "https://r.openai.azure.com/openai/v1/", {}, "/openai/v1/chat/completions"],
    ["to half of that", "https://r.openai.azure.com/openai", {}, "/openai/v1/chat/completions"],
    [
      "to a preview",
      "https://r.openai.azure.com?api-version=preview",
      { query: "?a=1" },
      "/openai/v1/chat/completions?a=1&api-version=preview"
    ],
    [
      "to one deployment",
      "https://r.openai.azure.com/openai/deployments/my%20gpt?api-version=2024-10-21",
      {},
      "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    ],
    [
      "that names its version itself",
      "https://r.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
      { query: "?api-version=2025-01-01-preview" },
      "/openai/deployments/d/chat/completions?api-version=2025-01-01-preview"
    ],
    [
      "that is in Azure's form already",
      "https://r.openai.azure.com/openai/v1",
      { path: "/openai/deployments/d/embeddings", query: "?api-version=x" },
      "/openai/deployments/d/embeddings?api-version=x"
    ]
  ] as const) {
    it.effect(`a request at Azure goes ${what}, with the key where Azure wants it`, () =>
      Effect.gen(function* () {
        const request = yield* sent({ adapter: "azure-openai", url, auth: key }, more)
        assert.strictEqual(request.path, path)
        assert.strictEqual(valueOf(request, "api-key"), "k")
        assert.isUndefined(valueOf(request, "authorization"))
      })
    )
  }

  it.effect("a request at Azure may have a token of Entra ID instead of a key", () =>
    Effect.gen(function* () {
      const auth = { type: "header", name: "Authorization", value: "Bearer ey" }
      const request = yield* sent({ adapter: "azure-openai", url: "https://r.openai.azure.com", auth })
      assert.strictEqual(valueOf(request, "authorization"), "Bearer ey")
      assert.isUndefined(valueOf(request, "api-key"))
    })
  )

  it.effect("a single deployment at Azure is preceded by a probe of the resource, which finds one model", () =>
    Effect.gen(function* () {
      const adapters = yield* BackendAdapter
      const { entry, member, pool } = yield* lone({
        adapter: "azure-openai",
        url: "https://r.openai.azure.com/openai/deployments/my%20gpt?api-version=2024-10-21",
        auth: key
      })
      for (const kind of ["health", "models"] as const) {
        const what = adapters.probe(entry.config, kind)
        assert.isDefined(what)
        const { path } = adapters.prepare(member, pool.config.client, what)
        assert.strictEqual(path, "/openai/models?api-version=2024-10-21")
      }
      const found = adapters.of(entry.config).models({ status: 200, body: { data: [{ id: "gpt-4o" }] } })
      assert.deepStrictEqual(found, [{ id: "my gpt", created: 0, ownedBy: "azure" }])
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("a request at Anthropic has its key and a version; a version that the client has named stays", () =>
    Effect.gen(function* () {
      const backend = { adapter: "anthropic", url: "https://api.anthropic.com", auth: key }
      const request = yield* sent(backend, { path: "/v1/messages" })
      assert.strictEqual(request.path, "/v1/messages")
      assert.strictEqual(valueOf(request, "x-api-key"), "k")
      assert.strictEqual(valueOf(request, "anthropic-version"), "2023-06-01")
      assert.isUndefined(valueOf(request, "authorization"))
      const own = yield* sent(backend, { headers: ["Anthropic-Version", "2099-01-01"] })
      assert.deepStrictEqual(own.headers, ["Anthropic-Version", "2099-01-01", "x-api-key", "k"])
      const configured = [{ op: "replace", name: "anthropic-version", value: "2098-01-01" }]
      const replaced = yield* sent({ ...backend, headers: configured })
      assert.strictEqual(valueOf(replaced, "anthropic-version"), "2098-01-01")
    })
  )
})

describe("a probe", () => {
  const paths = Effect.fnUntraced(function* (backend: object) {
    const adapters = yield* BackendAdapter
    const { entry } = yield* lone(backend)
    return (["health", "models", "load"] as const).map((kind) => {
      const asked = adapters.probe(entry.config, kind)
      return asked && asked.path + asked.query
    })
  })

  for (const [adapter, expected] of [
    ["openai", ["/v1/models", "/v1/models", undefined]],
    ["vllm", ["/health", "/v1/models", "/metrics"]],
    ["llama-cpp", ["/health", "/v1/models", "/metrics"]],
    ["sglang", ["/health", "/v1/models", "/metrics"]],
    ["ollama", ["/v1/models", "/v1/models", "/api/ps"]],
    ["llama-balancer", ["/llmhealth", "/v1/models", "/llmhealth"]],
    ["anthropic", ["/v1/models?limit=1000", "/v1/models?limit=1000", undefined]],
    ["azure-openai", ["/v1/models", undefined, undefined]]
  ] as const) {
    it.effect(`a probe of ${adapter} asks where that engine answers`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* paths({ adapter }), [...expected])
      }).pipe(Effect.provide(BackendAdapter.layer))
    )
  }

  it.effect("asks for health where the configuration says so", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* paths({ adapter: "vllm", health: { path: "/ready?deep=1" } }), [
        "/ready?deep=1",
        "/v1/models",
        "/metrics"
      ])
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("goes to the backend's own paths with the backend's own credentials", () =>
    Effect.gen(function* () {
      const adapters = yield* BackendAdapter
      const { entry, member, pool } = yield* lone({
        adapter: "vllm",
        url: "http://h:1/base/v1",
        auth: { type: "bearer", token: "t" }
      })
      const sent = (["health", "models", "load"] as const).map((kind) => {
        const what = adapters.probe(entry.config, kind)
        assert.isDefined(what)
        return adapters.prepare(member, pool.config.client, what)
      })
      assert.deepStrictEqual(
        sent.map(({ method, path }) => `${method} ${path}`),
        ["GET /base/health", "GET /base/v1/models", "GET /base/metrics"]
      )
      for (const request of sent) assert.strictEqual(valueOf(request, "authorization"), "Bearer t")
    }).pipe(Effect.provide(BackendAdapter.layer))
  )

  it.effect("a probe of a gateway that wants signatures is signed", () =>
    Effect.gen(function* () {
      const adapters = yield* BackendAdapter
      const { entry } = yield* lone(signed)
      const what = adapters.probe(entry.config, "health")
      assert.isDefined(what)
      assert.isUndefined(yield* verdict(yield* prepareFor(signed, what)))
    }).pipe(Effect.provide(BackendAdapter.layer))
  )
})

describe("what a status says of the backend and of the request", () => {
  for (const adapter of AdapterKind.literals) {
    it.effect(`a status of ${adapter} blames no backend for the fault of another`, () =>
      Effect.gen(function* () {
        const adapters = yield* BackendAdapter
        const { entry } = yield* lone(adapter === "huawei-apig" ? signed : { adapter })
        const classify = (status: number) => adapters.classify(entry.config, status)
        for (const status of [200, 201, 204, 206, 301, 304]) assert.strictEqual(classify(status), "answered")
        for (const status of [400, 409, 413, 422, 501, 505]) assert.strictEqual(classify(status), "request_fault")
        for (const status of [402, 403, 404, 408, 421, 425]) assert.strictEqual(classify(status), "refused")
        assert.strictEqual(classify(401), "refused_credential")
        for (const status of [429, 503]) assert.strictEqual(classify(status), "back_pressure")
        for (const status of [500, 502, 504, 520, 599]) assert.strictEqual(classify(status), "backend_fault")
      }).pipe(Effect.provide(BackendAdapter.layer))
    )
  }
})
