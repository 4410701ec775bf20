/**
 * The plainest requests are read and written by ourselves, all others by Node: on the wire the two are alike.
 * Two gateways, one for each way, get the same bytes and have the same engine.
 */
import type { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { eventually } from "../e2e/Program.ts"
import { connect, type Line, request } from "./Raw.ts"
import { setUp } from "./Rig.ts"

const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const event = (text: string) => `data: {"choices":[{"index":0,"delta":{"content":"${text}"},"finish_reason":null}]}\n\n`
const done = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
const completion = '{"id":"c","choices":[{"finish_reason":"stop","message":{"role":"assistant","content":"ok"}}]}'

const answer = (status: string, lines: ReadonlyArray<string>, body: string): string =>
  [`HTTP/1.1 ${status}`, "connection: close", ...lines, "", body].join("\r\n")

const json = (status: string, body: string, ...lines: ReadonlyArray<string>): string =>
  answer(status, ["content-type: application/json", `content-length: ${body.length}`, ...lines], body)

const chunkedJson = "transfer-encoding: chunked\r\ncontent-type: application/json"
const events = "content-type: text/event-stream"

/** What the engine says, by the word that it is asked with. */
const answers: Readonly<Record<string, string>> = {
  whole: json("200 OK", completion),
  "with headers": json("200 OK", completion, "x-a: b", "X-High: \u00e9", "set-cookie: a=1", "set-cookie: b=2"),
  "with a date": json("200 OK", completion, "date: Sat, 28 Nov 2026 00:00:00 GMT"),
  chunked: answer("200 OK", [chunkedJson], `${chunk(completion)}0\r\n\r\n`),
  "until close": answer("200 OK", ["content-type: application/json"], completion),
  created: json("201 Created", completion, "set-cookie: a=1; Path=/"),
  "no content": answer("204 No Content", [], ""),
  large: json("200 OK", `{"a":"${"x".repeat(200_000)}"}`),
  "larger than is held": json("200 OK", `{"a":"${"x".repeat(3_000_000)}"}`),
  "large and chunked": answer("200 OK", [chunkedJson], `${chunk(`{"a":"${"x".repeat(2_000_000)}"}`)}0\r\n\r\n`),
  "a bad request": json("400 Bad Request", '{"error":{"message":"no"}}'),
  "no answer": "",
  stream: answer("200 OK", [events], `${event("a")}${event("b")}${done}`),
  "a stream of large events": answer("200 OK", [events], `${event("x".repeat(40_000))}${event("y")}${done}`),
  "a stream that is cut": answer("200 OK", [events], event("a")),
  // Behind these the engine is left alone for a while.
  overloaded: json("429 Too Many Requests", '{"error":{"message":"later"}}', "retry-after: 7"),
  broken: json("500 Internal Server Error", '{"error":{"message":"oh"}}')
}

const onHeard = (socket: Socket, heard: string): void => {
  const [, said = ""] = /"content":"([^"]*)"/.exec(heard) ?? []
  socket.end(answers[said] ?? "", "latin1")
}

const body = (said: string, stream = said.includes("stream")) =>
  JSON.stringify({ model: "m", stream, messages: [{ role: "user", content: said }] })

const post = (said: string, ...lines: ReadonlyArray<string>) => {
  const text = body(said)
  return request("POST", "/v1/chat/completions", [`content-length: ${text.length}`, ...lines], text)
}

/** Without what is another one each time. */
const comparable = (received: string): string =>
  received
    .replaceAll(/\r\nDate: [^\r]*/g, "\r\nDate: x")
    .replaceAll(/x-request-id: [-0-9a-f]{36}/g, "x-request-id: x")
    .replaceAll(/dur=[\d.]+/g, "dur=x")

const more = { pools: [{ name: "default", backends: ["engine"], retry: { attempts: 0 } }] }
const listener = { pool: "default", connectTimeout: "1s" }

const both = Effect.all({
  fast: setUp({ answer: onHeard, more: { ...more, server: { fastPath: true } }, listener }),
  slow: setUp({ answer: onHeard, more: { ...more, server: { fastPath: false } }, listener })
})

/** What comes back from both ways for the same play, which ends with a connection that is closed. */
const play = (one: { readonly url: string }, run: (line: Line) => Effect.Effect<void>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const line = yield* connect(one.url)
      yield* run(line)
      yield* line.until(line.closed)
      return comparable(line.received())
    })
  )

const last = request("GET", "/healthz", ["connection: close"])

