/** A WebSocket's tunnel through the built program, byte by byte. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask } from "./Ask.ts"
import { eventually } from "./Program.ts"
import { answer, idle, inflight, offer, sampleKey, scene, switched, textFrame } from "./WebSockets.ts"

describe("a WebSocket", () => {
  it.live(
    "goes up as an upgrade with the client's offer and the backend's credential, and not with the client's key",
    () =>
      Effect.gen(function* () {
        const { client, upgraded } = yield* scene(
          { keys: [{ name: "k", key: "sk-client", models: ["m"] }] },
          {
            auth: { type: "bearer", token: "sk-backend" },
            headers: [{ op: "insert", name: "x-team", value: "a" }]
          }
        )
        const line = yield* client(
          offer(
            "/v1/realtime?x=%20a&model=m",
            "authorization: Bearer sk-client",
            "sec-websocket-extensions: permessage-deflate",
            "sec-websocket-protocol: realtime, openai-beta.realtime-v1",
            "x-kept: yes",
            "x-weir-timeout: 30s"
          )
        )
        const { head, peer } = yield* upgraded
        assert.match(head, /^GET \/v1\/realtime\?x=%20a&model=m HTTP\/1\.1\r\n/)
        for (const one of [
          "connection: upgrade",
          "upgrade: websocket",
          "sec-websocket-version: 13",
          `sec-websocket-key: ${sampleKey}`,
          "sec-websocket-extensions: permessage-deflate",
          "sec-websocket-protocol: realtime, openai-beta.realtime-v1",
          "authorization: Bearer sk-backend",
          "x-team: a",
          "x-kept: yes"
        ]) {
          assert.include(head, `\r\n${one}\r\n`)
        }
        assert.notInclude(head, "sk-client")
        assert.notInclude(head, "x-weir-timeout")
        assert.notInclude(head, "content-length")
        peer.send(switched("sec-websocket-protocol: realtime", "server: engine", "set-cookie: a=1", "set-cookie: b=2"))
        yield* line.until(() => line.received().includes("\r\n\r\n"))
        assert.match(line.received(), /^HTTP\/1\.1 101 Switching Protocols\r\n/)
        for (const one of [
          /\r\nconnection: upgrade\r\n/i,
          /\r\nupgrade: websocket\r\n/i,
          /\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i,
          /\r\nsec-websocket-protocol: realtime\r\n/i,
          /\r\nx-routed-node: a\r\n/i,
          /\r\nx-request-id: /i,
          /\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n/i
        ]) {
          assert.match(line.received(), one)
        }
        assert.notMatch(line.received(), /\r\n(server|content-length|transfer-encoding): /i)
      })
  )

  it.live("carries bytes both ways under its backend's lease, and both sides end when either does", () =>
    Effect.gen(function* () {
      const set = yield* scene()
      const ends = {
        "the engine ends": ({ peer }: Sides) => peer.end(),
        "the engine breaks off": ({ peer }: Sides) => peer.reset(),
        "the client ends": ({ line }: Sides) => line.halfClose(),
        "the client breaks off": ({ line }: Sides) => line.reset()
      }
      for (const [what, end] of Object.entries(ends)) {
        const sides = yield* set.open()
        const { line, peer } = sides
        peer.send(textFrame("from the engine"))
        line.write(textFrame("from the client"))
        yield* line.until(() => line.received().endsWith("from the engine"))
        yield* peer.until((received) => received.endsWith("from the client"))
        assert.strictEqual(yield* inflight(set), 1, what)
        end(sides)
        yield* peer.closed
        yield* line.until(line.closed)
        yield* idle(set)
      }
    })
  )

  it.live("keeps what the client says before the 101 for the engine, until there is one", () =>
    Effect.gen(function* () {
      const set = yield* scene()
      const early = textFrame("early")
      const taken = yield* set.client(offer(), early)
      const first = yield* set.upgraded
      taken.write(textFrame("and more"))
      first.peer.send(switched())
      yield* first.peer.until((received) => received.endsWith(`${early}${textFrame("and more")}`))
      const refused = yield* set.client(offer(), early)
      const second = yield* set.upgraded
      assert.isTrue(second.head.endsWith("\r\n\r\n"))
      second.peer.send(answer(403, "no"))
      yield* refused.until(refused.closed)
      assert.match(refused.received(), /^HTTP\/1\.1 403 /)
      assert.notInclude(second.peer.received(), "early")
    })
  )

  it.live("a WebSocket whose client leaves while it waits for the 101 leaves no request at the engine", () =>
    Effect.gen(function* () {
      const set = yield* scene()
      for (const leave of ["halfClose", "reset"] as const) {
        const line = yield* set.client(offer())
        const { peer } = yield* set.upgraded
        assert.strictEqual(yield* inflight(set), 1)
        line[leave]()
        yield* peer.closed
        yield* idle(set)
      }
    })
  )

  it.live("costs bounded memory where a side reads nothing, and nothing is lost", () =>
    Effect.gen(function* () {
      const set = yield* scene()
      const total = 64 * 1024 * 1024
      const frame = Buffer.concat([Buffer.from([0x82, 127, 0, 0, 0, 0]), Buffer.alloc(4), Buffer.alloc(total)])
      frame.writeUInt32BE(total, 6)
      const memory = () =>
        Effect.map(ask(`${set.gateway.url}/metrics`), ({ text }) =>
          Number(/^process_resident_memory_bytes (\S+)/m.exec(text)?.[1])
        )
      const down = yield* set.open()
      const up = yield* set.open()
      const before = yield* memory()
      down.line.stopReading()
      down.peer.send(frame)
      up.peer.socket.pause()
      up.line.write(frame)
      // Both have stopped: what is written now stays where it is.
      yield* eventually(
        Effect.sync(() => (down.peer.socket.writableLength > 32 * 1024 * 1024 ? true : undefined)),
        () => "a full pipe"
      )
      assert.isBelow((yield* memory()) - before, 24 * 1024 * 1024)
      assert.strictEqual(yield* inflight(set), 2)
      up.peer.socket.resume()
      yield* eventually(
        Effect.sync(() => (up.peer.socket.bytesRead >= total ? true : undefined)),
        () => `all of it: ${up.peer.socket.bytesRead}`
      )
    })
  )
})

describe("what an engine answers instead of a 101", () => {
  it.live("passes where it is a 4xx or a 5xx, once as an answer to an upgrade and without a circuit that opens", () =>
    Effect.gen(function* () {
      const set = yield* scene({ pools: [{ name: "default", backends: ["a"], retry: { attempts: 0 } }] })
      for (const status of [400, 403, 404, 426, 500, 502, 501, 505]) {
        const line = yield* set.client()
        const { peer } = yield* set.upgraded
        peer.send(answer(status, "engine", "retry-after: 0"))
        yield* line.until(line.closed)
        assert.deepStrictEqual(line.statuses(), [status])
        assert.isTrue(line.received().endsWith("\r\n\r\nengine"), line.received())
        assert.match(line.received(), /\r\nconnection: close\r\n/i)
      }
      const stats = yield* ask(`${set.gateway.url}/stats`)
      assert.nestedPropertyVal(stats.json, "backends[0].circuit", "closed")
      // It is about the gateway's own credential, which the client must not take for its own.
      const line = yield* set.client()
      const { peer } = yield* set.upgraded
      peer.send(answer(401))
      yield* line.until(line.closed)
      assert.deepStrictEqual(line.statuses(), [502])
      yield* idle(set)
    })
  )

  it.live("is a 502 that says it where the backend does not speak WebSocket", () =>
    Effect.gen(function* () {
      const set = yield* scene()
      const others = [
        answer(200, '{"data":[]}'),
        answer(204, ""),
        answer(302, "", "location: /elsewhere"),
        switched().replace("upgrade: websocket", "upgrade: h2c")
      ]
      for (const other of others) {
        const line = yield* set.client()
        const { peer } = yield* set.upgraded
        peer.send(other)
        yield* line.until(line.closed)
        assert.deepStrictEqual(line.statuses(), [502], other)
        assert.include(line.received(), "does not speak WebSocket")
        assert.include(line.received(), '"code":"upstream_error"')
        yield* peer.closed
      }
      yield* idle(set)
    })
  )
})

interface Sides {
  readonly line: { readonly halfClose: () => void; readonly reset: () => void }
  readonly peer: { readonly end: () => void; readonly reset: () => void }
}
