/** Clients that stop taking their answer: what they hold at a backend is free after a minute. Sockets are real, time is not. */
import * as http from "node:http"
import * as http2 from "node:http2"
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { HttpServerRequest } from "effect/http"
import { incomingOf } from "../../../src/http/Incoming.ts"
import { bindingsOf } from "../../../src/http/server/Bindings.ts"
import { Connections } from "../../../src/http/server/Connections.ts"
import { deliver } from "../../../src/http/server/ResponseWriter.ts"
import { openServer } from "../../../src/http/server/Server.ts"
import type { BodySink, StreamBody } from "../../../src/proxy/Proxy.ts"
import { configOf } from "../../registry/Fixtures.ts"
import { ca, server as pair } from "../../transport/Certificates.ts"
import { eventually, listen } from "../../transport/Origin.ts"
import { bodyOf } from "../Bodies.ts"

/** An answer under way: its backend holds a place for it. */
interface OpenBody {
  /** Bytes so far. */
  bytes: number
  /** It was told that no more is taken for now. */
  isFull: boolean
  readonly sink: BodySink
}

/** `flood`: as much as is taken, without an end. `drip`: what the test puts in. */
const openBody = (open: Set<OpenBody>, what: string): StreamBody => {
  const piece = new Uint8Array(30_000)
  return bodyOf((sink) =>
    Effect.callback(() => {
      const one: OpenBody = { bytes: 0, isFull: false, sink }
      open.add(one)
      const pump = () => {
        if (!open.has(one)) return
        one.bytes += piece.length
        one.isFull = !sink.write(piece)
        if (one.isFull) sink.onDrain(pump)
        else setImmediate(pump)
      }
      if (what === "/flood") pump()
      else sink.write(new Uint8Array(0))
      return Effect.sync(() => open.delete(one))
    })
  )
}

const noFastWay = { take: () => false, handAllOver: Effect.succeed(Effect.void), tellDefect: () => {} }

const head = { status: 200, headers: {}, cookies: [], contentLength: undefined }

/** A server of each kind that gives these answers and nothing else; its clock is the test's. */
const openOne = Effect.fnUntraced(function* (tls: boolean) {
  const clock = { now: 0 }
  const connections = new Connections(() => clock.now)
  const [floods, drips] = [new Set<OpenBody>(), new Set<OpenBody>()]
  const surface = Effect.gen(function* () {
    const incoming = incomingOf(yield* HttpServerRequest.HttpServerRequest, clock.now)
    const visited = connections.begin(incoming.message)
    yield* Effect.addFinalizer(() => Effect.sync(() => connections.end(visited)))
    return yield* deliver(incoming, {
      ...head,
      body: openBody(incoming.path === "/flood" ? floods : drips, incoming.path)
    })
  })
  const config = yield* configOf({ listeners: [{ host: "127.0.0.1", port: 0 }] })
  const [place] = bindingsOf(config).values()
  if (place === undefined) throw new Error("no listener")
  const door = yield* Effect.acquireRelease(
    openServer(place, config, tls ? pair : undefined, connections, surface, noFastWay, {
      now: () => clock.now,
      timers: { add: () => {}, remove: () => {} }
    }),
    ({ close }) => close
  )
  /** Seconds pass; clients that stand still are looked for every five. */
  const pass = Effect.fnUntraced(function* (seconds: number, each: Effect.Effect<void> = Effect.void) {
    for (let at = 0; at < seconds; at += 5) {
      clock.now += 5000
      connections.cutStalled(60_000)
      yield* each
    }
  })
  return { port: door.port, connections, floods, drips, pass }
})

/** One answer that a client can leave lying. */
interface Reader {
  /** Why it was reset, if it was. */
  readonly code: () => number | undefined
  readonly ended: () => boolean
  readonly bytes: () => number
  readonly pause: () => void
  readonly resume: () => void
}

