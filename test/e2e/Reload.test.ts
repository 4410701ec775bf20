/** The configuration changes while the program runs: what takes effect, and what must not be touched by it. */

import { X509Certificate } from "node:crypto"
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises"
import * as net from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { type TLSSocket, connect as tlsConnect } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Option, Schema } from "effect"
import { Agent, request } from "undici"
import { formatProblem, Problem } from "../../src/domain/ConfigInvalid.ts"
import { Simulator } from "../../src/sim/Simulator.ts"
import { ca, renewed, server } from "../transport/Certificates.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { eventually, type Gateway, type Program, run, serve } from "./Program.ts"

type Config = { readonly listeners?: ReadonlyArray<object>; readonly [key: string]: unknown }

const Line = Schema.fromJsonString(
  Schema.Struct({
    message: Schema.String,
    changes: Schema.optionalKey(Schema.Array(Schema.String)),
    problems: Schema.optionalKey(Schema.Array(Problem)),
    settings: Schema.optionalKey(Schema.Array(Schema.String))
  })
)
const decodeLine = Schema.decodeUnknownOption(Line)

/** What the program has said with this message. */
const said = ({ stderr }: Program, message: string) =>
  stderr.flatMap((line) => Option.toArray(decodeLine(line))).filter((line) => line.message === message)

const changed = "configuration changed"
const atRestart = "these settings take effect at the next start only"
const refused = "configuration refused, nothing was changed"

/** Waits for the next line with one of these messages after `act`. */
const after = Effect.fnUntraced(function* (program: Program, message: string, act: Effect.Effect<void>) {
  const before = said(program, message).length
  yield* act
  const lines = yield* eventually(
    Effect.sync(() => {
      const lines = said(program, message)
      return lines.length > before ? lines : undefined
    }),
    () => `no line "${message}": ${program.stderr.join("\n")}`
  )
  return lines[before] ?? { message }
})

const write = (file: string, config: Config | string) =>
  Effect.promise(() => writeFile(file, typeof config === "string" ? config : JSON.stringify(config)))

/** Puts a configuration in the place of the one in force, and waits until that is so. */
const change = (gateway: Gateway, config: Config) =>
  after(gateway, changed, Effect.andThen(write(gateway.file, config), gateway.signal("SIGHUP")))

const engine = (name: string) =>
  Simulator.make({ name, ttft: Duration.millis(10), itl: Duration.millis(10), models: ["sim-model"] })

const freePort = Effect.callback<number>((resume) => {
  const server = net.createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(path.join(tmpdir(), "weir-reload-"))),
  (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
)

describe("a bad configuration", () => {
  it.live("changes nothing, and is reported with every problem", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const gateway = yield* serve({ backends: [{ name: "a", url: simulator.url }] })
      const bad = "backends:\n  - { name: a, url: x }\npools: [{ name: p, backends: [b], strategy: fastest }]\n"
      const line = yield* after(gateway, refused, Effect.andThen(write(gateway.file, bad), gateway.signal("SIGHUP")))
      const problems = (line.problems ?? []).map(formatProblem).join("\n")
      assert.match(problems, /^backends\[0\]\.url: .*\(line 2\)$/m)
      assert.match(problems, /^pools\[0\]\.strategy: /m)
      assert.match(problems, /^pools\[0\]\.backends\[0\]: .*\bb\b/m)
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
      const metrics = yield* ask(`${gateway.url}/metrics`)
      assert.match(metrics.text, /^weir_config_reloads_total\{result="refused"\} [12]$/m)
    })
  )

  it.live("a configuration with a port that is taken changes nothing, not even the listeners that would do", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const [free, taken] = [yield* freePort, Number(new URL(simulator.url).port)]
      const gateway = yield* serve({})
      const line = yield* after(
        gateway,
        refused,
        Effect.andThen(
          write(gateway.file, {
            backends: [{ name: "a", url: simulator.url }],
            listeners: [{ port: 0 }, { name: "free", port: free }, { name: "taken", port: taken }]
          }),
          gateway.signal("SIGHUP")
        )
      )
      assert.deepStrictEqual(line.problems?.map(formatProblem), [
        `listeners[2].port: cannot listen on 127.0.0.1:${taken}: the port is in use`
      ])
      assert.strictEqual(errorOf(yield* chat(gateway.url)).code, "no_healthy_backend")
      assert.isTrue(yield* refuses(free))
    })
  )

  it.live("a configuration whose file has gone, or is empty for a moment, does not end up as an empty one", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const config = { listeners: [{ port: 0 }], backends: [{ name: "a", url: simulator.url }] }
      const gateway = yield* serve(config)
      const line = yield* after(
        gateway,
        refused,
        Effect.andThen(
          Effect.promise(() => rm(gateway.file)),
          gateway.signal("SIGHUP")
        )
      )
      assert.include(line.problems?.[0]?.message ?? "", "no such file")
      yield* write(gateway.file, "")
      yield* Effect.sleep("1 second")
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
      yield* after(gateway, changed, write(gateway.file, { ...config, limits: { maxBodyBytes: 2000 } }))
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
    })
  )
})

