/** Where the gateway connects to, and where it does not. */
import { writeFileSync } from "node:fs"
import * as http from "node:http"
import { createSecureServer } from "node:http2"
import type { Socket } from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { folderWith } from "../Folder.ts"
import { ca, server as certificate } from "../transport/Certificates.ts"
import { listen } from "../transport/Origin.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { forwardProxy } from "./ForwardProxy.ts"
import { run, serve } from "./Program.ts"

const caFile = Effect.map(folderWith({ "ca.pem": ca }), (folder) => path.join(folder, "ca.pem"))

const quick = { ttft: Duration.millis(2), itl: Duration.millis(2), tokens: 4 }

describe("a redirect of a backend", () => {
  for (const status of [301, 302, 303, 307, 308]) {
    it.live(`is passed on and not followed: ${status}`, () =>
      Effect.gen(function* () {
        const inside = yield* Simulator.make(quick)
        const location = `${inside.url}/echo/secret`
        const server = http.createServer((_, answer) => void answer.writeHead(status, { location }).end("elsewhere"))
        const port = yield* listen(server, () => server.closeAllConnections())
        const gateway = yield* serve({
          backends: [{ name: "a", url: `http://127.0.0.1:${port}`, models: ["sim-model"] }]
        })
        const routed = yield* Effect.promise(() =>
          fetch(`${gateway.url}/v1/chat/completions`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ model: "sim-model", messages: [{ role: "user", content: "Hello" }] }),
            redirect: "manual"
          })
        )
        const passed = yield* ask(`${gateway.url}/anything`)
        for (const answer of [routed, passed]) {
          assert.strictEqual(answer.status, status)
          assert.strictEqual(answer.headers.get("location"), location)
          assert.strictEqual(answer.headers.get("x-weir-attempts"), "1")
        }
        // Not for a probe either.
        assert.deepStrictEqual(yield* inside.requests(), [])
      })
    )
  }
})

describe("a backend that sends a client to itself", () => {
  it.live("does not tell its address, and the client finds the way through the gateway", () =>
    Effect.gen(function* () {
      // With its own address in the head and on the page, as engines make both from the Host that they are asked by.
      const server = http.createServer(({ headers: { host }, url = "" }, answer) => {
        if (url === "/base/models") return void answer.end('{"data":[{"id":"sim-model"}]}')
        const [status] = /\d{3}$/.exec(url) ?? []
        if (status === undefined) return void answer.end(`arrived at ${url}`)
        const location = `http://${host}${url}/`
        answer.writeHead(Number(status), { location }).end(`<a href="${location}">here</a>`)
      })
      const port = yield* listen(server, () => server.closeAllConnections())
      const gateway = yield* serve({
        backends: [{ name: "a", url: `http://127.0.0.1:${port}/base`, models: ["sim-model"] }]
      })
      for (const status of [301, 302, 303, 307, 308]) {
        for (const asked of [`/v1/files/${status}`, `/docs/${status}`]) {
          const answer = yield* ask(gateway.url + asked)
          assert.strictEqual(answer.status, status)
          assert.strictEqual(answer.headers.get("location"), `${asked}/`)
          const told = [...answer.headers].flat().join() + answer.text
          // With its colon: the digits alone may stand in a request id by chance.
          assert.notInclude(told, `:${port}`)
          const followed = yield* Effect.promise(() => fetch(gateway.url + asked).then((response) => response.text()))
          assert.strictEqual(followed, `arrived at ${asked.replace(/^(\/v1)?/, "/base")}/`)
        }
      }
    })
  )
})

describe("a start", () => {
  for (const [what, config, expected] of [
    [
      "a metadata address in disguise",
      { backends: [{ name: "a", url: "http://[::ffff:a9fe:a9fe]/latest" }] },
      "backends[0].url: refused: this address is the metadata service of a cloud (line 1)"
    ],
    [
      "a private address where none may be",
      { backends: [{ name: "a", url: "http://127.0.0.1:1" }], security: { allowPrivateBackends: false } },
      "backends[0].url: refused: this address is in a private network, and security.allowPrivateBackends is false (line 1)"
    ],
    [
      "a name that means a denied address",
      { backends: [{ name: "a", url: "http://localhost:1" }], security: { denyNetworks: ["127.0.0.0/8", "::1"] } },
      "backends[0].url: refused: this name means an address that is in one of security.denyNetworks (line 1)"
    ]
  ] as const) {
    it.live(`a start with ${what} is refused in one line`, () =>
      Effect.gen(function* () {
        const folder = path.dirname(yield* caFile)
        writeFileSync(path.join(folder, "weir.yaml"), JSON.stringify(config))
        const program = yield* run(["serve"], { cwd: folder })
        assert.strictEqual(yield* program.ended, 1)
        assert.deepStrictEqual([...program.stderr], [expected])
      })
    )
  }
})