/** What a client sends, until the connection is closed. */
const arrivals: ReadonlyArray<readonly [what: string, bytes: string]> = [
  ["is one of several that come at once", `${post("whole")}${post("stream")}${post("created")}${last}`],
  ["comes before one that is not plain", `${post("whole")}${request("GET", "/v1/models")}${post("whole")}${last}`],
  ["is of another version", post("whole").replace("HTTP/1.1", "HTTP/1.0")],
  ["is the last of its connection", post("whole", "connection: close")],
  ["expects to be told to go on", `${post("whole", "expect: 100-continue")}${last}`],
  ["has no key of its own kind", `${post("whole", "authorization: Basic x")}${last}`],
  ["is no JSON", `${request("POST", "/v1/chat/completions", ["content-length: 3"], "{a}")}${last}`],
  ["names a model that there is not", `${post("whole").replace('"m"', '"n"')}${last}`],
  ["comes from a page that may not ask", `${post("whole", "origin: https://evil.test")}${last}`],
  [
    "is to be traced",
    `${post("whole", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}${last}`
  ],
  ["has a deadline", `${post("whole", "x-weir-timeout: 5s")}${last}`],
  ["has less than its length, for ever", post("whole").slice(0, -5)],
  ["has half a head, for ever", post("whole").slice(0, 40)],
  ["never comes", ""]
]

describe("a plain request", () => {
  it.live(
    "is answered in the bytes that Node would write, whatever the engine says, and so is the one behind it",
    () =>
      Effect.gen(function* () {
        const { fast, slow } = yield* both
        for (const said of Object.keys(answers)) {
          const run = (line: Line) =>
            Effect.gen(function* () {
              line.write(post(said, "connection: keep-alive"))
              yield* line.until(() => line.statuses().length === 1)
              line.write(`${post("whole")}${last}`)
            })
          const [quick, plain] = [yield* play(fast, run), yield* play(slow, run)]
          assert.strictEqual(withoutChunks(quick), withoutChunks(plain), said)
          assert.isAtLeast(quick.match(/HTTP\/1\.1 200 OK/g)?.length ?? 0, 1, said)
        }
      }),
    60_000
  )

  it.live("may come in two parts, cut anywhere", () =>
    Effect.gen(function* () {
      const { fast } = yield* both
      const text = post("whole")
      const cuts = Array.from({ length: text.length - 1 }, (_, at) => at + 1)
      const received = yield* Effect.forEach(
        cuts,
        (at) =>
          play(fast, (line) =>
            Effect.gen(function* () {
              line.write(text.slice(0, at))
              yield* Effect.sleep("5 millis")
              line.write(`${text.slice(at)}${last}`)
            })
          ),
        { concurrency: 16 }
      )
      assert.strictEqual(new Set(received).size, 1)
      assert.include(received[0] ?? "", '"content":"ok"')
    })
  )

  it.live(
    "is answered as Node would answer it, however it comes and whatever is wrong with it",
    () =>
      Effect.gen(function* () {
        const { fast, slow } = yield* both
        yield* Effect.forEach(
          arrivals,
          ([what, bytes]) =>
            Effect.gen(function* () {
              const run = (line: Line) => Effect.sync(() => line.write(bytes))
              const [quick, plain] = yield* Effect.all([play(fast, run), play(slow, run)], { concurrency: 2 })
              assert.strictEqual(withoutChunks(quick), withoutChunks(plain), what)
            }),
          { concurrency: 4 }
        )
      }),
    60_000
  )

  it.live("is answered before what is no HTTP behind it is refused", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp({ answer: onHeard, more: { ...more, server: { fastPath: true } }, listener })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const line = yield* connect(url)
          line.write(`${post("whole")}no HTTP\r\n\r\n`)
          yield* line.until(line.closed)
          assert.deepStrictEqual(line.statuses(), [200, 400])
        })
      )
    })
  )

  it.live("is given up at its backend when its client leaves, before an answer and in the middle of it", () =>
    Effect.gen(function* () {
      for (const said of ["silence", "stream"]) {
        const { recorder, url } = yield* setUp({
          answer: (socket) => {
            if (said === "stream") socket.write(answer("200 OK", [events], event("a")), "latin1")
          }
        })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const line = yield* connect(url)
            line.write(post(said))
            yield* eventually(
              Effect.sync(() => (recorder.open() === 1 ? true : undefined)),
              () => "the backend is asked"
            )
            if (said === "stream") yield* line.until(() => line.received().includes(event("a")))
          })
        )
        yield* eventually(
          Effect.sync(() => (recorder.open() === 0 ? true : undefined)),
          () => "the backend's connection closed"
        )
      }
    })
  )
})

/** The answers with the chunks of each as one: how a body is divided is up to how it came. */
const withoutChunks = (received: string): string => {
  const end = received.indexOf("\r\n\r\n")
  if (end < 0) return received
  const head = received.slice(0, end + 4)
  const rest = received.slice(end + 4)
  const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1] ?? 0)
  if (!/\r\ntransfer-encoding: chunked\r\n/i.test(head)) {
    return head + rest.slice(0, length) + (rest.length > length ? withoutChunks(rest.slice(length)) : "")
  }
  let text = ""
  for (let at = 0; ; ) {
    const line = rest.indexOf("\r\n", at)
    if (line < 0) return `${head}${text} [cut]`
    const size = Number.parseInt(rest.slice(at, line), 16)
    text += rest.slice(line + 2, line + 2 + size)
    at = line + 2 + size + 2
    if (size === 0) return `${head}${text} [end]${withoutChunks(rest.slice(at))}`
  }
}