const refuses = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = net.connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.succeed(false))
    })
    socket.once("error", () => resume(Effect.succeed(true)))
  })

const serialOf = (pem: string): string => new X509Certificate(pem).serialNumber

describe("a change of the file", () => {
  it.live("is noticed when an editor puts a new file in its place", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const gateway = yield* serve({})
      for (const weight of [1, 2]) {
        const next = `${gateway.file}.new`
        yield* write(next, { listeners: [{ port: 0 }], backends: [{ name: "a", url: simulator.url, weight }] })
        yield* after(
          gateway,
          changed,
          Effect.promise(() => rename(next, gateway.file))
        )
      }
      assert.strictEqual((yield* chat(gateway.url)).status, 200)
    })
  )

  it.live("is noticed where it is a mounted ConfigMap, whose links turn to another folder", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const at = yield* folder
      const turnTo = (name: string, config: Config) =>
        Effect.promise(async () => {
          await mkdir(path.join(at, name))
          await writeFile(path.join(at, name, "weir.yaml"), JSON.stringify(config))
          await symlink(name, path.join(at, "..data_tmp"))
          await rename(path.join(at, "..data_tmp"), path.join(at, "..data"))
        })
      yield* turnTo("..1", { listeners: [{ port: 0 }] })
      const file = path.join(at, "weir.yaml")
      yield* Effect.promise(() => symlink("..data/weir.yaml", file))
      const program = yield* run(["serve", "--config", file])
      yield* eventually(
        Effect.sync(() => said(program, "listening")[0]),
        () => program.stderr.join("\n")
      )
      const backends = [{ name: "a", url: simulator.url }]
      const line = yield* after(program, changed, turnTo("..2", { listeners: [{ port: 0 }], backends }))
      assert.include(line.changes ?? [], "backend a added")
    })
  )

  it.live("is noticed in .env too", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const program = yield* run(["serve", "--port", "0"], { cwd })
      yield* eventually(
        Effect.sync(() => said(program, "listening")[0]),
        () => program.stderr.join("\n")
      )
      const line = yield* after(program, changed, write(path.join(cwd, ".env"), "WEIR_BACKENDS=http://127.0.0.1:9\n"))
      assert.include(line.changes ?? [], "backend 127.0.0.1:9 added")
    })
  )
})

