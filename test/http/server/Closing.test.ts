/** How connections end when their server does: none is cut in the middle of something. */
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Connections } from "../../../src/http/server/Connections.ts"
import { eventually } from "../../e2e/Program.ts"
import { incoming } from "../Requests.ts"

/** Connections of a server whose clock is ours, and clients that are connected to it. */
const setUp = Effect.gen(function* () {
  const clock = { now: 0 }
  const connections = new Connections(() => clock.now)
  const server = yield* Effect.acquireRelease(
    Effect.callback<net.Server>((resume) => {
      const server = net.createServer()
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )
  const connect = Effect.acquireRelease(
    Effect.callback<{ readonly client: net.Socket; readonly ours: net.Socket }>((resume) => {
      const address = server.address()
      server.once("connection", (ours) => {
        connections.accepted(ours)
        connections.opened(ours)
        ours.resume()
        resume(Effect.succeed({ client, ours }))
      })
      const client = net.connect(typeof address === "object" && address !== null ? address.port : 0, "127.0.0.1")
      client.on("error", () => {})
    }),
    ({ client, ours }) =>
      Effect.sync(() => {
        client.destroy()
        ours.destroy()
      })
  )
  /** A request on a connection; the answer ends it. */
  const request = (ours: net.Socket) => {
    const { message } = incoming()
    Object.defineProperty(message, "socket", { value: ours })
    const visited = connections.begin(message)
    return { late: visited.late, end: () => connections.end(visited) }
  }
  const sweepAt = (now: number) => {
    clock.now = now
    return connections.sweep()
  }
  return { connect, connections, request, sweepAt }
})

describe("a server whose end has begun", () => {
  it.live("an idle connection has a second more, in which its next request still comes through", () =>
    Effect.gen(function* () {
      const { connect, connections, sweepAt } = yield* setUp
      const { ours } = yield* connect
      connections.close()
      assert.strictEqual(sweepAt(999), 1)
      assert.isFalse(ours.destroyed)
      assert.strictEqual(sweepAt(1000), 0)
      assert.isTrue(ours.destroyed)
    })
  )

  it.live("a connection with a request is left alone for as long as that takes", () =>
    Effect.gen(function* () {
      const { connect, connections, request, sweepAt } = yield* setUp
      const { ours } = yield* connect
      const running = request(ours)
      connections.close()
      assert.isFalse(running.late)
      assert.deepStrictEqual([sweepAt(60_000), ours.destroyed, connections.busy], [1, false, 1])
      running.end()
      assert.deepStrictEqual([sweepAt(60_500), ours.destroyed], [1, false])
      assert.deepStrictEqual([sweepAt(61_000), ours.destroyed], [0, true])
    })
  )

  it.live("a connection on which the head of a request has begun to come is not idle", () =>
    Effect.gen(function* () {
      const { connect, connections, sweepAt } = yield* setUp
      const { client, ours } = yield* connect
      client.write("POST /v1/chat")
      yield* eventually(
        Effect.sync(() => (ours.bytesRead > 0 ? true : undefined)),
        () => "the beginning of a head"
      )
      connections.close()
      assert.deepStrictEqual([sweepAt(5000), ours.destroyed], [1, false])
    })
  )

  it.live("a connection that is opened later is known by that, and waited for only while it has a request", () =>
    Effect.gen(function* () {
      const { connect, connections, request, sweepAt } = yield* setUp
      connections.close()
      const { ours } = yield* connect
      assert.strictEqual(sweepAt(1), 0)
      const running = request(ours)
      assert.isTrue(running.late)
      assert.strictEqual(sweepAt(2), 1)
      running.end()
      assert.strictEqual(sweepAt(3), 0)
      connections.destroy()
      assert.isTrue(ours.destroyed)
    })
  )
})
