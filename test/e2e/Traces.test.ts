/** Traces: which requests are traced, what goes on to the backend, what the collector gets, and what it never gets. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { chat } from "./Ask.ts"
import { type Collector, collector } from "./Collector.ts"
import { eventually, serve } from "./Program.ts"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const sampled = `00-${traceId}-00f067aa0ba902b7-01`
const unsampled = `00-${traceId}-00f067aa0ba902b7-00`

const soon = { OTEL_BSP_SCHEDULE_DELAY: "50" }

/** Without it, what a client says of its tracing counts for nothing. */
const keyed = { keys: [{ name: "k", key: "k1" }] }

const bearer = { authorization: "Bearer k1" }

const setUp = Effect.fnUntraced(function* (traces: object, env: Record<string, string> = {}, more: object = {}) {
  const simulator = yield* Simulator.make()
  const gateway = yield* serve(
    { backends: [{ name: "engine", url: simulator.url }], telemetry: { traces }, ...more },
    { env: { ...soon, ...env } }
  )
  return { simulator, gateway }
})

const arrives = (spans: Collector, text: string | Buffer) =>
  eventually(
    Effect.sync(() => (spans.received().includes(text) ? true : undefined)),
    () => `${text.toString("hex")} in ${spans.received().toString("latin1")}`
  )

/** The `traceparent` headers that the backend got, in order. */
const contexts = (simulator: Simulator["Service"]) =>
  Effect.map(simulator.requests(), (all) =>
    all
      .filter(({ url }) => url.startsWith("/v1/chat"))
      .map(({ headers }) => headers.find(([name]) => name.toLowerCase() === "traceparent")?.[1])
  )

