/** S15 and S16: an upstream that comes and goes. */
import { assert } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { eventually } from "../../e2e/Program.ts"
import { ask, lackOfTelling, nodeOf } from "../Clients.ts"
import { assertBy, assertServed, atRest, type Scene, stage } from "../Scene.ts"
import type { Row } from "../ScoreCard.ts"

/** Long enough to be caught in the middle. */
const slowly = { tokens: 60, itl: Duration.millis(25) }

/** Twenty times over a minute, streaming and not; some of these meet the backend up, and some meet it down. */
const flapping = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "flap", up: "2500ms", down: "1700ms" } })
    const nodes = new Set<string>()
    for (let n = 0; n < 20; n++) {
      const pair = yield* Effect.all(
        [ask(scene.gateway.url, { streamed: true }), ask(scene.gateway.url, { streamed: false })],
        { concurrency: "unbounded" }
      )
      assertServed(pair)
      for (const each of pair) nodes.add(nodeOf(each))
      yield* Effect.sleep("3 seconds")
    }
    assert.deepStrictEqual([...nodes].toSorted(), ["faulty", "healthy"], "it is used when it is up")
    yield* atRest(scene)
  })
)

/** How long SDKs wait at least before they try again. */
const patience = "400 millis"

const running = ({ faulty }: Scene) =>
  eventually(
    Effect.map(faulty.stats, (stats) => (stats.running > 0 && stats.generatedTokens >= 5 ? true : undefined)),
    () => "a generation under way"
  )

/** The engine dies under a stream; the client asks again. */
const diesUnderStream = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "die", afterTokens: 20, times: 1 }, engine: slowly })
    const first = yield* ask(scene.gateway.url, { streamed: true })
    assert.isUndefined(lackOfTelling(first, "upstream_truncated"))
    const between = yield* scene.faulty.stats
    assert.strictEqual(between.running, 0, "it is over before the next begins")
    const again = yield* ask(scene.gateway.url, { streamed: true })
    assertServed([again])
    const { faulty, healthy } = yield* atRest(scene)
    assert.strictEqual(faulty.finished + healthy.finished, 1, "one answer is paid for")
  })
)

/** The engine dies under an answer that does not stream: the gateway asks again by itself, once. */
const diesUnderWhole = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "die", times: 1 }, engine: slowly })
    const only = yield* ask(scene.gateway.url, { streamed: false })
    assertServed([only])
    assertBy([only], "healthy")
    const { faulty, healthy } = yield* atRest(scene)
    assert.deepStrictEqual([faulty.finished, faulty.failed, healthy.finished, healthy.started], [0, 1, 1, 1])
  })
)

/** The client gives up, as its SDK does after a time-out, and asks again: never do two generations run for it. */
const clientAsksAgain = (streamed: boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ alone: true, engine: slowly })
      for (let n = 0; n < 3; n++) {
        const [left] = yield* Effect.all([ask(scene.gateway.url, { streamed, leavesAfter: 500 }), running(scene)], {
          concurrency: "unbounded"
        })
        assert.isTrue(left.broken)
        yield* Effect.sleep(patience)
        assert.strictEqual((yield* scene.faulty.stats).running, 0, "cancelled by then")
      }
      const last = yield* ask(scene.gateway.url, { streamed })
      assertServed([last])
      const { faulty } = yield* atRest(scene)
      assert.deepInclude(faulty, { started: 4, cancelled: 3, finished: 1, maxRunning: 1 })
      assert.isBelow(faulty.generatedTokens, 4 * 60, "what nobody wanted was not generated to its end")
    })
  )

export const flaps: Row = {
  id: "S15",
  upstream: "flaps: up and down every few seconds for 60 s, 20 requests",
  expected: "every request answered",
  run: flapping
}

export const dies: Row = {
  id: "S16",
  upstream: "dies mid-request with the client's retry",
  expected: "the client is billed once: one generation is cancelled before the next starts",
  run: Effect.asVoid(
    Effect.all([diesUnderStream, diesUnderWhole, clientAsksAgain(true), clientAsksAgain(false)], { concurrency: 2 })
  )
}
