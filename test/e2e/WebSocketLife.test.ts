/** WebSockets beside everything else that goes on in the built program: limits, changes, a proxy, the end, what is told. */
import { writeFile } from "node:fs/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { closeFrame } from "../../src/protocol/WebSocketFrames.ts"
import { published, verify } from "../backend/ApigGateway.ts"
import { connect } from "../hostile/Raw.ts"
import { ask, untilReadyz } from "./Ask.ts"
import { collector } from "./Collector.ts"
import { forwardProxy } from "./ForwardProxy.ts"
import { eventually } from "./Program.ts"
import { answer, idle, inflight, offer, scene, switched, textFrame } from "./WebSockets.ts"

const codeOf = (received: string): string | undefined => /"code":"(\w+)"/.exec(received)?.[1]

describe("a WebSocket at the gates", () => {
  it.live("is refused in the order and in the words of every request", () =>
    Effect.gen(function* () {
      const set = yield* scene(
        {
          keys: [
            { name: "all", key: "sk-all" },
            { name: "few", key: "sk-few", models: ["m"], limits: { requestsPerMinute: 2 } },
            { name: "poor", key: "sk-poor", pools: ["other"] }
          ],
          pools: [
            { name: "default", backends: ["a"] },
            { name: "other", backends: ["a"] }
          ],
          listeners: [
            { port: 0, pool: "default" },
            { name: "narrow", port: 0, pool: "default", rateLimit: { perSecond: 1, burst: 1 } }
          ]
        },
        { models: ["m", "n"] }
      )
      const refusals: ReadonlyArray<readonly [string, string, number, string]> = [
        ["/v1/realtime?model=m", "x-a: b", 401, "invalid_api_key"],
        ["/v1/realtime?model=m", "authorization: Bearer sk-no", 401, "invalid_api_key"],
        ["/v1/realtime?model=m", "sec-websocket-protocol: openai-insecure-api-key.sk-no", 401, "invalid_api_key"],
        ["/v1/realtime?model=n", "x-api-key: sk-few", 403, "model_not_allowed"],
        ["/v1/live", "api-key: sk-few", 403, "model_not_allowed"],
        ["/v1/realtime?model=m", "x-api-key: sk-poor", 403, "pool_not_allowed"],
        ["/v1/realtime?model=x", "x-api-key: sk-all", 404, "model_not_found"],
        ["/v1/load_lora_adapter", "x-api-key: sk-all", 403, "path_not_allowed"],
        ["/v1/realtime?model=m", "origin: https://evil.example", 403, "origin_not_allowed"],
        ["/v1/realtime?model=m\r\nx-weir-timeout: soon", "x-api-key: sk-all", 400, "invalid_request"]
      ]
      for (const [target, line, status, code] of refusals) {
        const [path = "", more] = target.split("\r\n")
        const client = yield* set.client(offer(path, line, ...(more === undefined ? [] : [more])))
        yield* client.until(client.closed)
        assert.deepStrictEqual(client.statuses(), [status], `${target} ${line}`)
        assert.strictEqual(codeOf(client.received()), code, `${target} ${line}`)
      }
      const allowed = yield* set.client(offer("/v1/realtime?model=m", "x-api-key: sk-all"))
      const { peer } = yield* set.upgraded
      peer.send(switched())
      yield* allowed.until(() => allowed.statuses().length > 0)
      assert.deepStrictEqual(allowed.statuses(), [101])
      const connections = yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => connect(set.gateway.urlOf("narrow")))
      for (const each of connections) each.write(offer("/v1/realtime", "x-a: b"))
      yield* Effect.forEach(connections, (each) => each.until(each.closed))
      assert.include(
        connections.map((each) => codeOf(each.received())),
        "rate_limit_exceeded"
      )
    })
  )
})

describe("a WebSocket where nothing is passed through", () => {
  it.live("is opened at the paths of inference, and nowhere else", () =>
    Effect.gen(function* () {
      const set = yield* scene({ listeners: [{ port: 0, passThrough: "none" }] })
      for (const target of ["/v1/realtime?model=m", "/openai/v1/realtime?model=m", "/v1/realtime", "/v1/responses"]) {
        const { line } = yield* set.open(target)
        assert.deepStrictEqual(line.statuses(), [101], target)
      }
      for (const target of ["/v1/live?model=m", "/", "/v1/models/m/stream"]) {
        const line = yield* set.client(offer(target))
        yield* line.until(line.closed)
        assert.notInclude(line.statuses(), 101, target)
        assert.notInclude(line.statuses(), 200, target)
      }
    })
  )
})

describe("a WebSocket to Huawei's gateway", () => {
  it.live("is signed as it goes out, with the model that the backend has", () =>
    Effect.gen(function* () {
      const set = yield* scene(
        { models: [{ match: "voice", upstreamModel: "m" }] },
        { adapter: "huawei-apig", auth: { type: "apig", ...published } }
      )
      yield* set.client(offer("/v1/realtime?b=1&model=voice&a=%20"))
      const { head } = yield* set.upgraded
      const [start = "", ...lines] = head.trimEnd().split("\r\n")
      const [method = "", target = ""] = start.split(" ")
      const headers = lines.flatMap((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)])
      assert.strictEqual(target, "/v1/realtime?b=1&model=m&a=%20")
      assert.isUndefined(verify({ method, target, headers, body: new Uint8Array() }, published, Date.now()))
    })
  )
})

describe("a WebSocket behind a forward proxy", () => {
  it.live("goes through a tunnel of the proxy, without TLS too", () =>
    Effect.gen(function* () {
      const proxy = yield* forwardProxy()
      const set = yield* scene({
        pools: [{ name: "default", backends: ["a"], client: { proxy: proxy.url } }]
      })
      const { line, peer } = yield* set.open()
      line.write(textFrame("hello"))
      yield* peer.until((received) => received.endsWith("hello"))
      assert.include(proxy.asked, `CONNECT 127.0.0.1:${new URL(set.engine.url).port}`)
    })
  )
})

