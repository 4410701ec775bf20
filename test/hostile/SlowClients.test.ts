/** Clients that are slow, silent or gone: each costs no more than its connection, and no other client waits for it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { ask, chat } from "../e2e/Ask.ts"
import { eventually } from "../e2e/Program.ts"
import { connect, head, type Line } from "./Raw.ts"
import { memory, setUp } from "./Rig.ts"

const body = '{"model":"m","messages":[]}'
const endpoint = "/v1/chat/completions"
const upload = "/v1/files"

/** A few bytes again and again, for as long as the gateway keeps the connection. */
const drip = (line: Line, bytes: string, spacing: "100 millis" | "300 millis") =>
  Effect.sync(() => line.write(bytes)).pipe(
    Effect.repeat({ schedule: Schedule.spaced(spacing), while: () => !line.closed() })
  )

describe("a client that lets the gateway wait", () => {
  const slow: Readonly<Record<string, (line: Line) => Effect.Effect<unknown>>> = {
    "says nothing at all": () => Effect.void,
    "sends half a request line": (line) => Effect.sync(() => line.write("POST /v1/ch")),
    "sends its head a byte at a time": (line) =>
      Effect.andThen(
        Effect.sync(() => line.write(head("POST", endpoint))),
        drip(line, "x-a: b\r\n", "100 millis")
      ),
    "announces a body and sends none": (line) =>
      Effect.sync(() => line.write(`${head("POST", endpoint, "content-length: 10")}\r\n`)),
    "sends half a body": (line) =>
      Effect.sync(() => line.write(`${head("POST", endpoint, "content-length: 100")}\r\n${body}`)),
    "sends one chunk of a body": (line) =>
      Effect.sync(() => line.write(`${head("POST", endpoint, "transfer-encoding: chunked")}\r\n5\r\n12345\r\n`)),
    "sends half a body that is passed on as it comes": (line) =>
      Effect.sync(() =>
        line.write(`${head("POST", upload, "content-length: 100", "content-type: audio/wav")}\r\n${body}`)
      )
  }

  it.live("is told so with 408 in good time, and no other client waits", () =>
    Effect.gen(function* () {
      const { gateway, recorder, url } = yield* setUp({ listener: { connectTimeout: "1s" } })
      const lines = yield* Effect.all(
        Object.entries(slow).map(([what, behave]) => Effect.map(connect(url), (line) => ({ what, behave, line })))
      )
      yield* Effect.all(
        lines.map(({ behave, line }) =>
          Effect.andThen(
            behave(line),
            line.until(() => line.statuses().length > 0)
          )
        ),
        { concurrency: "unbounded" }
      ).pipe(
        Effect.race(
          Effect.forever(
            Effect.andThen(
              Effect.map(chat(url, { model: "m" }), ({ status }) => assert.strictEqual(status, 200)),
              Effect.sleep("20 millis")
            )
          )
        )
      )
      for (const { line, what } of lines) {
        assert.deepStrictEqual(line.statuses(), [408], what)
        assert.include(line.received(), '"code":"request_timeout"', what)
      }
      yield* eventually(
        Effect.sync(() => (recorder.open() === 0 ? true : undefined)),
        () => "the backend's connections closed"
      )
      const stats = yield* ask(`${gateway.url}/stats`)
      assert.nestedPropertyVal(stats.json, "active_requests", 0)
      assert.nestedPropertyVal(stats.json, "backends[0].failures", 0)
    })
  )

  it.live("a client that is slow but goes on sending is heard out, however slow it is", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ listener: { connectTimeout: "1s" } })
      const line = yield* connect(url)
      line.write(`${head("POST", endpoint, `content-length: ${body.length}`)}\r\n`)
      for (let at = 0; at < body.length; at += 6) {
        line.write(body.slice(at, at + 6))
        yield* Effect.sleep("500 millis")
      }
      yield* line.until(() => line.statuses().length > 0)
      assert.deepStrictEqual(line.statuses(), [200])
    })
  )
})

