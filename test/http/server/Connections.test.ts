import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Connections } from "../../../src/http/server/Connections.ts"
import { eventually } from "../../e2e/Program.ts"

/** Both ends of a connection over loopback. */
const pair = Effect.acquireRelease(
  Effect.callback<{ client: net.Socket; ours: net.Socket; server: net.Server }>((resume) => {
    const server = net.createServer((ours) => resume(Effect.succeed({ client, ours, server })))
    let client = new net.Socket()
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      client = net.connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1")
      client.on("error", () => {})
    })
  }),
  ({ client, ours, server }) =>
    Effect.sync(() => {
      client.destroy()
      ours.destroy()
      server.close()
    })
)

/** A connection of a server whose clock is ours. */
const setUp = Effect.gen(function* () {
  const clock = { now: 0 }
  const { client, ours } = yield* pair
  const connections = new Connections(() => clock.now)
  connections.accepted(ours)
  connections.opened(ours)
  const lookAt = (now: number) =>
    Effect.sync(() => {
      clock.now = now
      connections.cutStalled(60_000)
    })
  return { client, lookAt, ours }
})

/** More than the system keeps for a client that does not read. */
const flood = (socket: net.Socket) =>
  Effect.sync(() => {
    socket.write(Buffer.alloc(32 * 1024 * 1024))
  })

describe("a client that does not take its answer", () => {
  it.live("is cut when it has taken nothing for as long as it may", () =>
    Effect.gen(function* () {
      const { client, lookAt, ours } = yield* setUp
      client.pause()
      yield* flood(ours)
      for (const now of [1000, 30_000, 60_999]) {
        yield* lookAt(now)
        assert.isFalse(ours.destroyed, `at ${now}`)
      }
      yield* lookAt(61_000)
      assert.isTrue(ours.destroyed)
    })
  )

  it.live("is left alone while it takes some of it, and when nothing waits for it", () =>
    Effect.gen(function* () {
      const { client, lookAt, ours } = yield* setUp
      client.pause()
      yield* flood(ours)
      yield* lookAt(1000)
      client.resume()
      yield* eventually(
        Effect.sync(() => (ours.writableLength === 0 ? true : undefined)),
        () => `${ours.writableLength} bytes wait`
      )
      for (const now of [61_000, 200_000, 1_000_000]) yield* lookAt(now)
      assert.isFalse(ours.destroyed)
      client.pause()
      yield* flood(ours)
      yield* lookAt(1_001_000)
      yield* lookAt(1_060_000)
      assert.isFalse(ours.destroyed, "the time is counted from where it began to wait")
      yield* lookAt(1_061_000)
      assert.isTrue(ours.destroyed)
    })
  )
})
