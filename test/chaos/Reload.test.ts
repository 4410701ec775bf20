/** No request fails or changes because the configuration does, whatever changes in it. */
import { rename, writeFile } from "node:fs/promises"
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask } from "../e2e/Ask.ts"
import { eventually, type Gateway, serve } from "../e2e/Program.ts"
import { failureOf, load, summaryOf, tally } from "./Load.ts"

const requests = 10_000
const clients = 64
const reloads = 50

/** Reloads so far that ended like this. */
const counted = (gateway: Gateway, result: string): Effect.Effect<number> =>
  Effect.map(ask(`${gateway.url}/metrics`), ({ text }) =>
    Number(new RegExp(`^weir_config_reloads_total\\{result="${result}"\\} (\\d+)$`, "m").exec(text)?.[1] ?? 0)
  )

/** Replaces the file and asks for a reload; returns when one more has ended like this. */
const reload = Effect.fnUntraced(function* (gateway: Gateway, config: unknown, result: "applied" | "refused") {
  const before = yield* counted(gateway, result)
  yield* Effect.promise(async () => {
    await writeFile(`${gateway.file}.new`, JSON.stringify(config))
    await rename(`${gateway.file}.new`, gateway.file)
  })
  yield* gateway.signal("SIGHUP")
  yield* eventually(
    Effect.map(counted(gateway, result), (now) => (now > before ? true : undefined)),
    () => `a reload that is ${result}: ${gateway.stderr.slice(-3).join("\n")}`
  )
})

it.live(
  `${requests} requests of ${clients} clients while the configuration changes ${reloads} times: 0 failed`,
  () =>
    Effect.gen(function* () {
      const names = ["a", "b", "c", "d"]
      const engine = { ttft: Duration.millis(5), itl: Duration.millis(2), slots: 64 }
      const engines = yield* Effect.forEach(names, (name) => Simulator.make({ ...engine, name }))
      /** The nth of many configurations: each can serve every request, and no two in a row are alike. */
      const configOf = (n: number) => {
        // Each backend is left out every fourth time, another one each time.
        const present = names.filter((_, index) => index !== n % names.length)
        const backends = present.map((name) => ({
          name,
          url: engines[names.indexOf(name)]?.url,
          weight: 1 + (n % 3),
          adapter: n % 6 < 3 ? "openai" : "vllm",
          timeouts: { connect: `${5 + (n % 2)}s`, idle: `${30 + n}s` },
          ...(n % 5 === 0 && { headers: [{ op: "insert", name: "x-team", value: `t${n}` }] })
        }))
        return {
          listeners: [
            { name: "public", port: 0, connectTimeout: `${5 + n}s`, rateLimit: { perSecond: 10_000, burst: 20_000 } },
            ...(n % 2 === 0 ? [{ name: "other", port: 0 }] : [])
          ],
          backends,
          pools: [
            {
              name: "default",
              backends: present,
              strategy: ["least_inflight", "round_robin", "random", "weighted_round_robin", "latency_based"][n % 5],
              admission: { maxConcurrent: 100 + n },
              client: { keepAlive: `${5 + (n % 4)}s` }
            }
          ],
          health: { interval: `${1 + (n % 3)}s`, timeout: "5s" },
          limits: { maxBodyBytes: 1_000_000 + n, maxHeaderBytes: 16_384 + n },
          telemetry: { logs: { level: n % 2 === 0 ? "warn" : "error" } }
        }
      }
      // At first at a level that logs when it listens.
      const gateway = yield* serve({ ...configOf(0), listeners: [{ name: "public", port: 0 }], telemetry: {} })
      let changing = true
      const running = yield* Effect.forkChild(
        load(gateway.url, {
          clients,
          more: (sent) => changing || sent < requests,
          streamed: (n) => n % 4 === 0,
          tokens: 4
        }),
        { startImmediately: true }
      )
      for (let n = 1; n <= reloads; n++) {
        if (n % 10 === 0) yield* reload(gateway, { backends: [{ name: "x", url: "no address" }] }, "refused")
        yield* reload(gateway, configOf(n), "applied")
        // So that the changes are spread over the requests.
        yield* Effect.sleep("100 millis")
      }
      changing = false
      const tries = yield* Fiber.join(running)
      const failures = tries.map(failureOf).filter((reason) => reason !== undefined)
      const applied = yield* counted(gateway, "applied")
      process.stdout.write(summaryOf(`reload: ${clients} clients, ${applied} reloads`, tries, failures.length))
      assert.deepStrictEqual(tally(failures), {})
      assert.isAtLeast(tries.length, requests)
      assert.isAtLeast(applied, reloads)
      // Every backend was asked, and nothing is left of the requests.
      for (const { stats } of engines) {
        assert.isAbove((yield* stats).finished, requests / 10)
        yield* eventually(
          Effect.map(stats, ({ running: left }) => (left === 0 ? true : undefined)),
          () => "nothing runs any more"
        )
      }
    }),
  180_000
)