describe("a change of the configuration", () => {
  it.live("cuts no WebSocket, though its backend, its listener and its key are gone with it", () =>
    Effect.gen(function* () {
      const set = yield* scene({
        listeners: [
          { name: "old", port: 0 },
          { name: "other", port: 0 }
        ]
      })
      const { line, peer } = yield* set.open()
      const next = { listeners: [{ name: "other", port: 0 }], backends: [{ name: "b", url: "http://127.0.0.1:9" }] }
      yield* Effect.promise(() => writeFile(set.gateway.file, JSON.stringify(next)))
      yield* set.gateway.signal("SIGHUP")
      yield* eventually(
        Effect.sync(() => (set.gateway.stderr.some((each) => each.includes("no longer listening")) ? true : undefined)),
        () => set.gateway.stderr.join("\n")
      )
      line.write(textFrame("up"))
      yield* peer.until((received) => received.endsWith("up"))
      peer.send(textFrame("down"))
      yield* line.until(() => line.received().endsWith("down"))
      peer.end()
      yield* line.until(line.closed)
    })
  )
})

describe("the end of the program", () => {
  it.live("lets a WebSocket run on while the grace lasts, then says goodbye with 1012, and ends with 0", () =>
    Effect.gen(function* () {
      const set = yield* scene({ server: { shutdownGrace: "2s" } })
      const { line, peer } = yield* set.open()
      yield* set.gateway.signal("SIGTERM")
      yield* untilReadyz(set.gateway.url, 503)
      line.write(textFrame("still here"))
      yield* peer.until((received) => received.endsWith("still here"))
      yield* line.until(line.closed)
      assert.isTrue(line.received().endsWith(closeFrame(1012, "the gateway stops", false).toString("latin1")))
      yield* peer.closed
      assert.strictEqual(yield* set.gateway.ended, 0)
    })
  )

  it.live("does not wait for the grace to be over where WebSockets end before, and refuses new ones", () =>
    Effect.gen(function* () {
      const set = yield* scene({ server: { shutdownGrace: "10m" } })
      const { line, peer } = yield* set.open()
      yield* set.gateway.signal("SIGTERM")
      yield* untilReadyz(set.gateway.url, 503)
      const late = yield* set.client()
      yield* late.until(late.closed)
      assert.strictEqual(codeOf(late.received()), "shutting_down")
      peer.end()
      yield* line.until(line.closed)
      assert.strictEqual(yield* set.gateway.ended, 0)
    })
  )
})

describe("what is told of a WebSocket", () => {
  it.live("is a span for it and one for each attempt, which the engine is told of", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      const set = yield* scene({ telemetry: { traces: { endpoint: spans.url, sampleRatio: 1 } } })
      const line = yield* set.client()
      const { head, peer } = yield* set.upgraded
      const [, traceId = "none"] = /\r\ntraceparent: 00-([0-9a-f]{32})-[0-9a-f]{16}-01\r\n/.exec(head) ?? []
      peer.send(switched() + closeFrame(1000, "", false).toString("latin1"))
      peer.end()
      yield* line.until(line.closed)
      yield* set.gateway.signal("SIGTERM")
      assert.strictEqual(yield* set.gateway.ended, 0)
      assert.isTrue(spans.received().includes(Buffer.from(traceId, "hex")))
      for (const text of ["GET /v1/realtime", "weir.backend", "http.response.status_code"]) {
        assert.isTrue(spans.received().includes(text), text)
      }
    })
  )

  it.live("is one line and one count when it has ended, with its status, its backend and its end", () =>
    Effect.gen(function* () {
      const set = yield* scene()
      const { line, peer } = yield* set.open("/v1/realtime?model=m&secret=s3cret")
      assert.strictEqual(yield* inflight(set), 1)
      peer.send(closeFrame(1000, "", false))
      peer.end()
      yield* line.until(line.closed)
      const logged = yield* eventually(
        Effect.sync(() => set.gateway.stderr.find((each) => each.includes('"path":"/v1/realtime"'))),
        () => set.gateway.stderr.join("\n")
      )
      for (const part of ['"status":101', '"backend":"a"', '"model":"m"', '"end":"complete"', '"attempts":1']) {
        assert.include(logged, part)
      }
      assert.notInclude(logged, "s3cret")
      const { text } = yield* ask(`${set.gateway.url}/metrics`)
      assert.match(text, /^weir_http_requests_total\{[^}]*status="101"[^}]*\} 1$/m)
      assert.match(text, /^weir_stream_ends_total\{[^}]*end="complete"[^}]*\} 1$/m)
      yield* idle(set)
    })
  )

  it.live("is nothing against its backend where the engine breaks off or refuses, again and again", () =>
    Effect.gen(function* () {
      const set = yield* scene({ pools: [{ name: "default", backends: ["a"], retry: { attempts: 0 } }] })
      for (let i = 0; i < 12; i++) {
        const { line, peer } = yield* set.open()
        peer.reset()
        yield* line.until(line.closed)
        const refused = yield* set.client()
        const second = yield* set.upgraded
        second.peer.send(answer(500))
        yield* refused.until(refused.closed)
        assert.deepStrictEqual(refused.statuses(), [500])
      }
      const stats = yield* ask(`${set.gateway.url}/stats`)
      assert.nestedPropertyVal(stats.json, "backends[0].circuit", "closed")
      assert.nestedPropertyVal(stats.json, "backends[0].failures", 0)
    })
  )
})