interface Client {
  readonly get: (what: "flood" | "drip") => Effect.Effect<Reader>
  /** From now on nothing reaches it any more, not even what its system would take. */
  readonly unplug: () => void
}

/** What stands between a client and the gateway, as a system that takes nothing any more. */
const relayTo = Effect.fnUntraced(function* (port: number) {
  let plugged = true
  const server = net.createServer((client) => {
    const gateway = net.connect(port, "127.0.0.1")
    for (const socket of [client, gateway]) socket.setNoDelay(true).on("error", () => {})
    client.on("data", (bytes) => gateway.write(bytes))
    client.on("close", () => gateway.destroy())
    gateway.on("close", () => client.destroy())
    gateway.on("data", (bytes) => {
      if (!plugged || !client.write(bytes)) gateway.pause()
    })
    client.on("drain", () => {
      if (plugged) gateway.resume()
    })
  })
  const sockets = new Set<net.Socket>()
  server.on("connection", (socket) => sockets.add(socket))
  const own = yield* listen(server, () => {
    for (const socket of sockets) socket.destroy()
  })
  const unplug = () => {
    plugged = false
  }
  return { port: own, unplug }
})

const overHttp1 = Effect.fnUntraced(function* (port: number) {
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => new http.Agent()),
    (agent) => Effect.sync(() => agent.destroy())
  )
  const relay = yield* relayTo(port)
  const client: Client = {
    unplug: relay.unplug,
    get: (what) =>
      Effect.callback<Reader>((resume) => {
        http.get(`http://127.0.0.1:${relay.port}/${what}`, { agent }, (response) => {
          let [bytes, ended] = [0, false]
          response.on("data", (piece: Buffer) => (bytes += piece.length))
          response.on("error", () => {})
          response.on("close", () => (ended = true))
          const { socket } = response
          resume(
            Effect.succeed({
              code: () => undefined,
              ended: () => ended || socket.destroyed,
              bytes: () => bytes,
              pause: () => response.pause(),
              resume: () => response.resume()
            })
          )
        })
      })
  }
  return client
})

interface Windows {
  readonly stream: number
  readonly session: number
}

const overHttp2 = Effect.fnUntraced(function* (port: number, windows: Windows) {
  const relay = yield* relayTo(port)
  const session = yield* Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session>((resume) => {
      const origin = `https://127.0.0.1:${relay.port}`
      const session = http2.connect(origin, { ca, settings: { initialWindowSize: windows.stream } }, () => {
        session.setLocalWindowSize(windows.session)
        resume(Effect.succeed(session))
      })
      session.on("error", () => {})
    }),
    (session) => Effect.sync(() => session.destroy())
  )
  const client: Client = {
    unplug: relay.unplug,
    get: (what) =>
      Effect.callback<Reader>((resume) => {
        const stream = session.request({ ":path": `/${what}` })
        let [bytes, ended] = [0, false]
        stream.on("data", (piece: Buffer) => (bytes += piece.length))
        stream.on("error", () => {})
        stream.on("close", () => (ended = true))
        stream.on("response", () =>
          resume(
            Effect.succeed({
              code: () => stream.rstCode,
              ended: () => ended,
              bytes: () => bytes,
              pause: () => stream.pause(),
              resume: () => stream.resume()
            })
          )
        )
      })
  }
  return client
})

/** Nothing more is taken of a flood. */
const heldUp = (floods: ReadonlySet<OpenBody>) => {
  let last = -1
  let same = 0
  return eventually("the flood is held up", () => {
    const [flood] = floods
    same = flood?.isFull === true && flood.bytes === last ? same + 1 : 0
    last = flood?.bytes ?? -1
    return same > 40
  })
}

const wide: Windows = { stream: 16 * 1024 * 1024, session: 64 * 1024 * 1024 }
const narrow = 65_535