/** Events without end, as fast as they are taken. */
const flood = () => {
  const event = `data: {"choices":[{"delta":{"content":"${"a".repeat(16_000)}"}}]}\n\n`
  const tally = { bytes: 0 }
  return {
    tally,
    answer: (socket: { write: (text: string) => boolean; once: (event: "drain", listener: () => void) => unknown }) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
      const pump = () => {
        for (let n = 0; n < 1000; n++) {
          tally.bytes += event.length
          if (!socket.write(event)) break
        }
        socket.once("drain", pump)
      }
      pump()
    }
  }
}

describe("a client that does not read its answer", () => {
  it.live("makes the backend wait instead of filling the memory, and its going frees everything", () =>
    Effect.gen(function* () {
      const { answer, tally } = flood()
      const { gateway, recorder, url } = yield* setUp({
        answer: (socket, heard) => (heard.includes('"stream":true') ? answer(socket) : socket.end(completionText))
      })
      const asked = '{"model":"m","stream":true,"messages":[]}'
      const readers = 20
      const before = yield* memory(gateway)
      yield* Effect.scoped(
        Effect.gen(function* () {
          for (let n = 0; n < readers; n++) {
            const line = yield* connect(url)
            line.stopReading()
            line.write(`${head("POST", endpoint, `content-length: ${asked.length}`)}\r\n${asked}`)
          }
          let last = -1
          yield* eventually(
            Effect.suspend(() => {
              const still = tally.bytes === last && recorder.open() === readers
              last = tally.bytes
              return Effect.as(Effect.sleep("300 millis"), still ? true : undefined)
            }),
            () => `the backend to be held up; it sent ${tally.bytes} bytes`
          )
          const grown = (yield* memory(gateway)) - before
          // What was sent is mostly in the buffers of the system, of two connections for each reader.
          assert.isBelow(tally.bytes / readers / 1024 / 1024, 32, "MiB that the backend got rid of for each reader")
          assert.isBelow(grown / readers, 8, "MiB for each reader, with what it left to be collected")
          assert.strictEqual((yield* chat(url, { model: "m" })).status, 200)
        })
      )
      yield* eventually(
        Effect.map(ask(`${url}/stats`), ({ json }) =>
          recorder.open() === 0 && JSON.stringify(json).includes('"active_requests":0') ? true : undefined
        ),
        () => `${recorder.open()} connections to the backend are open`
      )
    })
  )
})

const completionText =
  "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"

describe("a client that goes", () => {
  const hello = 'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n'
  const whole = `${head("POST", endpoint, `content-length: ${body.length}`)}\r\n${body}`
  const leaving: Readonly<Record<string, (line: Line) => Effect.Effect<void>>> = {
    "in the middle of its head": (line) => Effect.sync(() => line.write(head("POST", endpoint))),
    "in the middle of its body": (line) => Effect.sync(() => line.write(whole.slice(0, -5))),
    "in the middle of an upload": (line) =>
      Effect.sync(() => line.write(`${head("POST", upload, "content-length: 99", "content-type: audio/wav")}\r\nabc`)),
    "before its answer has begun": (line) => Effect.sync(() => line.write(whole.replace("/chat", ""))),
    "in the middle of its answer": (line) =>
      Effect.andThen(
        Effect.sync(() => line.write(whole)),
        line.until(() => line.received().includes(hello))
      )
  }
  for (const how of ["halfClose", "reset"] as const) {
    it.live(
      `is noticed in every phase, whether it ${how === "reset" ? "resets" : "only half closes"} its connection`,
      () =>
        Effect.gen(function* () {
          const { recorder, url } = yield* setUp({
            answer: (socket, heard) => {
              if (heard.includes("/v1/completions")) return
              socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${hello}`)
            }
          })
          for (const [when, behave] of Object.entries(leaving)) {
            yield* Effect.scoped(
              Effect.gen(function* () {
                const line = yield* connect(url)
                yield* behave(line)
                if (when === "before its answer has begun") yield* line.until(() => recorder.open() > 0)
                line[how]()
                yield* line.until(line.closed)
              })
            )
            yield* eventually(
              Effect.map(ask(`${url}/stats`), ({ json }) =>
                recorder.open() === 0 && JSON.stringify(json).includes('"inflight":0') ? true : undefined
              ),
              () => `${when}: ${recorder.open()} connections to the backend are open`
            )
          }
        })
    )
  }
})
