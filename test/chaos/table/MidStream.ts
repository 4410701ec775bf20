/** S08 to S12, S18 and S20: what goes wrong while an answer is on its way. */
import { assert } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { request } from "undici"
import { brokenEvent } from "../../../src/sim/Script.ts"
import type { FaultSpec } from "../../../src/sim/Simulator.ts"
import { eventually } from "../../e2e/Program.ts"
import { ask, codeOf, lackOfTelling, nodeOf, type Outcome, volley } from "../Clients.ts"
import { assertBy, assertServed, atRest, backendOf, metric, type Setting, stage, statsOf } from "../Scene.ts"
import type { Row } from "../ScoreCard.ts"

/** What of an answer is the same each time that it is asked for. */
const textOf = ({ text }: Outcome): string =>
  text.replaceAll(/"(?:id|created|system_fingerprint)":(?:"[^"]*"|\d+),?/g, "")

const dialects = [
  { path: "/v1/chat/completions", fields: {} },
  { path: "/v1/completions", fields: { prompt: "Hello" } },
  { path: "/v1/responses", fields: { input: "Hello" } },
  { path: "/v1/messages", fields: { max_tokens: 12 } }
]

/** Slow enough that all clients of a volley are served before the first of them is let down, which opens the circuit. */
const unhurried = { itl: Duration.millis(25) }

/** Streams that had begun say what happened, and are not begun anew elsewhere. */
const toldAtOnce = (fault: FaultSpec, code: string, more: Setting) =>
  Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault, engine: unhurried, ...more })
      const { gateway } = scene
      const outcomes = yield* Effect.all(
        Array.from({ length: 12 }, () => ask(gateway.url, { streamed: true })),
        { concurrency: "unbounded" }
      )
      for (const outcome of outcomes) assert.isUndefined(lackOfTelling(outcome, code))
      assertBy(outcomes, "faulty")
      const { faulty, healthy } = yield* atRest(scene)
      assert.deepStrictEqual([faulty.started, faulty.finished], [12, 0])
      assert.strictEqual(healthy.started, 0, "nothing is sent twice once its answer had begun")
      assert.strictEqual(yield* metric(gateway, "weir_stream_ends_total", `end="${code}"`), 12)
      assert.strictEqual(yield* metric(gateway, "weir_stream_ends_total", `end="complete"`), 0)
      const { failures } = backendOf(yield* statsOf(gateway), "faulty")
      assert.strictEqual(failures, code === "upstream_truncated" ? 12 : 0)
    })
  )

/** Each dialect says it in its own way, and none looks complete. */
const toldInEachDialect = (fault: FaultSpec, code: string, more: Setting) =>
  Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault, ...more })
      for (const { fields, path } of dialects) {
        const { broken, status, text } = yield* ask(scene.gateway.url, { streamed: true, path, fields })
        assert.strictEqual(status, 200, path)
        assert.isFalse(broken, path)
        const last = text.trimEnd().split("\n\n").at(-1) ?? ""
        assert.include(last, `"code":"${code}"`, path)
        assert.notMatch(text, /\[DONE\]|"response\.completed"|"message_stop"/, path)
      }
      yield* atRest(scene)
    })
  )

const told = (fault: FaultSpec, code: string, more: Setting = {}) =>
  Effect.all([toldAtOnce(fault, code, more), toldInEachDialect(fault, code, more)], { concurrency: 2, discard: true })

const cut = Effect.gen(function* () {
  yield* told({ kind: "cut", fraction: 0.4 }, "upstream_truncated")
  // Nothing of a whole answer has gone out when it breaks off: another backend is asked, unseen by the client.
  yield* elsewhere({ kind: "cut", fraction: 0.4 })
})

const elsewhere = (fault: FaultSpec, backend: object = {}) =>
  Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault, backend })
      const outcomes = yield* Effect.all(
        Array.from({ length: 12 }, () => ask(scene.gateway.url, { streamed: false })),
        { concurrency: "unbounded" }
      )
      assertServed(outcomes)
      assertBy(outcomes, "healthy")
      const { faulty, healthy } = yield* atRest(scene)
      assert.isAtLeast(faulty.started, 1)
      assert.strictEqual(faulty.finished, 0)
      assert.strictEqual(healthy.finished, 12)
    })
  )

const stalled = Effect.gen(function* () {
  const fault: FaultSpec = { kind: "stall", fraction: 0.4 }
  yield* Effect.all(
    [
      told(fault, "upstream_timeout", { backend: { timeouts: { idle: "400ms" } } }),
      tookTooLong(fault, { timeouts: { request: "800ms" } })
    ],
    { concurrency: 2 }
  )
})

/** A whole answer that took as long as it may is not asked for again: it would take as long. */
const tookTooLong = (fault: FaultSpec, backend: object) =>
  Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault, backend })
      const outcomes = yield* Effect.all(
        Array.from({ length: 4 }, () => ask(scene.gateway.url, { streamed: false })),
        { concurrency: "unbounded" }
      )
      for (const outcome of outcomes)
        assert.deepStrictEqual([outcome.status, codeOf(outcome)], [504, "upstream_timeout"])
      const { faulty, healthy } = yield* atRest(scene)
      assert.deepStrictEqual([faulty.finished, healthy.started], [0, 0])
    })
  )

