/** 10,000 connections on which nothing happens: what they cost, and that requests are not slowed by them. */
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ask, chat, untilReadyz } from "../e2e/Ask.ts"
import { eventually, serve } from "../e2e/Program.ts"
import { memory } from "../hostile/Rig.ts"

const many = 10_000

/** KiB of resident memory that one may cost. */
const bound = 24

/** Opens one and asks for something on it, so that it is one that waits for its next request. */
const open = (port: number): Promise<net.Socket> =>
  new Promise((resolve, reject) => {
    const socket = net.connect(port, "127.0.0.1", () =>
      socket.write("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    )
    socket.once("data", () => resolve(socket))
    socket.once("error", reject)
  })

describe(`${many} idle connections`, () => {
  it.live(
    "cost a few KiB each, slow no other client down, and leave nothing behind",
    () =>
      Effect.gen(function* () {
        const engine = yield* Simulator.make()
        const gateway = yield* serve({ listeners: [{ port: 0 }], backends: [{ name: "engine", url: engine.url }] })
        yield* untilReadyz(gateway.url)
        const port = Number(new URL(gateway.url).port)
        const sockets: Array<net.Socket> = []
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => {
            for (const socket of sockets) socket.destroy()
          })
        )
        const before = yield* memory(gateway)
        while (sockets.length < many) {
          const some = Array.from({ length: 250 }, () => open(port))
          sockets.push(...(yield* Effect.promise(() => Promise.all(some))))
        }
        const grown = (yield* memory(gateway)) - before
        const asked = performance.now()
        assert.strictEqual((yield* chat(gateway.url, { max_tokens: 1 })).status, 200)
        const millis = performance.now() - asked
        assert.isTrue(sockets.every((socket) => !socket.destroyed))
        const each = (grown * 1024) / many
        process.stderr.write(
          `${many} idle connections: ${grown.toFixed(0)} MiB (${each.toFixed(1)} KiB each), ` +
            `a completion meanwhile took ${millis.toFixed(0)} ms\n`
        )
        assert.isBelow(each, bound, "KiB for each")
        assert.isBelow(millis, 2000)

        for (const socket of sockets) socket.destroy()
        yield* eventually(
          Effect.map(ask(`${gateway.url}/metrics`), ({ text }) =>
            Number(/^nodejs_active_resources (\d+)$/m.exec(text)?.[1] ?? many) < 100 ? true : undefined
          ),
          () => "the connections gone"
        )
      }),
    120_000
  )
})
