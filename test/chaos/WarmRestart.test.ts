/** A new process takes over the ports of the old one under load: server.reusePort. */
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { type Gateway, serve } from "../e2e/Program.ts"
import { failureOf, load, summaryOf, tally } from "./Load.ts"

const freePort = Effect.callback<number>((resume) => {
  const server = net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const restarts = 3
const clients = 64

/**
 * `lost`: what three restarts may cost. Linux resets the connections that are being made with a socket that closes
 * (net.ipv4.tcp_migrate_req=1 hands them to the other process). Weir closes its socket when it knows of none, which leaves
 * the moment of the close itself: two tenths of a millisecond, or more where the machine takes its core away.
 */
const kinds = [
  { kind: "clients that keep their connections lose nothing", perConnection: Number.POSITIVE_INFINITY, lost: 0 },
  { kind: "clients that connect anew lose one or two connections in the making at most", perConnection: 1, lost: 2 }
]

describe("a second process with reusePort that takes over from the first", () => {
  for (const { kind, lost, perConnection } of kinds) {
    it.live(
      kind,
      () =>
        Effect.gen(function* () {
          // Slow enough that a process can start meanwhile.
          const engine = { ttft: Duration.millis(100), itl: Duration.millis(20), slots: 128, slowdown: 0 }
          const engines = yield* Effect.forEach(["a", "b"], (name) => Simulator.make({ ...engine, name }))
          const port = yield* freePort
          const config = {
            server: { reusePort: true },
            listeners: [{ port }],
            backends: engines.map(({ url }, index) => ({ name: `e${index}`, url }))
          }
          const start = serve(config, { patience: "60 seconds" })
          let over = false
          let current: Gateway = yield* start
          const running = yield* Effect.forkChild(
            load(current.url, { clients, perConnection, more: () => !over, streamed: (n) => n % 4 === 0, tokens: 4 }),
            { startImmediately: true }
          )
          yield* Effect.sleep("1 second")
          for (let n = 0; n < restarts; n++) {
            const next = yield* start
            yield* current.signal("SIGTERM")
            assert.strictEqual(yield* current.ended, 0)
            current = next
            yield* Effect.sleep("500 millis")
          }
          over = true
          const tries = yield* Fiber.join(running)
          const failures = tries.map(failureOf).filter((reason) => reason !== undefined)
          const what = `warm restart: ${restarts} restarts, ${clients} clients ${kind}`
          process.stdout.write(summaryOf(what, tries, failures.length))
          if (failures.length > lost) assert.deepStrictEqual(tally(failures), {})
        }),
      180_000
    )
  }
})
