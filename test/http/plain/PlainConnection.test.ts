/** Connections whose plainest requests are read without Node, over real sockets. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect, request } from "../../hostile/Raw.ts"
import { layerTime } from "../../Time.ts"
import { echo, pause, setUpPlain, talk, timeless } from "./PlainRig.ts"

const post = (target: string, body: string, ...lines: ReadonlyArray<string>) =>
  request("POST", target, [`content-length: ${body.length}`, ...lines], body)

const last = request("GET", "/last", ["connection: close"])

/** What one server made of it, and what Node makes of it. */
const both = Effect.fnUntraced(function* (bytes: ReadonlyArray<string>, fin = false) {
  const plain = yield* setUpPlain()
  const node = yield* setUpPlain({ nodeOnly: true })
  const said = yield* Effect.promise(() => talk(plain.port, bytes, fin))
  const nodeSaid = yield* Effect.promise(() => talk(node.port, bytes, fin))
  return { said: timeless(said), nodeSaid: timeless(nodeSaid), taken: plain.taken }
})

describe("the same bytes", () => {
  it.live("have the same answers, wherever they are cut", () =>
    Effect.gen(function* () {
      const { port, taken } = yield* setUpPlain()
      const node = yield* setUpPlain({ nodeOnly: true })
      const whole = `${post("/a", "hello")}${post("/b?c", "")}${last}`
      const expected = timeless(yield* Effect.promise(() => talk(node.port, [whole])))
      assert.strictEqual(expected.match(/HTTP\/1\.1 200 /g)?.length, 3)
      const cuts = Array.from({ length: whole.length }, (_, cut) => cut)
      yield* Effect.forEach(
        cuts,
        (cut) =>
          Effect.map(
            Effect.promise(() => talk(port, cut === 0 ? [whole] : [whole.slice(0, cut), whole.slice(cut)])),
            (received) => assert.strictEqual(timeless(received), expected, `cut at ${cut}`)
          ),
        { concurrency: 16, discard: true }
      )
      assert.isAbove(taken.length, whole.length / 2)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("have the same answers, byte by byte", () =>
    Effect.gen(function* () {
      const bytes = `${post("/a", "hello")}${last}`
      const { nodeSaid, said } = yield* both(bytes.split(""))
      assert.strictEqual(said, nodeSaid)
    }).pipe(Effect.provide(layerTime))
  )

  it.live.each([
    ["HTTP/1.0", [post("/a", "hello").replace("HTTP/1.1", "HTTP/1.0")], false],
    [
      "HTTP/1.0 that keeps alive",
      [post("/a", "b", "connection: keep-alive").replace("HTTP/1.1", "HTTP/1.0"), last],
      false
    ],
    ["a last request", [post("/a", "hello", "connection: close")], false],
    ["a last request behind a plain one", [post("/a", "hello"), post("/b", "", "connection: close")], false],
    ["chunks", [request("POST", "/a", ["transfer-encoding: chunked"], "1\r\na\r\n0\r\n\r\n"), last], false],
    [
      "chunks behind a plain one",
      [post("/z", "z") + request("POST", "/a", ["transfer-encoding: chunked"], "1\r\na\r\n0\r\n\r\n"), last],
      false
    ],
    ["a long body", [post("/a", "a".repeat(100_000), "connection: close")], false],
    ["a long body behind a plain one", [post("/z", "z"), post("/a", "a".repeat(100_000)), last], false],
    [
      "a body of 64 KB in pieces",
      [post("/a", ""), ...(post("/b", "b".repeat(65_536)).match(/[^]{1,8192}/g) ?? []), last],
      false
    ],
    ["a long head", [request("GET", "/a", [`x-a: ${"a".repeat(20_000)}`])], false],
    ["a long head behind a plain one", [post("/z", "z"), request("POST", "/a", [`x-a: ${"a".repeat(20_000)}`])], false],
    ["garbage", ["\u0000\u0001\u0002\r\n\r\n"], false],
    ["garbage behind a plain one", [post("/a", "hello"), "\u0000\u0001\u0002\r\n\r\n"], false],
    ["blank lines before a request", [`\r\n\r\n${post("/a", "hello")}`, last], false],
    ["blank lines between requests", [`${post("/a", "hello")}\r\n\r\n${post("/b", "")}`, last], false],
    ["a body that is longer than it says", [post("/a", "hello"), post("/b", "hello"), "more"], false],
    ["an end without a request", [], true],
    ["an end behind an answer", [post("/a", "hello")], true],
    ["an end in a head", [post("/a", "hello").slice(0, 30)], true],
    ["an end in a body", [post("/a", "hello").slice(0, -2)], true],
    ["an end in a second body", [post("/z", "z"), post("/a", "hello").slice(0, -2)], true]
  ] as const)("have the same answers: %s", ([, bytes, fin]) =>
    Effect.gen(function* () {
      const { nodeSaid, said } = yield* both(bytes, fin)
      assert.strictEqual(said, nodeSaid)
    }).pipe(Effect.provide(layerTime))
  )
})

describe("requests one after the other", () => {
  it.live("are answered in their order, whoever reads them and however long each takes", () =>
    Effect.gen(function* () {
      const { port, taken } = yield* setUpPlain({
        answer: (asked) => void setTimeout(() => echo(asked), asked.url.endsWith("0") ? 20 : 1)
      })
      const targets = Array.from({ length: 30 }, (_, n) => `/${n}`)
      const bytes = targets.map((target) => post(target, "b")).join("")
      const received = yield* Effect.promise(() => talk(port, [`${bytes}${last}`]))
      const answered = [...received.matchAll(/\r\n\r\n(\/\w+) /g)].map(([, target]) => target)
      assert.deepStrictEqual(answered, [...targets, "/last"])
      assert.deepStrictEqual(taken, targets)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("are all answered where more come at once than are read ahead", () =>
    Effect.gen(function* () {
      const { port, taken } = yield* setUpPlain({ answer: (asked) => void setTimeout(() => echo(asked), 1) })
      const bytes = Array.from({ length: 40 }, (_, n) => post(`/${n}`, "b".repeat(8000))).join("")
      const received = yield* Effect.promise(() => talk(port, [`${bytes}${last}`]))
      assert.strictEqual(received.match(/HTTP\/1\.1 200 /g)?.length, 41)
      assert.strictEqual(taken.length, 40)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("wait while the answers before them are not taken", () =>
    Effect.gen(function* () {
      const text = "a".repeat(60_000)
      const { sockets, taken, url } = yield* setUpPlain({
        answer: ({ response }) => {
          response.writeHead(200, { "content-length": String(text.length) })
          response.end(text, "latin1")
        }
      })
      const line = yield* connect(url)
      line.stopReading()
      for (let n = 0; n < 2000; n++) line.write(post(`/${n}`, ""))
      yield* Effect.promise(() => pause(500))
      const [socket] = [...sockets]
      assert.isBelow(socket?.writableLength ?? 0, 200_000, "bytes that wait for the client")
      assert.isBelow(taken.length, 2000)
    }).pipe(Effect.provide(layerTime))
  )

  it.live("end with an answer that says so: nothing behind it is asked for", () =>
    Effect.gen(function* () {
      const { port, taken } = yield* setUpPlain({
        answer: ({ response }) => {
          response.writeHead(200, { "content-length": "2", connection: "close" })
          response.end("ok", "latin1")
        }
      })
      const received = yield* Effect.promise(() => talk(port, [post("/a", "") + post("/b", ""), post("/c", "")]))
      assert.match(received, /connection: close[^]*\r\n\r\nok$/)
      assert.deepStrictEqual(taken, ["/a"])
    }).pipe(Effect.provide(layerTime))
  )

  it.live("end with it also where that is not taken", () =>
    Effect.gen(function* () {
      const { sockets, taken, url } = yield* setUpPlain({
        answer: ({ response }) => {
          response.writeHead(200, { "content-length": "30000000", connection: "close" })
          response.end(Buffer.alloc(30_000_000))
        }
      })
      const line = yield* connect(url)
      line.stopReading()
      line.write(post("/a", ""))
      yield* Effect.promise(() => pause(50))
      for (let n = 0; n < 200; n++) line.write(post(`/${n}`, "b".repeat(10_000)))
      yield* Effect.promise(() => pause(200))
      assert.deepStrictEqual(taken, ["/a"])
      assert.strictEqual(sockets.size, 1)
    }).pipe(Effect.provide(layerTime))
  )
})

describe("a connection that is silent", () => {
  it.live("is told so, and closed, where it never said anything", () =>
    Effect.gen(function* () {
      const { port, url, taken } = yield* setUpPlain({ silentMillis: () => 100 })
      const began = performance.now()
      const received = yield* Effect.promise(() => talk(port, []))
      assert.match(received, /^HTTP\/1\.1 408 [^]*request_timeout/)
      assert.isAtLeast(performance.now() - began, 100)
      // What is sent after that is not asked for.
      const line = yield* connect(url)
      yield* line.until(() => line.received() !== "")
      line.write(post("/late", ""))
      yield* Effect.promise(() => pause(20))
      assert.deepStrictEqual(taken, [])
    }).pipe(Effect.provide(layerTime))
  )

  it.live("stays open with nothing to say once it has had a request, and is closed when it is idle for too long", () =>
    Effect.gen(function* () {
      const { url } = yield* setUpPlain({ silentMillis: () => 100, keepAliveMillis: 400 })
      const line = yield* connect(url)
      line.write(post("/a", ""))
      yield* Effect.promise(() => pause(350))
      line.write(post("/b", ""))
      yield* line.until(() => line.statuses().length === 2)
      assert.isFalse(line.closed())
      const quietSince = performance.now()
      yield* line.until(line.closed)
      // As Node does: a second more than clients are told, so that none sends at that very moment.
      assert.isAbove(performance.now() - quietSince, 1300)
      assert.deepStrictEqual(line.statuses(), [200, 200])
    }).pipe(Effect.provide(layerTime))
  )

  it.live("is not closed while its request is under way", () =>
    Effect.gen(function* () {
      const { port } = yield* setUpPlain({
        keepAliveMillis: 50,
        answer: (asked) => void setTimeout(() => echo(asked), 1500)
      })
      const received = yield* Effect.promise(() => talk(port, [post("/a", "") + last]))
      assert.strictEqual(received.match(/HTTP\/1\.1 200 /g)?.length, 2)
    }).pipe(Effect.provide(layerTime))
  )

  it.live(
    "in the middle of a body is Node's after half a second, and its request is answered when the rest comes",
    () =>
      Effect.gen(function* () {
        const { taken, url } = yield* setUpPlain()
        const line = yield* connect(url)
        const bytes = post("/a", "hello")
        line.write(bytes.slice(0, -2))
        yield* Effect.promise(() => pause(700))
        line.write(bytes.slice(-2) + post("/b", ""))
        yield* line.until(() => line.statuses().length === 2)
        assert.include(line.received(), "/a hello")
        assert.deepStrictEqual(taken, [])
      }).pipe(Effect.provide(layerTime))
  )
})

describe("a client that leaves", () => {
  it.live("is noticed while it waits, in the middle of a stream, and before the end of its answer is sent", () =>
    Effect.gen(function* () {
      const told: Array<string> = []
      const { sockets, url } = yield* setUpPlain({
        answer: ({ response, url: target }) => {
          for (const event of ["close", "finish"] as const) response.once(event, () => told.push(`${target} ${event}`))
          if (target === "/wait") return
          response.writeHead(200, {})
          response.write(Buffer.from("piece"))
          if (target === "/end") response.end(Buffer.alloc(30_000_000))
        }
      })
      for (const target of ["/wait", "/stream", "/end"]) {
        const line = yield* connect(url)
        if (target === "/end") line.stopReading()
        line.write(post(target, ""))
        yield* Effect.promise(() => pause(50))
        line.reset()
        yield* line.until(() => sockets.size === 0)
        yield* line.until(() => told.some((each) => each.startsWith(`${target} `)))
      }
      assert.strictEqual(told.length, 3, told.join())
    }).pipe(Effect.provide(layerTime))
  )
})

describe("a defect", () => {
  it.live("in what answers a request breaks its connection, is told, and ends nothing else", () =>
    Effect.gen(function* () {
      const { defects, port } = yield* setUpPlain({
        answer: (asked) => {
          if (asked.url === "/bad") throw new Error("a defect")
          echo(asked)
        }
      })
      assert.strictEqual(yield* Effect.promise(() => talk(port, [post("/bad", "")])), "")
      const second = yield* Effect.promise(() => talk(port, [post("/a", "") + post("/bad", "") + post("/b", "")]))
      assert.strictEqual(second.match(/HTTP\/1\.1 200 /g)?.length, 1)
      assert.strictEqual(defects.length, 2)
      const third = yield* Effect.promise(() => talk(port, [post("/a", "") + last]))
      assert.strictEqual(third.match(/HTTP\/1\.1 200 /g)?.length, 2)
    }).pipe(Effect.provide(layerTime))
  )
})