describe("a good configuration", () => {
  it.live("takes effect for the next request: backends, keys, limits, log level", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* engine("a"), yield* engine("b")]
      const listeners = [{ port: 0 }]
      const gateway = yield* serve({ listeners, backends: [{ name: "a", url: a.url }] })
      assert.strictEqual((yield* chat(gateway.url)).headers.get("x-routed-node"), "a")
      yield* change(gateway, { listeners, backends: [{ name: "b", url: b.url }] })
      assert.strictEqual((yield* chat(gateway.url)).headers.get("x-routed-node"), "b")
      yield* change(gateway, {
        listeners,
        backends: [{ name: "b", url: b.url }],
        keys: [{ name: "k", key: "sk-1", limits: { requestsPerMinute: 1 } }],
        limits: { maxBodyBytes: 300 }
      })
      assert.strictEqual((yield* chat(gateway.url)).status, 401)
      const authorization = { authorization: "Bearer sk-1" }
      assert.strictEqual((yield* chat(gateway.url, { user: "x".repeat(400) }, authorization)).status, 413)
      assert.strictEqual((yield* chat(gateway.url, {}, authorization)).status, 200)
      assert.strictEqual((yield* chat(gateway.url, {}, authorization)).status, 429)
    })
  )

  it.live("changes the log level from the next line on", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({})
      yield* chat(gateway.url)
      const quiet = { listeners: [{ port: 0 }], telemetry: { logs: { level: "warn" } }, server: { reusePort: true } }
      yield* after(gateway, atRestart, write(gateway.file, quiet))
      yield* chat(gateway.url)
      yield* change(gateway, { listeners: [{ port: 0 }], limits: { maxBodyBytes: 1000 } })
      yield* chat(gateway.url)
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
      assert.lengthOf(said(gateway, "request"), 2)
    })
  )

  it.live("keeps the counters of keys that stay as they are", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const config = {
        listeners: [{ port: 0 }],
        backends: [{ name: "a", url: simulator.url }],
        keys: [{ name: "k", key: "sk-1", limits: { requestsPerMinute: 2 } }]
      }
      const gateway = yield* serve(config)
      const statuses: Array<number> = []
      for (const weight of [2, 3, 4]) {
        statuses.push((yield* chat(gateway.url, {}, { authorization: "Bearer sk-1" })).status)
        yield* change(gateway, { ...config, backends: [{ name: "a", url: simulator.url, weight }] })
      }
      assert.deepStrictEqual(statuses, [200, 200, 429])
    })
  )

  it.live("lets a request finish on the backend that was removed", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* engine("a"), yield* engine("b")]
      const listeners = [{ port: 0 }]
      const gateway = yield* serve({ listeners, backends: [{ name: "a", url: a.url }] })
      const streaming = yield* Effect.forkChild(chat(gateway.url, { stream: true, max_tokens: 80 }), {
        startImmediately: true
      })
      yield* eventually(
        Effect.map(a.stats, ({ running }) => (running > 0 ? true : undefined)),
        () => "a stream at a"
      )
      yield* change(gateway, { listeners, backends: [{ name: "b", url: b.url }] })
      assert.strictEqual((yield* chat(gateway.url)).headers.get("x-routed-node"), "b")
      const stream = yield* Fiber.join(streaming)
      assert.strictEqual(stream.headers.get("x-routed-node"), "a")
      assert.match(stream.text, /data: \[DONE\]\n\n$/)
    })
  )

  it.live("says what only a restart can change", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({})
      yield* change(gateway, { listeners: [{ port: 0 }], server: { reusePort: true }, telemetry: { serviceName: "x" } })
      const line = yield* eventually(
        Effect.sync(() => said(gateway, atRestart)[0]),
        () => gateway.stderr.join("\n")
      )
      assert.deepStrictEqual(line.settings, ["server.reusePort", "telemetry.serviceName"])
    })
  )
})

