/** S05 to S07, S17, S19, S21, S22: what goes wrong before anything of an answer is there. */
import { createServer, type Socket } from "node:net"
import { assert } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { type FaultSpec, Simulator } from "../../../src/sim/Simulator.ts"
import { eventually, serve } from "../../e2e/Program.ts"
import { cert, key } from "../../sim/Certificate.ts"
import { ask, attemptsOf, codeOf, volley } from "../Clients.ts"
import { assertBy, assertServed, atRest, backendOf, metric, servedVolley, stage, statsOf, until } from "../Scene.ts"
import type { Row } from "../ScoreCard.ts"

const reset = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "reset" } })
    const outcomes = yield* servedVolley(scene, 24)
    assertBy(outcomes, "healthy")
    const { faulty, healthy } = yield* atRest(scene)
    assert.isAtLeast(faulty.started, 1)
    assert.strictEqual(faulty.started, outcomes.filter((each) => attemptsOf(each) === 2).length)
    assert.strictEqual(healthy.finished, 24)
    assert.isAtLeast(yield* metric(scene.gateway, "weir_upstream_errors_total", 'error="reset"'), 1)
  })
)

const silent = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "silence" }, backend: { timeouts: { firstByte: "400ms" } } })
    const outcomes = yield* servedVolley(scene, 16, { headers: { "x-weir-timeout": "8s" } })
    assertBy(outcomes, "healthy")
    for (const { millis } of outcomes) assert.isBelow(millis, 8000, "within the deadline")
    const { faulty } = yield* atRest(scene)
    assert.isAtLeast(faulty.started, 1)
    assert.strictEqual(faulty.cancelled, faulty.started, "each that was given up is cancelled")
    assert.isAtLeast(backendOf(yield* statsOf(scene.gateway), "faulty").failures, 1)
  })
)

const slow = Effect.fnUntraced(function* () {
  const fault: FaultSpec = { kind: "slow_first_token", delay: 1200 }
  const waits = Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault })
      const outcomes = yield* servedVolley(scene, 8)
      assertBy(outcomes, "faulty")
      for (const { millis } of outcomes) assert.isAtLeast(millis, 1200)
      yield* atRest(scene)
    })
  )
  const bounded = Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault, backend: { timeouts: { firstByte: "300ms" } } })
      assertBy(yield* servedVolley(scene, 8), "healthy")
      const { faulty } = yield* atRest(scene)
      assert.strictEqual(faulty.cancelled, faulty.started)
    })
  )
  const deadline = Effect.scoped(
    Effect.gen(function* () {
      const scene = yield* stage({ fault })
      const outcomes = yield* volley(scene.gateway.url, 8, { headers: { "x-weir-timeout": "400ms" } })
      for (const outcome of outcomes) {
        assert.strictEqual(outcome.status, 504)
        assert.strictEqual(codeOf(outcome), "deadline_exceeded")
        assert.isBelow(outcome.millis, 1200)
      }
      const { faulty } = yield* atRest(scene)
      assert.strictEqual(faulty.cancelled, faulty.started)
      assert.strictEqual(backendOf(yield* statsOf(scene.gateway), "faulty").failures, 0, "nobody is to blame")
    })
  )
  yield* Effect.all([waits, bounded, deadline], { concurrency: "unbounded" })
})

const closed = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "refuse", for: 2500 } })
    assertBy(yield* servedVolley(scene, 24), "healthy")
    yield* until(scene.gateway, (stats) => backendOf(stats, "faulty").health === "unhealthy")
    assertBy(yield* servedVolley(scene, 24), "healthy")
    yield* until(scene.gateway, (stats) => backendOf(stats, "faulty").health === "healthy")
    yield* servedVolley(scene, 8)
    yield* until(scene.gateway, (stats) => backendOf(stats, "faulty").circuit === "closed")
    assertBy(yield* servedVolley(scene, 8), "faulty")
    yield* atRest(scene)
  })
)

/** At most these may stay, however much of a head came. */
const memoryBound = 96 * 1024 * 1024

const headless = (fault: FaultSpec) =>
  Effect.scoped(
    Effect.gen(function* () {
      const alone = yield* stage({
        fault,
        alone: true,
        backend: { health: { unhealthyAfter: 100 }, breaker: { cooldown: "1ms" } },
        pool: { retry: { attempts: 0 } }
      })
      const before = yield* metric(alone.gateway, "process_resident_memory_bytes")
      // Once its circuit has opened they wait for one trial after the other, so each of them meets such a head.
      for (const outcome of yield* volley(alone.gateway.url, 48)) {
        assert.strictEqual(outcome.status, 502)
        assert.strictEqual(codeOf(outcome), "upstream_error")
      }
      assert.strictEqual((yield* alone.faulty.stats).started, 48)
      const grown = (yield* metric(alone.gateway, "process_resident_memory_bytes")) - before
      assert.isBelow(grown, memoryBound, "bytes more than before")
      yield* atRest(alone)
      const beside = yield* stage({ fault })
      assertBy(yield* servedVolley(beside, 16), "healthy")
      yield* atRest(beside)
    })
  )