/** Every way to stand still. */
const ways: ReadonlyArray<{
  readonly way: string
  readonly client: (port: number) => Effect.Effect<Client, never, Scope.Scope>
  readonly tls: boolean
  readonly unplugs: boolean
}> = [
  { way: "HTTP/1.1, by not reading", client: overHttp1, tls: false, unplugs: false },
  { way: "HTTP/1.1, by being gone without a word", client: overHttp1, tls: false, unplugs: true },
  {
    way: "HTTP/2, with the window of its stream closed",
    client: (port) => overHttp2(port, { ...wide, stream: narrow }),
    tls: true,
    unplugs: false
  },
  {
    way: "HTTP/2, with the window of its session closed",
    client: (port) => overHttp2(port, { ...wide, session: narrow }),
    tls: true,
    unplugs: false
  },
  {
    way: "HTTP/2, by being gone without a word",
    client: (port) => overHttp2(port, wide),
    tls: true,
    unplugs: true
  }
]

describe("a client that stands still in the middle of its answer", () => {
  for (const { client: connect, tls, unplugs, way } of ways) {
    it.live(`has a minute, and then what it holds is free: over ${way}`, () =>
      Effect.gen(function* () {
        const { connections, floods, pass, port } = yield* openOne(tls)
        const client = yield* connect(port)
        const reader = yield* client.get("flood")
        if (unplugs) client.unplug()
        else reader.pause()
        yield* heldUp(floods)
        yield* pass(60)
        assert.strictEqual(floods.size, 1, "it is still waited for")
        yield* pass(10)
        yield* eventually("it is free", () => floods.size === 0 && connections.busy === 0)
        if (unplugs) return
        reader.resume()
        yield* eventually("the client is told", reader.ended)
        assert.include([undefined, http2.constants.NGHTTP2_CANCEL], reader.code())
      })
    )

    if (!unplugs) {
      it.live(`is waited for as long as it takes some of it now and then: over ${way}`, () =>
        Effect.gen(function* () {
          const { floods, pass, port } = yield* openOne(tls)
          const client = yield* connect(port)
          const reader = yield* client.get("flood")
          for (let n = 0; n < 4; n++) {
            const before = reader.bytes()
            reader.resume()
            yield* eventually("it takes some", () => reader.bytes() > before + 1_000_000)
            reader.pause()
            yield* heldUp(floods)
            yield* pass(50)
          }
          assert.strictEqual(floods.size, 1)
          assert.isFalse(reader.ended())
        })
      )
    }
  }

  it.live("costs no other stream of its HTTP/2 connection anything", () =>
    Effect.gen(function* () {
      const { drips, floods, pass, port } = yield* openOne(true)
      const client = yield* overHttp2(port, { ...wide, stream: narrow })
      const others = [yield* client.get("drip"), yield* client.get("drip")]
      const reader = yield* client.get("flood")
      reader.pause()
      yield* heldUp(floods)
      let drops = 0
      const drop = Effect.gen(function* () {
        drops++
        for (const { sink } of drips) sink.write(Buffer.from("x"))
        yield* eventually("each drop arrives", () => others.every((other) => other.bytes() === drops))
      })
      yield* pass(70, drop)
      yield* eventually("what it held is free", () => floods.size === 0)
      yield* pass(70, drop)
      assert.deepStrictEqual(
        others.map((other) => other.ended()),
        [false, false]
      )
    })
  )

  it.live("a client whose session of HTTP/2 does not even take its goodbye is cut off altogether", () =>
    Effect.gen(function* () {
      const { connections, floods, pass, port } = yield* openOne(true)
      const client = yield* overHttp2(port, wide)
      yield* client.get("flood")
      client.unplug()
      yield* heldUp(floods)
      yield* pass(70)
      yield* eventually("what it held is free", () => floods.size === 0)
      connections.close()
      yield* pass(60)
      assert.strictEqual(connections.sweep(), 1, "it has as long for its goodbye")
      yield* pass(10)
      yield* eventually("it is cut off", () => connections.sweep() === 0)
    })
  )
})