const malformed = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "malformed" } })
    const direct = {
      streamed: yield* ask(scene.faulty.url, { streamed: true }),
      whole: yield* ask(scene.faulty.url, { streamed: false })
    }
    const outcomes = yield* volley(scene.gateway.url, 16)
    for (const outcome of outcomes) {
      const wanted = outcome.streamed ? direct.streamed : direct.whole
      assert.strictEqual(outcome.status, 200)
      assert.isFalse(outcome.broken)
      assert.strictEqual(textOf(outcome), textOf(wanted), "byte for byte")
      if (outcome.streamed) {
        assert.include(outcome.text, brokenEvent)
        assert.isTrue(outcome.text.endsWith("data: [DONE]\n\n"))
      }
    }
    assertBy(outcomes, "faulty")
    const { faulty } = yield* atRest(scene)
    assert.strictEqual(faulty.finished, 18)
  })
)

const withoutDone = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "no_done" } })
    const direct = yield* ask(scene.faulty.url, { streamed: true })
    const outcomes = yield* volley(scene.gateway.url, 16)
    for (const outcome of outcomes.filter(({ streamed }) => streamed)) {
      assert.strictEqual(outcome.status, 200)
      assert.isFalse(outcome.broken)
      assert.strictEqual(textOf(outcome), textOf(direct), "nothing is added")
      assert.include(outcome.text, '"finish_reason":"stop"')
    }
    assertServed(outcomes.filter(({ streamed }) => !streamed))
    yield* atRest(scene)
    assert.strictEqual(yield* metric(scene.gateway, "weir_stream_ends_total", 'end="complete"'), 8)
    assert.strictEqual(backendOf(yield* statsOf(scene.gateway), "faulty").failures, 0)
  })
)

const compressed = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "gzip" } })
    const plain = {
      streamed: yield* ask(scene.healthy.url, { streamed: true }),
      whole: yield* ask(scene.healthy.url, { streamed: false })
    }
    for (const headers of [{}, { "accept-encoding": "gzip, deflate, br" }, { "accept-encoding": "identity" }]) {
      const outcomes = yield* volley(scene.gateway.url, 8, { headers })
      assertServed(outcomes)
      assertBy(outcomes, "faulty")
      for (const outcome of outcomes) {
        assert.isUndefined(outcome.headers["content-encoding"])
        assert.strictEqual(textOf(outcome), textOf(outcome.streamed ? plain.streamed : plain.whole))
      }
    }
    yield* atRest(scene)
  })
)

/** The pieces of a stream as they come, until there are enough of them; then the client leaves. */
const firstPieces = (url: string, count: number) =>
  Effect.promise(async () => {
    const answer = await request(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "sim-model", stream: true, messages: [{ role: "user", content: "Hello" }] })
    })
    const pieces: Array<{ readonly bytes: number; readonly at: number }> = []
    try {
      for await (const piece of answer.body) {
        pieces.push({ bytes: Buffer.from(piece).length, at: performance.now() })
        if (pieces.length === count) answer.body.destroy()
      }
    } catch {
      // It is this client that left.
    }
    return pieces
  })

const trickled = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "trickle", bytesPerSecond: 1, stream: true } })
    const readers = yield* Effect.all(
      Array.from({ length: 4 }, () => firstPieces(scene.gateway.url, 4)),
      { concurrency: "unbounded" }
    )
    for (const pieces of readers) {
      // What shows that it is an answer at all comes together; from there on each byte when it is sent.
      assert.strictEqual(pieces.length, 4)
      for (const [index, { at, bytes }] of pieces.entries()) {
        const before = pieces[index - 1]
        if (before === undefined) continue
        assert.strictEqual(bytes, 1)
        assert.isAtLeast(at - before.at, 500, "not gathered")
      }
    }
    const left = yield* eventually(
      Effect.map(scene.faulty.stats, (stats) => (stats.cancelled === 4 ? stats : undefined)),
      () => "four that are cancelled"
    )
    assert.strictEqual(left.running, 0)
    yield* Effect.orDie(scene.faulty.setFaults({ kind: "trickle", bytesPerSecond: 500 }))
    const whole = yield* volley(scene.gateway.url, 4, { fields: { max_tokens: 2 } })
    assertServed(whole)
    assert.deepStrictEqual([...new Set(whole.map(nodeOf))], ["faulty"])
    yield* atRest(scene)
  })
)

export const midStream: ReadonlyArray<Row> = [
  {
    id: "S08",
    upstream: "cuts the stream after 40 %",
    expected: "explicit upstream_truncated",
    run: cut
  },
  {
    id: "S09",
    upstream: "cuts the stream after its last token but before [DONE]",
    expected: "explicit error, not a normal end",
    run: told({ kind: "cut_before_done" }, "upstream_truncated")
  },
  {
    id: "S10",
    upstream: "stalls for longer than idle mid-stream",
    expected: "explicit upstream_timeout, upstream cancelled",
    run: stalled
  },
  {
    id: "S11",
    upstream: "sends one malformed SSE chunk",
    expected: "passed on byte for byte; the stream goes on; nothing crashes",
    run: malformed
  },
  {
    id: "S12",
    upstream: "leaves [DONE] out but gave a finish_reason and a clean end",
    expected: "a normal end",
    run: withoutDone
  },
  { id: "S18", upstream: "answers with gzip", expected: "the client can read it", run: compressed },
  {
    id: "S20",
    upstream: "sends a slow trickle, one byte a second",
    expected: "relayed as it comes",
    run: trickled
  }
]