describe("a pool's proxy", () => {
  it.live("is used for its backends by name, with its credentials; the other pool goes straight", () =>
    Effect.gen(function* () {
      const [far, near] = [yield* Simulator.make(quick), yield* Simulator.make(quick)]
      const proxy = yield* forwardProxy({ hosts: { "engine.far.invalid": far.port } })
      const gateway = yield* serve({
        listeners: [{ port: 0, pool: "far", routes: [{ path: "/near/*", pool: "near" }] }],
        backends: [
          {
            name: "far",
            url: "http://engine.far.invalid:8001",
            auth: { type: "bearer", token: "engine-key" },
            headers: [{ op: "insert", name: "X-Team", value: "a" }]
          },
          { name: "near", url: near.url, pathPrefix: "/v1" }
        ],
        pools: [
          { name: "far", backends: ["far"], client: { proxy: proxy.url } },
          { name: "near", backends: ["near"] }
        ]
      })
      const whole = yield* chat(gateway.url)
      assert.strictEqual(whole.status, 200, whole.text)
      assert.strictEqual(whole.headers.get("x-routed-node"), "far")
      const stream = yield* chat(gateway.url, { stream: true })
      assert.match(stream.text, /data: \[DONE\]\n\n$/)
      assert.include(proxy.asked, "POST http://engine.far.invalid:8001/v1/chat/completions")
      // What reached the engine is the backend's; what is the proxy's ended there.
      const headers = proxy.lastHeaders()
      assert.strictEqual(headers["authorization"], "Bearer engine-key")
      assert.strictEqual(headers["x-team"], "a")
      assert.strictEqual(headers["host"], "engine.far.invalid:8001")
      const before = proxy.asked.filter((line) => line.startsWith("POST")).length
      assert.strictEqual((yield* ask(`${gateway.url}/near/x`, { method: "POST" })).headers.get("x-routed-node"), "near")
      assert.strictEqual(proxy.asked.filter((line) => line.startsWith("POST")).length, before)
      assert.isAbove((yield* near.requests()).length, 0)
    })
  )

  it.live("opens a tunnel to a backend behind TLS, whose certificate is verified through it", () =>
    Effect.gen(function* () {
      const file = yield* caFile
      const engine = yield* Simulator.make({ ...quick, tls: certificate })
      const proxy = yield* forwardProxy({
        hosts: { "engine.internal": engine.port, "elsewhere.internal": engine.port }
      })
      const started = (host: string) =>
        serve({
          backends: [{ name: "a", url: `https://${host}:8443`, tls: { ca: file } }],
          pools: [{ name: "default", backends: ["a"], client: { proxy: proxy.url } }]
        })
      const gateway = yield* started("engine.internal")
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
      const stream = yield* chat(gateway.url, { stream: true })
      assert.match(stream.text, /data: \[DONE\]\n\n$/)
      assert.include(proxy.asked, "CONNECT engine.internal:8443")
      assert.strictEqual(proxy.asked.filter((line) => !line.startsWith("CONNECT")).length, 0)
      const served = (yield* engine.requests()).length
      const wrong = yield* started("elsewhere.internal")
      assert.oneOf((yield* chat(wrong.url)).status, [502, 503])
      assert.strictEqual((yield* ask(`${wrong.url}/readyz`)).status, 503)
      assert.strictEqual((yield* engine.requests()).length, served)
    })
  )

  it.live(
    "changes nothing of how a backend is spoken to: one that would take HTTP/2 gets HTTP/1.1, as without it",
    () =>
      Effect.gen(function* () {
        const file = yield* caFile
        const engine = createSecureServer({ ...certificate, allowHTTP1: true }, (request, answer) => {
          answer.end(request.url === "/v1/models" ? '{"data":[]}' : `${request.httpVersion} ${request.url}`)
        })
        const sockets = new Set<Socket>()
        engine.on("connection", (socket: Socket) => sockets.add(socket))
        const port = yield* listen(engine, () => {
          for (const socket of sockets) socket.destroy()
        })
        const proxy = yield* forwardProxy({ hosts: { "engine.internal": port } })
        for (const [url, client] of [
          [`https://127.0.0.1:${port}`, {}],
          ["https://engine.internal", { proxy: proxy.url }]
        ] as const) {
          const gateway = yield* serve({
            backends: [{ name: "a", url, tls: { ca: file } }],
            pools: [{ name: "default", backends: ["a"], client }]
          })
          assert.strictEqual((yield* ask(`${gateway.url}/anything?a=1`)).text, "1.1 /anything?a=1")
        }
        assert.include(proxy.asked, "CONNECT engine.internal:443")
      })
  )

  for (const scheme of ["http", "https"] as const) {
    it.live(`a proxy that refuses its credentials is 502, and says nothing of them: ${scheme}`, () =>
      Effect.gen(function* () {
        const engine = yield* Simulator.make(scheme === "https" ? { ...quick, tls: certificate } : quick)
        const proxy = yield* forwardProxy({ hosts: { "engine.internal": engine.port } })
        const gateway = yield* serve({
          backends: [
            { name: "a", url: `${scheme}://engine.internal:8443`, health: { interval: "1h", unhealthyAfter: 100 } }
          ],
          pools: [{ name: "default", backends: ["a"], client: { proxy: `http://user:s3cret@127.0.0.1:${proxy.port}` } }]
        })
        const answer = yield* chat(gateway.url)
        assert.oneOf(answer.status, [502, 503])
        assert.oneOf(errorOf(answer).code, ["upstream_error", "no_healthy_backend"])
        assert.deepStrictEqual(yield* engine.requests(), [])
        assert.isAbove(proxy.asked.length, 0)
        assert.notInclude(answer.text + gateway.stderr.join("\n"), "s3cret")
      })
    )
  }

  it.live("a proxy that never says a word is given up in the time for connecting", () =>
    Effect.gen(function* () {
      const proxy = yield* forwardProxy({ silent: true })
      const gateway = yield* serve({
        backends: [
          {
            name: "a",
            url: "https://engine.internal:8443",
            timeouts: { connect: "300ms" },
            models: ["sim-model"],
            health: { interval: "1h", timeout: "30s" }
          }
        ],
        pools: [{ name: "default", backends: ["a"], client: { proxy: proxy.url }, retry: { attempts: 0 } }]
      })
      const [took, answer] = yield* Effect.timed(chat(gateway.url))
      assert.strictEqual(answer.status, 502, answer.text)
      assert.isBelow(Duration.toMillis(took), 5000)
    })
  )
})
