/** What becomes of answers that outlast the time that the program takes to stop. */
import * as http from "node:http"
import * as http2 from "node:http2"
import * as https from "node:https"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { folderWith } from "../Folder.ts"
import { ca, server } from "../transport/Certificates.ts"
import { eventually, serve } from "./Program.ts"

interface Heard {
  status: number
  text: string
  /** Whether the response ended in order. */
  whole: boolean
}

type Ask = (at: string, body: object, onText: () => void) => Effect.Effect<Heard>

/** Over HTTP/1.1, with TLS or without. */
const overHttp1 =
  (origin: string): Ask =>
  (at, body, onText) =>
    Effect.callback((resume) => {
      const heard: Heard = { status: 0, text: "", whole: false }
      const { request } = origin.startsWith("https:") ? https : http
      const headers = { "content-type": "application/json" }
      const asked = request(`${origin}${at}`, { ca, method: "POST", headers, agent: false })
      asked.on("response", (response) => {
        heard.status = response.statusCode ?? 0
        response.on("data", (piece: Buffer) => {
          heard.text += piece.toString()
          onText()
        })
        response.on("end", () => {
          heard.whole = true
        })
        response.on("error", () => {})
        response.on("close", () => resume(Effect.succeed(heard)))
      })
      asked.on("error", () => resume(Effect.succeed(heard)))
      asked.end(JSON.stringify(body))
    })

/** All of them over one connection of HTTP/2. */
const overHttp2 = (origin: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => http2.connect(origin, { ca }).on("error", () => {})),
      (session) => Effect.sync(() => session.destroy())
    ),
    (session): Ask =>
      (at, body, onText) =>
        Effect.callback((resume) => {
          const heard: Heard = { status: 0, text: "", whole: false }
          const stream = session.request({ ":method": "POST", ":path": at, "content-type": "application/json" })
          stream.on("response", (head) => {
            heard.status = head[":status"] ?? 0
          })
          stream.on("data", (piece: Buffer) => {
            heard.text += piece.toString()
            onText()
          })
          stream.on("error", () => {})
          stream.on("close", () => {
            heard.whole = stream.rstCode === http2.constants.NGHTTP2_NO_ERROR && stream.readableEnded
            resume(Effect.succeed(heard))
          })
          stream.end(JSON.stringify(body))
        })
  )

/** Answers everything with half of a file. */
const halfWay = Effect.map(
  Effect.acquireRelease(
    Effect.callback<http.Server>((resume) => {
      const files = http.createServer((_, response) => {
        response.writeHead(200, { "content-type": "application/octet-stream" })
        response.write("half")
      })
      files.listen(0, "127.0.0.1", () => resume(Effect.succeed(files)))
    }),
    (files) =>
      Effect.sync(() => {
        files.closeAllConnections()
        files.close()
      })
  ),
  (files) => {
    const address = files.address()
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`
  }
)

const messages = [{ role: "user", content: "Hello" }]
const streams = {
  "/v1/chat/completions": { messages, max_tokens: 10_000 },
  "/v1/completions": { prompt: "Hello", max_tokens: 10_000 },
  "/v1/responses": { input: "Hello", max_output_tokens: 10_000 },
  "/v1/messages": { messages, max_tokens: 10_000 }
}

const folder = folderWith({ "cert.pem": server.cert, "key.pem": server.key })

describe.each(["HTTP/1.1", "HTTP/1.1 with TLS", "HTTP/2"] as const)("the end of the grace, over %s", (protocol) => {
  it.live(
    "ends every stream with the error event of its dialect, breaks off what does not stream, and is a success",
    () =>
      Effect.gen(function* () {
        const at = yield* folder
        const simulator = yield* Simulator.make({
          ttft: Duration.millis(5),
          itl: Duration.millis(20),
          slots: 8,
          tokens: 10_000
        })
        const tls = { cert: path.join(at, "cert.pem"), key: path.join(at, "key.pem") }
        const gateway = yield* serve({
          listeners: [
            {
              port: 0,
              auth: false,
              pool: "default",
              routes: [{ path: "/v1/files", pool: "files" }],
              ...(protocol !== "HTTP/1.1" && { tls })
            }
          ],
          server: { shutdownGrace: "500ms" },
          backends: [
            { name: "engine", url: simulator.url },
            { name: "files", url: yield* halfWay }
          ],
          pools: [
            { name: "default", backends: ["engine"] },
            { name: "files", backends: ["files"] }
          ]
        })
        const origin = protocol === "HTTP/1.1" ? gateway.url : gateway.url.replace("http:", "https:")
        const ask = protocol === "HTTP/2" ? yield* overHttp2(origin) : overHttp1(origin)
        const begun = new Set<string>()
        const running = yield* Effect.forEach(Object.entries(streams), ([route, more]) =>
          Effect.forkChild(
            Effect.map(
              ask(route, { model: "sim-model", stream: true, ...more }, () => begun.add(route)),
              (heard) => ({ route, ...heard })
            ),
            { startImmediately: true }
          )
        )
        const whole = yield* Effect.forkChild(
          ask("/v1/chat/completions", { model: "sim-model", messages, max_tokens: 10_000 }, () => {}),
          { startImmediately: true }
        )
        const download = yield* Effect.forkChild(
          ask("/v1/files", {}, () => begun.add("/v1/files")),
          { startImmediately: true }
        )
        yield* eventually(
          Effect.map(simulator.stats, (stats) => (begun.size === 5 && stats.running === 5 ? true : undefined)),
          () => `all run: ${[...begun].join()}`
        )
        yield* gateway.signal("SIGTERM")
        for (const fiber of running) {
          const { route, text, whole: isWhole } = yield* Fiber.join(fiber)
          const last = text.trimEnd().split("\n").at(-1) ?? ""
          assert.match(last, /^data: \{.*"error":\{.*"code":"upstream_error"/, route)
          assert.isTrue(text.endsWith("\n\n"), route)
          assert.isTrue(isWhole, `${route} ends in order`)
          assert.notInclude(text, "[DONE]", route)
          if (route === "/v1/messages" || route === "/v1/responses") assert.include(text.slice(-500), "event: error\n")
        }
        const document = yield* Fiber.join(whole)
        assert.strictEqual(document.status, 503, "it had not begun")
        assert.match(document.text, /"code":"shutting_down"/)
        const half = yield* Fiber.join(download)
        assert.deepStrictEqual([half.status, half.text, half.whole], [200, "half", false])
        assert.strictEqual(yield* gateway.ended, 0)
        const ends = gateway.stderr.filter((line) => line.includes('"end":"upstream_error"'))
        assert.lengthOf(ends, 4, gateway.stderr.join("\n"))
        yield* eventually(
          Effect.map(simulator.stats, ({ running: left }) => (left === 0 ? true : undefined)),
          () => "the engine is told to stop"
        )
      })
  )
})
