import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { version } from "../../../src/domain/Version.ts"
import { healthRoutes } from "../../../src/http/routes/HealthRoutes.ts"
import { inProcess } from "../../../src/registry/Capacity.ts"
import type { Snapshot } from "../../../src/registry/Registry.ts"
import { backendOf, occupy, setCircuit } from "../../registry/Fixtures.ts"
import { answerOf, snapshot } from "../Requests.ts"

const limits = { unhealthyAfter: 1, healthyAfter: 1 }

/** Three backends, at addresses and with credentials that no answer may tell. */
const fleet = (strategy = "least_inflight"): Snapshot =>
  snapshot({
    backends: ["a", "b", "c"].map((name) => ({
      name,
      url: `http://10.0.0.1:1/${name}`,
      maxConcurrency: 1,
      auth: { type: "bearer", token: "t-secret" }
    })),
    pools: [{ name: "default", backends: ["a", "b", "c"], strategy, admission: { maxConcurrent: 7, maxQueue: 8 } }],
    keys: [{ name: "k", key: "k-secret" }]
  })

const probed = (shown: Snapshot, name: string, as: "healthy" | "unhealthy" | "misconfigured"): void =>
  backendOf(shown, name).state.health.probed(as, limits, 0, 0)

interface Asked {
  readonly now?: number
  readonly draining?: boolean
}

const ask = Effect.fnUntraced(function* (path: string, shown: Snapshot, { draining = false, now = 0 }: Asked = {}) {
  const route = healthRoutes({
    capacity: inProcess,
    clock: { now: () => now },
    startedAt: 0,
    isDraining: () => draining
  }).get(path)
  assert.isDefined(route)
  assert.strictEqual(route.access, "public")
  const response = yield* answerOf(route, { path }, shown)
  const json = yield* Effect.promise((): Promise<unknown> => response.json())
  return { status: response.status, json }
})

describe("the question whether the gateway lives", () => {
  it.effect("is answered with yes while it answers at all, whatever its backends do, by three names", () =>
    Effect.gen(function* () {
      for (const path of ["/healthz", "/livez", "/ping"]) {
        assert.deepStrictEqual(yield* ask(path, snapshot()), { status: 200, json: { status: "ok" } })
        assert.strictEqual((yield* ask(path, fleet(), { draining: true })).status, 200)
      }
    })
  )
})

describe("the answer whether the gateway is ready", () => {
  it.effect("takes one backend that can serve: one that was not probed yet is none", () =>
    Effect.gen(function* () {
      const shown = fleet()
      const nobody = { status: "not_ready", reason: "no_healthy_backend", healthy: 0, total: 3 }
      assert.deepStrictEqual(yield* ask("/readyz", shown), { status: 503, json: nobody })
      probed(shown, "a", "unhealthy")
      probed(shown, "b", "misconfigured")
      assert.deepStrictEqual(yield* ask("/readyz", shown), { status: 503, json: nobody })
      probed(shown, "c", "healthy")
      for (const path of ["/readyz", "/ready"]) {
        assert.deepStrictEqual(yield* ask(path, shown), {
          status: 200,
          json: { status: "ready", healthy: 1, total: 3 }
        })
      }
    })
  )

  it.effect("counts a backend that is busy or degraded, for it is alive", () =>
    Effect.gen(function* () {
      const shown = fleet()
      for (const name of ["a", "b"]) probed(shown, name, "healthy")
      occupy(backendOf(shown, "a"), 1)
      setCircuit(backendOf(shown, "b").state, { phase: "open" })
      assert.deepInclude((yield* ask("/readyz", shown)).json, { status: "ready", healthy: 2 })
    })
  )

  it.effect("is over from the first moment of the end", () =>
    Effect.gen(function* () {
      const shown = fleet()
      probed(shown, "a", "healthy")
      const stopping = { status: "not_ready", reason: "shutting_down" }
      assert.deepStrictEqual(yield* ask("/readyz", shown, { draining: true }), { status: 503, json: stopping })
    })
  )

  it.effect("is not the case without any backend", () =>
    Effect.gen(function* () {
      assert.deepInclude((yield* ask("/readyz", snapshot())).json, { status: "not_ready", total: 0 })
    })
  )
})

describe("the gateway's health in detail", () => {
  it.effect("tells names, states and settings, and neither an address nor a secret", () =>
    Effect.gen(function* () {
      const shown = fleet("round_robin")
      probed(shown, "a", "healthy")
      probed(shown, "b", "unhealthy")
      const { json, status } = yield* ask("/health", shown, { now: 61_900 })
      assert.strictEqual(status, 200)
      assert.deepInclude(json, {
        status: "ok",
        version,
        uptime_seconds: 61,
        strategy: "round_robin",
        nodes: [
          { name: "a", status: "healthy", state: "healthy" },
          { name: "b", status: "unhealthy", state: "unhealthy" },
          { name: "c", status: "unhealthy", state: "unknown" }
        ]
      })
      assert.nestedPropertyVal(json, "settings.pools[0].max_concurrent", 7)
      assert.nestedPropertyVal(json, "settings.pools[0].max_queue", 8)
      const text = JSON.stringify(json)
      for (const hidden of ["10.0.0.1", "t-secret", "k-secret"]) assert.notInclude(text, hidden)
      assert.deepInclude((yield* ask("/health", shown, { draining: true })).json, { status: "stopping" })
    })
  )
})
