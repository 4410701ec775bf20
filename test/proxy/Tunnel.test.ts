/** WebSockets through the data plane: how they are opened, how long they last, and how they end. */
import { type Duplex, duplexPair } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Fiber } from "effect"
import { closeFrame } from "../../src/protocol/WebSocketFrames.ts"
import { type Harness, type Question, type Setting, withGateway } from "./Harness.ts"
import { accept, answer, refuse, type Script, silence } from "./ScriptedTransport.ts"

/** A connection: the gateway's end, and the end of who is there, which notes what comes. */
class Wire {
  readonly gateway: Duplex
  readonly far: Duplex
  received = Buffer.alloc(0)
  ended = false

  constructor() {
    const [gateway, far] = duplexPair()
    this.gateway = gateway
    this.far = far
    far.on("data", (piece: Buffer) => {
      this.received = Buffer.concat([this.received, piece])
    })
    far.on("end", () => {
      this.ended = true
    })
  }
}

const frame = (text: string) => Buffer.concat([Buffer.from([0x81, text.length]), Buffer.from(text)])

const goingAway = (reason: string) => closeFrame(1001, reason, false)

interface Opened {
  readonly gateway: Harness
  readonly client: Wire
  readonly engine: Wire
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

const asked = (client: Wire, more: Question = {}): Question => ({
  method: "GET",
  path: "/v1/realtime",
  query: "?model=m",
  socket: client.gateway,
  ...more
})

type More = Omit<Setting, "script"> & { readonly question?: Question }

/** Runs a test over an open WebSocket; tells its two ends as they are when the gateway has gone. */
const over = <E>(test: (opened: Opened) => Effect.Effect<void, E>, more: More = {}) => {
  const client = new Wire()
  const engine = new Wire()
  return withGateway({ script: { a: [accept(engine.gateway)] }, ...more }, (gateway) =>
    Effect.gen(function* () {
      const fiber = yield* gateway.start(gateway.request(asked(client, more.question)))
      yield* gateway.passUntil(() => gateway.reading.status === 101)
      yield* test({ gateway, client, engine, fiber })
    })
  ).pipe(Effect.as({ client, engine }))
}

/** The same, and it must have ended when the test has. */
const opened = <E>(test: (opened: Opened) => Effect.Effect<void, E>, more: More = {}) =>
  over((all) => Effect.andThen(test(all), all.gateway.join(all.fiber)), more)

describe("a WebSocket that a backend has accepted", () => {
  it.effect("holds its lease while bytes go both ways, and gives it back when the engine ends", () =>
    opened(({ client, engine, gateway }) =>
      Effect.gen(function* () {
        client.far.write(frame("up"))
        engine.far.write(frame("down"))
        yield* gateway.passUntil(() => client.received.length > 0 && engine.received.length > 0)
        assert.deepStrictEqual(engine.received, frame("up"))
        assert.deepStrictEqual(client.received, frame("down"))
        assert.strictEqual(gateway.state("a").inflight, 1)
        engine.far.end(closeFrame(1000, "done", false))
        yield* gateway.passUntil(() => client.ended)
        client.far.end()
        yield* gateway.passUntil(() => gateway.reading.report.end !== undefined)
        assert.strictEqual(gateway.reading.report.end, "complete")
      })
    )
  )

  it.effect("a WebSocket of which one side has ended still carries what the other one has to say", () =>
    opened(({ client, engine, gateway }) =>
      Effect.gen(function* () {
        client.far.end(closeFrame(1000, "", true))
        yield* gateway.passUntil(() => engine.ended)
        engine.far.write(frame("last words"))
        yield* gateway.passUntil(() => client.received.length > 0)
        assert.deepStrictEqual(client.received, frame("last words"))
        engine.far.end()
      })
    )
  )

  it.effect.each(["client", "engine"] as const)(
    "is over 2 s after its %s has ended, whatever the other one does",
    (who) =>
      opened(({ gateway, ...wires }) =>
        Effect.gen(function* () {
          const other = who === "client" ? wires.engine : wires.client
          wires[who].far.end()
          yield* gateway.passUntil(() => other.ended)
          const toldAt = gateway.now()
          yield* gateway.passUntil(() => gateway.state("a").inflight === 0)
          assert.closeTo(gateway.now() - toldAt, 2000, 100)
          other.far.destroy()
          assert.strictEqual(gateway.reading.report.end, who === "client" ? "client_gone" : "upstream_truncated")
        })
      )
  )

  it.effect.each(["client", "engine"] as const)("ends for both when its %s breaks off", (who) =>
    opened(({ client, engine, gateway }) =>
      Effect.gen(function* () {
        const [wire, other] = who === "client" ? [client, engine] : [engine, client]
        wire.gateway.destroy(new Error("reset"))
        yield* gateway.passUntil(() => other.ended || other.far.destroyed)
        other.far.end()
        yield* gateway.passUntil(() => gateway.state("a").inflight === 0)
        assert.strictEqual(gateway.state("a").failures, 0)
      })
    )
  )
})

describe("the silence of a WebSocket", () => {
  const idle = { backends: { a: { timeouts: { idle: "30s" } } } }

  it.effect("the silence of both sides ends it after timeouts.idle, with a close frame", () =>
    opened(
      ({ client, engine, gateway }) =>
        Effect.gen(function* () {
          const openedAt = gateway.now()
          yield* gateway.passUntil(() => client.ended)
          assert.closeTo(gateway.now() - openedAt, 30_000, 200)
          assert.deepStrictEqual(client.received, goingAway("timed out"))
          assert.strictEqual(gateway.reading.report.end, "upstream_timeout")
          assert.isTrue(engine.ended || engine.gateway.destroyed)
          client.far.end()
        }),
      idle
    )
  )

  it.effect.each(["client", "engine"] as const)("silence of one side ends nothing while the %s sends pings", (who) =>
    opened(
      ({ gateway, ...wires }) =>
        Effect.gen(function* () {
          for (let i = 0; i < 6; i++) {
            wires[who].far.write(Buffer.from([0x89, 0]))
            const from = gateway.now()
            yield* gateway.passUntil(() => gateway.now() - from > 20_000)
            assert.isFalse(wires.client.ended || wires.engine.ended)
          }
          wires.engine.far.end()
          yield* gateway.passUntil(() => wires.client.ended)
          wires.client.far.end()
        }),
      idle
    )
  )

  it.effect("ends it without a close frame where the engine had stopped in the middle of a frame", () =>
    opened(
      ({ client, engine, gateway }) =>
        Effect.gen(function* () {
          engine.far.write(frame("hello").subarray(0, 4))
          yield* gateway.passUntil(() => client.ended)
          assert.deepStrictEqual(client.received, frame("hello").subarray(0, 4))
          client.far.end()
        }),
      idle
    )
  )

  it.effect("does not count while the client does not take what it is sent", () =>
    opened(
      ({ client, engine, gateway }) =>
        Effect.gen(function* () {
          client.far.pause()
          engine.far.write(Buffer.alloc(1024 * 1024))
          const from = gateway.now()
          yield* gateway.passUntil(() => gateway.now() - from > 60_000)
          assert.isFalse(engine.ended)
          assert.strictEqual(gateway.state("a").inflight, 1)
          client.far.resume()
          yield* gateway.passUntil(() => client.received.length === 1024 * 1024)
          engine.far.end()
          client.far.end()
        }),
      idle
    )
  )
})

describe("the time that a WebSocket has", () => {
  it.effect("is bounded by the client's own deadline, after the 101 as before", () =>
    opened(
      ({ client, gateway }) =>
        Effect.gen(function* () {
          yield* gateway.passUntil(() => client.ended)
          assert.closeTo(gateway.now() - gateway.reading.report.receivedAt, 90_000, 200)
          assert.deepStrictEqual(client.received, goingAway("deadline exceeded"))
          client.far.end()
        }),
      { question: { headers: { "x-weir-timeout": "90s" } }, backends: { a: { timeouts: { idle: "10m" } } } }
    )
  )

  it.effect("the time for a 101 is that for a first byte, and not that for a whole answer", () =>
    withGateway(
      {
        script: { a: [silence] },
        backends: { a: { timeouts: { firstByte: "20s", request: "5s" } } },
        pool: { retry: { attempts: 0 } }
      },
      (gateway) =>
        Effect.gen(function* () {
          const from = gateway.now()
          const error = yield* gateway.refusal(asked(new Wire()))
          assert.strictEqual(error.code, "upstream_timeout")
          assert.closeTo(gateway.now() - from, 20_000, 200)
        })
    )
  )
})

describe("a stop of the gateway", () => {
  const stopped = ({ fiber, gateway }: Opened) =>
    Effect.andThen(
      Effect.sync(() => fiber.interruptUnsafe()),
      gateway.passUntil(() => gateway.state("a").inflight === 0)
    )

  it.effect("says goodbye to both sides in their own framing, and waits for them", () =>
    Effect.gen(function* () {
      const { client, engine } = yield* over(stopped)
      assert.deepStrictEqual(client.received, closeFrame(1012, "the gateway stops", false))
      assert.deepStrictEqual([...engine.received.subarray(0, 2)], [0x88, 0x80 | 19])
      assert.strictEqual(engine.received.length, 2 + 4 + 19)
    })
  )

  it.effect("just ends a side that is in the middle of a frame, or has closed already", () =>
    Effect.gen(function* () {
      const { client, engine } = yield* over((all) =>
        Effect.gen(function* () {
          all.client.far.write(closeFrame(1000, "", true))
          all.engine.far.write(frame("hello").subarray(0, 3))
          yield* all.gateway.passUntil(() => all.client.received.length === 3 && all.engine.received.length === 8)
          yield* stopped(all)
        })
      )
      assert.strictEqual(client.received.length, 3)
      assert.strictEqual(engine.received.length, 8)
    })
  )
})

describe("an upgrade that a backend does not answer with a 101", () => {
  const tries = (script: Script, more: Question = {}, pool: object = {}) => {
    const engine = new Wire()
    const full = { ...script, z: [accept(engine.gateway)] }
    return withGateway({ script: full, pool }, (gateway) =>
      Effect.gen(function* () {
        const client = new Wire()
        const fiber = yield* gateway.start(Effect.result(gateway.request(asked(client, more))))
        yield* gateway.passUntil(() => gateway.reading.status !== 0 || fiber.pollUnsafe() !== undefined)
        engine.far.end()
        client.far.end()
        const outcome = yield* gateway.join(fiber)
        return { gateway, asked: gateway.transport.asked, status: gateway.reading.status, outcome }
      })
    )
  }

  it.effect.each([
    ["connections that are refused", refuse],
    ["a 500", answer(500)],
    ["a 502", answer(502)],
    ["a 429", answer(429)],
    ["a 503", answer(503)]
  ] as const)("is asked for elsewhere after %s", ([, step]) =>
    Effect.gen(function* () {
      const { asked, status } = yield* tries({ a: [step] })
      assert.strictEqual(status, 101)
      assert.strictEqual(asked, "az")
    })
  )

  it.effect.each([400, 404, 409, 426])("passes on a %i, and asks no other backend", (status) =>
    Effect.gen(function* () {
      const result = yield* tries({ a: [answer(status)] })
      assert.strictEqual(result.status, status)
      assert.strictEqual(result.asked, "a")
    })
  )

  it.effect.each([200, 204, 302])("is an error that names the lack where it is a %i", (status) =>
    Effect.gen(function* () {
      const { asked, outcome } = yield* tries({ a: [answer(status)] })
      assert.strictEqual(asked, "a")
      assert.deepInclude(outcome, { _tag: "Failure" })
      assert.match(JSON.stringify(outcome), /does not speak WebSocket/)
    })
  )
})

describe("the places of a pool and a backend", () => {
  it.effect("are held by WebSockets like by all requests: the next one waits for the end of the first", () => {
    const engines = [new Wire(), new Wire()]
    const script = { a: engines.map(({ gateway }) => accept(gateway)) }
    return withGateway({ script, backends: { a: { maxConcurrency: 1 } } }, (gateway) =>
      Effect.gen(function* () {
        const clients = [new Wire(), new Wire()]
        const fibers = yield* Effect.forEach(clients, (client) => gateway.start(gateway.request(asked(client))))
        yield* gateway.passUntil(() => gateway.admission.depth("default") === 1)
        assert.strictEqual(gateway.transport.asked, "a")
        for (const index of [0, 1]) {
          engines[index]?.far.end()
          clients[index]?.far.end()
        }
        yield* Effect.forEach(fibers, (fiber) => gateway.join(fiber))
        assert.strictEqual(gateway.transport.asked, "aa")
      })
    )
  })

  it.effect("the places of a key are held too", () => {
    const engine = new Wire()
    const keys = [{ name: "k", key: "sk-1", limits: { concurrent: 1 } }]
    return withGateway({ script: { a: [accept(engine.gateway)] }, more: { keys } }, (gateway) =>
      Effect.gen(function* () {
        const client = new Wire()
        const first = yield* gateway.start(gateway.request(asked(client, { key: "k" })))
        yield* gateway.passUntil(() => gateway.reading.status === 101)
        const error = yield* gateway.refusal(asked(new Wire(), { key: "k" }))
        assert.strictEqual(error.code, "rate_limit_exceeded")
        engine.far.end()
        client.far.end()
        yield* gateway.join(first)
      })
    )
  })
})