describe("listeners", () => {
  it.live("listeners that are added open, those that are removed close gracefully, the others are not touched", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const backends = [{ name: "a", url: simulator.url }]
      const port = yield* freePort
      const gateway = yield* serve({ backends, listeners: [{ name: "stays", port: 0 }] })
      const both = [
        { name: "stays", port: 0 },
        { name: "comes", port }
      ]
      yield* change(gateway, { backends, listeners: both })
      const comes = gateway.urlOf("comes")
      // One connection each, which must outlive what does not concern it.
      const agents = [new Agent({ connections: 1 }), new Agent({ connections: 1 })] as const
      const get = (agent: Agent, url: string) =>
        Effect.promise(() =>
          request(`${url}/healthz`, { dispatcher: agent }).then(async (answer) => {
            await answer.body.dump()
            return answer
          })
        )
      yield* get(agents[0], gateway.url)
      yield* get(agents[1], comes)
      const opened = () => agents.map(({ stats }) => Object.values(stats).map(({ connected }) => connected))
      const running = yield* Effect.forkChild(chat(comes, { stream: true, max_tokens: 60 }), { startImmediately: true })
      yield* eventually(
        Effect.map(simulator.stats, ({ running }) => (running > 0 ? true : undefined)),
        () => "a stream"
      )
      const ports = said(gateway, "listening").length
      yield* change(gateway, { backends, listeners: [{ name: "stays", port: 0 }] })
      yield* eventually(
        Effect.map(refuses(port), (gone) => gone || undefined),
        () => "the port is closed"
      )
      // A client that has a connection already is answered, and told that it was the last time.
      const last = yield* get(agents[1], comes)
      assert.deepStrictEqual([last.statusCode, last.headers["connection"]], [200, "close"])
      assert.match((yield* Fiber.join(running)).text, /data: \[DONE\]\n\n$/)
      const other = yield* get(agents[0], gateway.url)
      assert.deepStrictEqual([other.statusCode, other.headers["connection"]], [200, "keep-alive"])
      assert.strictEqual(said(gateway, "listening").length, ports)
      assert.deepStrictEqual(opened()[0], [true])
    })
  )

  it.live("can change their names, their addresses and who may ask, even for each other's", () =>
    Effect.gen(function* () {
      const simulator = yield* engine("a")
      const backends = [{ name: "a", url: simulator.url }]
      const [one, two] = [yield* freePort, yield* freePort]
      const admin = { token: "t" }
      const gateway = yield* serve({
        admin,
        backends,
        listeners: [
          { name: "x", port: one },
          { name: "y", port: two }
        ]
      })
      const swapped = [
        { name: "y", port: one },
        { name: "x", port: two, auth: false }
      ]
      yield* change(gateway, { admin, backends, listeners: swapped })
      for (const port of [one, two]) assert.strictEqual((yield* chat(`http://127.0.0.1:${port}`)).status, 200)
      yield* change(gateway, {
        admin,
        backends,
        listeners: [{ name: "wide", host: "0.0.0.0", port: one, auth: false }]
      })
      assert.strictEqual((yield* chat(`http://127.0.0.1:${one}`)).status, 200)
      assert.isTrue(yield* refuses(two))
    })
  )

  it.live("take a renewed certificate for new connections, without an end of the old ones", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const tls = { cert: path.join(at, "cert.pem"), key: path.join(at, "key.pem") }
      yield* write(tls.cert, server.cert)
      yield* write(tls.key, server.key)
      const gateway = yield* serve({ listeners: [{ port: 0, tls }] })
      const url = new URL(gateway.url)
      const connect = Effect.acquireRelease(
        Effect.callback<TLSSocket>((resume) => {
          const socket = tlsConnect({ port: Number(url.port), host: url.hostname, ca }, () =>
            resume(Effect.succeed(socket))
          )
        }),
        (socket) => Effect.sync(() => socket.destroy())
      )
      const old = yield* connect
      assert.strictEqual(old.getPeerX509Certificate()?.serialNumber, serialOf(server.cert))
      yield* write(tls.cert, renewed.cert)
      yield* write(tls.key, renewed.key)
      const socket = yield* eventually(
        Effect.map(connect, (socket) =>
          socket.getPeerX509Certificate()?.serialNumber === serialOf(renewed.cert) ? socket : undefined
        ),
        () => gateway.stderr.join("\n")
      )
      for (const each of [old, socket]) {
        const answer = Effect.callback<string>((resume) => {
          each.once("data", (piece: Buffer) => resume(Effect.succeed(piece.toString())))
        })
        each.write("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert.match(yield* answer, /^HTTP\/1\.1 200 /)
      }
      assert.lengthOf(said(gateway, "listening"), 1)
    })
  )

  it.live("give the admin surface a port of its own, and take it back", () =>
    Effect.gen(function* () {
      const listeners = [{ name: "public", port: 0 }]
      const gateway = yield* serve({ listeners })
      assert.strictEqual((yield* ask(`${gateway.url}/stats`)).status, 200)
      yield* change(gateway, { listeners, admin: { port: 0, publicMetrics: false, token: "t" } })
      assert.notStrictEqual((yield* ask(`${gateway.url}/stats`)).status, 200)
      const admin = gateway.urlOf("admin")
      assert.strictEqual((yield* ask(`${admin}/stats`)).status, 401)
      assert.strictEqual((yield* ask(`${admin}/metrics`)).status, 401)
      yield* change(gateway, { listeners })
      assert.strictEqual((yield* ask(`${gateway.url}/metrics`)).status, 200)
    })
  )
})
