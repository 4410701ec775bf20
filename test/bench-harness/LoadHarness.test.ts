import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted } from "effect"
import { HttpClient, HttpClientError, type HttpClientRequest, HttpClientResponse } from "effect/http"
import { type Load, LoadHarness, type Target } from "../../src/bench/LoadHarness.ts"

const target: Target = { url: new URL("http://127.0.0.1:8000/v1/"), model: "m" }
const load: Load = {
  shape: { promptTokens: 30, maxTokens: 5, stream: false },
  requests: 1,
  concurrency: 1,
  timeout: Duration.seconds(5)
}

const completion = JSON.stringify({ choices: [{}], usage: { prompt_tokens: 3, completion_tokens: 2 } })

/** A harness whose requests never leave the process. */
const harnessOver = (
  answer: (request: HttpClientRequest.HttpClientRequest) => Effect.Effect<Response, HttpClientError.HttpClientError>
) =>
  Effect.provide(
    Effect.map(LoadHarness, (harness) => harness),
    LoadHarness.layer.pipe(
      Layer.provide(
        Layer.succeed(
          HttpClient.HttpClient,
          HttpClient.make((request) =>
            Effect.map(answer(request), (response) => HttpClientResponse.fromWeb(request, response))
          )
        )
      )
    )
  )

const refused = (request: HttpClientRequest.HttpClientRequest) =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" })
    })
  })

describe("the harness", () => {
  it.live("has so many requests under way as it was told, never more, until all are done", () =>
    Effect.gen(function* () {
      let underWay = 0
      let most = 0
      const told: Array<string> = []
      const harness = yield* harnessOver(() =>
        Effect.sync(() => {
          most = Math.max(most, ++underWay)
        }).pipe(
          Effect.andThen(Effect.sleep("5 millis")),
          Effect.andThen(Effect.sync(() => underWay--)),
          Effect.as(new Response(completion, { headers: { "x-routed-node": "gpu-1" } }))
        )
      )
      const onSample: Load["onSample"] = ({ _tag }) => told.push(_tag)
      const run = yield* harness.run(target, { ...load, requests: 10, concurrency: 4, onSample })
      assert.strictEqual(most, 4)
      assert.deepStrictEqual(told, Array.from({ length: 10 }).fill("Answered"))
      assert.deepStrictEqual(run.nodes, { "gpu-1": 10 })
      assert.strictEqual(run.completionTokens, 20)
      assert.isAtLeast(run.latency?.p50 ?? 0, 4)
      assert.isUndefined(run.firstToken)
    })
  )

  it.effect("asks for the model under /v1, with the key, a prompt of about that length, and usage in a stream", () =>
    Effect.gen(function* () {
      const asked: Array<HttpClientRequest.HttpClientRequest> = []
      const harness = yield* harnessOver((request) => {
        asked.push(request)
        return Effect.succeed(new Response(completion))
      })
      const apiKey = Redacted.make("sk-1")
      yield* harness.run({ ...target, apiKey }, { ...load, shape: { ...load.shape, stream: true } })
      const request = asked[0] ?? assert.fail("nothing was asked")
      assert.strictEqual(request.url, "http://127.0.0.1:8000/v1/chat/completions")
      assert.strictEqual(request.headers["authorization"], "Bearer sk-1")
      assert.notProperty(request.headers, "traceparent")
      const { body } = request
      const sent: unknown = JSON.parse(body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : "")
      assert.deepInclude(sent, { model: "m", max_tokens: 5, stream: true, stream_options: { include_usage: true } })
      assert.strictEqual(JSON.stringify(sent).split("load balancer").length - 1, 3)
    })
  )

  it.effect("counts what failed by its reason, and asks once only", () =>
    Effect.gen(function* () {
      let turn = 0
      const harness = yield* harnessOver((request) => {
        const answers = [
          Effect.succeed(new Response('{"error":{"code":"queue_full"}}', { status: 503 })),
          Effect.succeed(new Response("nope", { status: 500 })),
          Effect.fail(refused(request)),
          Effect.succeed(new Response("<html>"))
        ]
        return answers[turn++] ?? Effect.die("asked again")
      })
      const run = yield* harness.run(target, { ...load, requests: 4 })
      assert.strictEqual(run.succeeded, 0)
      assert.deepStrictEqual(run.failures, {
        "HTTP 503 queue_full": 1,
        "HTTP 500": 1,
        "connection refused": 1,
        "the answer is no chat completion": 1
      })
    })
  )

  it.live("gives a request up after its time-out", () =>
    Effect.gen(function* () {
      const harness = yield* harnessOver(() => Effect.never)
      const run = yield* harness.run(target, { ...load, timeout: Duration.millis(20) })
      assert.deepStrictEqual(run.failures, { "no answer within 20ms": 1 })
    })
  )

  it.effect("finds an endpoint reachable that answers anything, and says why another is not", () =>
    Effect.gen(function* () {
      const there = yield* harnessOver(() => Effect.succeed(new Response("who are you?", { status: 401 })))
      yield* there.reach(target)
      const gone = yield* harnessOver((request) => Effect.fail(refused(request)))
      const { message } = yield* Effect.flip(gone.reach(target))
      assert.strictEqual(message, "cannot reach http://127.0.0.1:8000: connection refused")
    })
  )
})