/** More than all buffers on the way hold, so that it cannot have been sent when the answer comes. */
const large = JSON.stringify({ model: "sim-model", messages: [{ role: "user", content: "x".repeat(12_000_000) }] })

const early = Effect.scoped(
  Effect.gen(function* () {
    const scene = yield* stage({ fault: { kind: "early_answer", status: 413 } })
    for (const body of [undefined, large]) {
      const outcomes = yield* volley(scene.gateway.url, 4, body === undefined ? {} : { body })
      for (const outcome of outcomes) assert.strictEqual(outcome.status, 413, outcome.text.slice(0, 200))
      assertBy(outcomes, "faulty")
    }
    const upload = yield* ask(scene.gateway.url, {
      streamed: false,
      headers: { "content-type": "application/octet-stream" },
      body: large
    })
    assert.strictEqual(upload.status, 413)
    const { healthy } = yield* atRest(scene)
    assert.strictEqual(healthy.started, 0)
  })
)

/** Holds the first connection (the first probe) for ever, so that the backend's state is not known, and opens others. */
const blindfold = (target: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const { connect } = await import("node:net")
      const sockets = new Set<Socket>()
      const server = createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => socket.destroy())
        if (sockets.size === 1) return
        const onward = connect(target, "127.0.0.1")
        onward.on("error", () => socket.destroy())
        socket.pipe(onward).pipe(socket)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const address = server.address()
      return { server, sockets, port: typeof address === "object" && address !== null ? address.port : 0 }
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )

const untrusted = Effect.scoped(
  Effect.gen(function* () {
    const impostor = yield* Effect.orDie(Simulator.make({ name: "impostor", tls: { cert, key } }))
    const healthy = yield* Effect.orDie(Simulator.make({ ttft: Duration.millis(5), itl: Duration.millis(2) }))
    const door = yield* blindfold(impostor.port)
    const models = ["sim-model"]
    const gateway = yield* serve({
      listeners: [
        { name: "alone", port: 0, pool: "alone" },
        { name: "both", port: 0, pool: "both" }
      ],
      backends: [
        {
          name: "faulty",
          url: `https://127.0.0.1:${door.port}`,
          models,
          health: { timeout: "60s", unhealthyAfter: 100 },
          breaker: { minRequests: 1000, threshold: 1 }
        },
        { name: "healthy", url: healthy.url, models }
      ],
      pools: [
        { name: "alone", backends: ["faulty"], retry: { attempts: 0 } },
        { name: "both", backends: ["faulty", "healthy"], strategy: "failover" }
      ]
    })
    yield* eventually(
      Effect.sync(() => (door.sockets.size > 0 ? true : undefined)),
      () => "the first probe"
    )
    const served = yield* volley(gateway.urlOf("both"), 1)
    assertServed(served)
    assertBy(served, "healthy")
    const [streamed, whole] = yield* volley(gateway.urlOf("alone"), 2)
    for (const outcome of [streamed, whole]) {
      assert.isDefined(outcome)
      assert.strictEqual(outcome.status, 502)
      assert.strictEqual(codeOf(outcome), "upstream_error")
    }
    assert.strictEqual(
      yield* metric({ ...gateway, url: gateway.urlOf("alone") }, "weir_upstream_errors_total", 'error="tls"'),
      3
    )
    assert.strictEqual((yield* impostor.stats).started, 0, "nothing was sent to it")
  })
)

export const beforeTheHead: ReadonlyArray<Row> = [
  { id: "S05", upstream: "resets the connection before the head", expected: "another answers", run: reset },
  {
    id: "S06",
    upstream: "accepts and never answers",
    expected: "time-out before the head, another answers within the deadline",
    run: silent
  },
  {
    id: "S07",
    upstream: "is slow with its first token",
    expected: "first-byte time-out if configured, else waits; the client's deadline holds",
    run: slow()
  },
  {
    id: "S17",
    upstream: "refuses connections; port closed",
    expected: "another answers; nothing leaks",
    run: closed
  },
  {
    id: "S19",
    upstream: "sends 1 MiB of head, or a never-ending head",
    expected: "502, bounded memory",
    run: Effect.asVoid(
      Effect.all([headless({ kind: "huge_head" }), headless({ kind: "endless_head" })], { concurrency: 2 })
    )
  },
  {
    id: "S21",
    upstream: "answers before the request body was read, and closes",
    expected: "the answer arrives",
    run: early
  },
  {
    id: "S22",
    upstream: "has a certificate that is wrong",
    expected: "502, counted as a transport error, never accepted in silence",
    run: untrusted
  }
]