describe("a request whose caller is traced", () => {
  it.live("continues the caller's trace: a span for it, one for each attempt, and the context to the backend", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      const { gateway, simulator } = yield* setUp(
        { endpoint: spans.url, sampleRatio: 0 },
        { OTEL_SERVICE_NAME: "edge" },
        keyed
      )
      yield* simulator.setFaults({ kind: "status", status: 503, times: 1 })
      const answer = yield* chat(
        gateway.url,
        { stream: true, stream_options: { include_usage: true } },
        { ...bearer, traceparent: sampled, tracestate: "a=b" }
      )
      assert.strictEqual(answer.status, 200)
      for (const name of ["POST /v1/chat/completions", "chat sim-model", "gen_ai.usage.output_tokens", "edge", "503"]) {
        yield* arrives(spans, name)
      }
      yield* arrives(spans, Buffer.from(traceId, "hex"))
      assert.deepStrictEqual([...new Set(spans.paths)], ["/v1/traces"])
      const sent = yield* contexts(simulator)
      assert.strictEqual(sent.length, 2)
      for (const context of sent) assert.match(context ?? "", new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`))
      assert.strictEqual(new Set([sampled, ...sent]).size, 3, "each attempt is a span of its own")
      yield* eventually(
        Effect.sync(() => (gateway.stderr.some((line) => line.includes(`"traceId":"${traceId}"`)) ? true : undefined)),
        () => gateway.stderr.join("\n")
      )
    })
  )

  it.live("is not traced where the caller decided so, and the context travels on as it came", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      const { gateway, simulator } = yield* setUp({ endpoint: spans.url, sampleRatio: 1 }, {}, keyed)
      yield* chat(gateway.url, {}, { ...bearer, traceparent: unsampled })
      assert.deepStrictEqual(yield* contexts(simulator), [unsampled])
      // One that is traced comes after it: when that has arrived, the other would have.
      yield* chat(gateway.url, {}, bearer)
      yield* arrives(spans, "chat sim-model")
      assert.isFalse(spans.received().includes(Buffer.from(traceId, "hex")))
    })
  )
})

describe("the choice whether a request is traced", () => {
  const idOf = (n: number) => `${"0".repeat(31)}${n}`
  const contextOf = (n: number, flags: string) => `00-${idOf(n)}-00f067aa0ba902b7-${flags}`

  /** Which of the traces 1 to `count` have arrived when one that comes after them has. */
  const arrived = Effect.fnUntraced(function* (spans: Collector, count: number) {
    yield* arrives(spans, Buffer.from(idOf(9), "hex"))
    return Array.from({ length: count }, (_, index) => index + 1).filter((n) =>
      spans.received().includes(Buffer.from(idOf(n), "hex"))
    )
  })

  it.live(
    "is for a client with a valid key to decide, and for no other: the flag of the others does not go up either",
    () =>
      Effect.gen(function* () {
        const spans = yield* collector
        const { gateway, simulator } = yield* setUp(
          { endpoint: spans.url, sampleRatio: 0 },
          {},
          { ...keyed, listeners: [{ port: 0 }, { name: "open", port: 0, auth: false }] }
        )
        const open = gateway.urlOf("open")
        yield* chat(open, {}, { traceparent: contextOf(1, "01") })
        yield* chat(open, {}, { ...bearer, traceparent: contextOf(2, "03") })
        yield* chat(gateway.url, {}, { traceparent: contextOf(3, "01") })
        yield* chat(gateway.url, {}, { authorization: "Bearer wrong", traceparent: contextOf(4, "01") })
        yield* chat(gateway.url, {}, { ...bearer, traceparent: contextOf(5, "00") })
        yield* chat(gateway.url, {}, { ...bearer, traceparent: contextOf(9, "01") })
        assert.deepStrictEqual(yield* arrived(spans, 5), [])
        const sent = yield* contexts(simulator)
        assert.deepStrictEqual(sent.slice(0, 3), [contextOf(1, "00"), contextOf(2, "02"), contextOf(5, "00")])
      })
  )

  it.live("is chance where the client may not decide, in the client's trace all the same", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      const { gateway, simulator } = yield* setUp({ endpoint: spans.url, sampleRatio: 1 })
      yield* chat(gateway.url, {}, { traceparent: contextOf(1, "00") })
      yield* chat(gateway.url, {}, { traceparent: contextOf(9, "01") })
      assert.deepStrictEqual(yield* arrived(spans, 1), [1])
      for (const [n, context] of (yield* contexts(simulator)).entries()) {
        assert.match(context ?? "", new RegExp(`^00-${idOf([1, 9][n] ?? 0)}-[0-9a-f]{16}-01$`))
      }
    })
  )

  it.live("is for a trusted proxy to decide", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      const { gateway } = yield* setUp(
        { endpoint: spans.url, sampleRatio: 0 },
        {},
        {
          listeners: [
            { port: 0, trustedProxies: ["127.0.0.0/8"] },
            { name: "other", port: 0, trustedProxies: ["10.0.0.1"] }
          ]
        }
      )
      yield* chat(gateway.urlOf("other"), {}, { traceparent: contextOf(1, "01") })
      yield* chat(gateway.urlOf("other"), {}, { traceparent: contextOf(2, "01"), "x-forwarded-for": "10.0.0.1" })
      yield* chat(gateway.url, {}, { traceparent: contextOf(3, "00") })
      yield* chat(gateway.url, {}, { traceparent: contextOf(4, "01"), "x-forwarded-for": "203.0.113.9" })
      yield* chat(gateway.url, {}, { traceparent: contextOf(9, "01") })
      assert.deepStrictEqual(yield* arrived(spans, 4), [4])
    })
  )
})

describe("what a trace holds", () => {
  it.live("is neither prompt nor answer, unless that is asked for", () =>
    Effect.gen(function* () {
      const secret = "the-secret-of-the-prompt"
      const ask = (url: string, stream: boolean) =>
        chat(url, { stream, messages: [{ role: "user", content: secret }] }, { authorization: "Bearer sk-mine" })
      const quiet = yield* collector
      const { gateway } = yield* setUp({ endpoint: quiet.url })
      yield* ask(gateway.url, false)
      yield* ask(gateway.url, true)
      yield* arrives(quiet, "chat sim-model")
      assert.isFalse(quiet.received().includes(secret))
      assert.isFalse(quiet.received().includes("sk-mine"))
      const open = yield* collector
      const other = yield* setUp({ endpoint: open.url, captureContent: true })
      yield* ask(other.gateway.url, false)
      yield* ask(other.gateway.url, true)
      for (const text of [secret, "gen_ai.output.messages", "chat.completion.chunk", "finish_reason"]) {
        yield* arrives(open, text)
      }
      assert.isFalse(open.received().includes("sk-mine"))
    })
  )
})

describe("the collector", () => {
  it.live("may be named by the standard variables", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      const simulator = yield* Simulator.make()
      const gateway = yield* serve(
        { backends: [{ name: "engine", url: simulator.url }] },
        { env: { ...soon, OTEL_EXPORTER_OTLP_ENDPOINT: `${spans.url}/otlp/` } }
      )
      yield* chat(gateway.url)
      yield* arrives(spans, "chat sim-model")
      assert.deepStrictEqual([...new Set(spans.paths)], ["/otlp/v1/traces"])
    })
  )

  it.live("may be away: requests are answered all the same, and the log says so", () =>
    Effect.gen(function* () {
      const spans = yield* collector
      spans.status = 400
      const { gateway } = yield* setUp({ endpoint: spans.url })
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
      yield* eventually(
        Effect.sync(() => (gateway.stderr.some((line) => line.includes("spans could not be sent")) ? true : undefined)),
        () => gateway.stderr.join("\n")
      )
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
    })
  )
})
