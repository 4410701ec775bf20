/** S01 to S04 and S13, S14: what an upstream answers instead of an answer. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { ask, attemptsOf, codeOf, type Outcome, volley } from "../Clients.ts"
import {
  assertBy,
  assertServed,
  atRest,
  backendOf,
  metric,
  type Scene,
  servedVolley,
  stage,
  statsOf,
  until
} from "../Scene.ts"
import type { Row } from "../ScoreCard.ts"

const restMillis = 1500

/** The first is refused and goes elsewhere; the backend is left alone for as long as it asked, and then asked again. */
const restsAsAsked = Effect.fnUntraced(function* (streamed: boolean) {
  const scene = yield* stage({
    fault: { kind: "status", status: 429, retryAfter: restMillis / 1000, times: 1 }
  })
  const { faulty, gateway } = scene
  const asked = performance.now()
  const first = yield* ask(gateway.url, { streamed })
  assertServed([first])
  assertBy([first], "healthy")
  assert.strictEqual(attemptsOf(first), 2)
  assert.strictEqual(backendOf(yield* statsOf(gateway), "faulty").health, "rate_limited")
  while (performance.now() - asked < restMillis - 300) {
    assertBy(yield* servedVolley(scene, 8), "healthy")
    assert.strictEqual((yield* faulty.stats).started, 1, "it is left alone")
  }
  yield* until(gateway, (stats) => backendOf(stats, "faulty").health === "healthy")
  assert.isAtLeast(performance.now() - asked, restMillis, "not before its time")
  assertBy(yield* servedVolley(scene, 8), "faulty")
  assert.strictEqual(backendOf(yield* statsOf(gateway), "faulty").failures, 0, "no blame")
  yield* atRest(scene)
})

const refused = Effect.scoped(
  Effect.gen(function* () {
    const fault = { kind: "status", status: 429, retryAfter: 7 } as const
    const scene = yield* stage({ fault, pool: { retry: { attempts: 2 } } })
    yield* Effect.orDie(scene.healthy.setFaults(fault))
    const outcomes = yield* volley(scene.gateway.url, 24)
    for (const { headers, status } of outcomes) {
      assert.include([429, 503], status)
      const seconds = Number(headers["retry-after"])
      assert.isTrue(Number.isInteger(seconds) && seconds >= 1 && seconds <= 60, `retry-after: ${seconds}`)
    }
    for (const { attempts } of outcomes.map((each) => ({ attempts: attemptsOf(each) }))) {
      if (!Number.isNaN(attempts)) assert.isAtMost(attempts, 3)
    }
    const { faulty, healthy } = yield* atRest(scene)
    assert.isAtMost(faulty.started + healthy.started, 24 * 3, "attempts at the upstreams")
    assert.isAtLeast(faulty.started, 1)
    assert.isAtLeast(healthy.started, 1)
    // No backend is asked while both rest.
    const before = faulty.started + healthy.started
    const later = yield* volley(scene.gateway.url, 8)
    assert.deepStrictEqual([...new Set(later.map(({ status }) => status))], [503])
    const after = yield* atRest(scene)
    assert.strictEqual(after.faulty.started + after.healthy.started, before)
    yield* assertNoBlame(scene)
  })
)

const assertNoBlame = Effect.fnUntraced(function* ({ gateway }: Scene) {
  const stats = yield* statsOf(gateway)
  for (const { circuit, failures, name } of stats.backends) {
    assert.strictEqual(circuit, "closed", name)
    assert.strictEqual(failures, 0, name)
  }
  assert.strictEqual(yield* metric(gateway, "weir_circuitbreaker_state_changes_total"), 0)
})

const pushedBack = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({
      fault: { kind: "status", status: 503, retryAfter: 1 },
      backend: { breaker: { minRequests: 1, threshold: 0.01 } }
    })
    const began = performance.now()
    while (performance.now() - began < 2500) assertBy(yield* servedVolley(scene, 16), "healthy")
    const { faulty } = yield* atRest(scene)
    assert.isAtLeast(faulty.started, 2, "it is asked again when its rest is over")
    yield* assertNoBlame(scene)
  })
)

const broken = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({
      fault: { kind: "status", status: 500 },
      backend: { breaker: { minRequests: 4, cooldown: "600ms" } }
    })
    const { faulty, gateway } = scene
    // With a failure whose fault is not known yet it is asked last, so that a volley may bring it one request only.
    for (let volley = 0; volley < 10; volley++) assertBy(yield* servedVolley(scene, 16), "healthy")
    yield* until(gateway, (stats) => backendOf(stats, "faulty").circuit !== "closed")
    // While it is open, one trial is sent for each good probe, and no client gets its failure.
    const before = (yield* faulty.stats).started
    const began = performance.now()
    while (performance.now() - began < 2000) assertBy(yield* servedVolley(scene, 8), "healthy")
    const trials = (yield* faulty.stats).started - before
    assert.isTrue(trials >= 1 && trials <= 15, `${trials} trials in two seconds`)
    yield* faulty.clearFaults
    yield* until(gateway, (stats) => backendOf(stats, "faulty").circuit === "half_open")
    yield* servedVolley(scene, 8)
    yield* until(gateway, (stats) => backendOf(stats, "faulty").circuit === "closed")
    assertBy(yield* servedVolley(scene, 8), "faulty")
    for (const [from, to] of [
      ["closed", "open"],
      ["open", "half_open"],
      ["half_open", "closed"]
    ]) {
      const turns = metric(gateway, "weir_circuitbreaker_state_changes_total", `from="${from}"`, `to="${to}"`)
      assert.isAtLeast(yield* turns, 1, `from ${from} to ${to}`)
    }
    yield* atRest(scene)
  })
)

const withoutId = ({ text }: Outcome): string => text.replaceAll(/"id":"[^"]*"/g, "")

/** A 4xx of the request's own making. */
const passedOn = (code: string, message: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({
        fault: { kind: "status", status: 400, code, message },
        backend: { breaker: { minRequests: 1, threshold: 0.01 } }
      })
      const direct = yield* ask(scene.faulty.url, { streamed: false })
      const outcomes = yield* volley(scene.gateway.url, 16)
      for (const outcome of outcomes) {
        assert.strictEqual(outcome.status, 400)
        assert.strictEqual(withoutId(outcome), withoutId(direct), "unchanged")
        assert.strictEqual(outcome.headers["content-type"], direct.headers["content-type"])
        assert.strictEqual(codeOf(outcome), code)
        assert.strictEqual(attemptsOf(outcome), 1)
      }
      assertBy(outcomes, "faulty")
      const { faulty, healthy } = yield* atRest(scene)
      assert.strictEqual(faulty.started, 17)
      assert.strictEqual(healthy.started, 0, "no retry")
      yield* assertNoBlame(scene)
    })
  )

export const answers: ReadonlyArray<Row> = [
  {
    id: "S01",
    upstream: "answers 429 with Retry-After once",
    expected: "another backend answers; the first rests that long",
    run: Effect.asVoid(
      Effect.all([Effect.scoped(restsAsAsked(true)), Effect.scoped(restsAsAsked(false))], { concurrency: 2 })
    )
  },
  {
    id: "S02",
    upstream: "answers 429 always, on all backends",
    expected: "429 or 503 to the client with Retry-After, attempts within the limit",
    run: refused
  },
  {
    id: "S03",
    upstream: "answers 503 always, on one",
    expected: "the other answers; no breaker moved",
    run: pushedBack
  },
  {
    id: "S04",
    upstream: "answers 500 always, on one",
    expected: "the other answers; its breaker opens; later it is probed and comes back",
    run: broken
  },
  {
    id: "S13",
    upstream: "answers 400 context-length-exceeded",
    expected: "passed on unchanged, no retry, no blame",
    run: passedOn("context_length_exceeded", "This model's maximum context length is 4096 tokens.")
  },
  {
    id: "S14",
    upstream: "answers 400 content-filter",
    expected: "passed on unchanged",
    run: passedOn("content_filter", "The response was filtered.")
  }
]
