/** Backends behind TLS, from the configuration to the engine, through the built program. */
import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../src/sim/Simulator.ts"
import { folderWith } from "../Folder.ts"
import { anotherCa, ca, client, elsewhere, server } from "../transport/Certificates.ts"
import { ask, chat, errorOf } from "./Ask.ts"
import { eventually, run, serve } from "./Program.ts"

const files = { "ca.pem": ca, "other.pem": anotherCa, "weir.pem": client.cert, "weir.key": client.key }

const folder = folderWith(files)

describe("a backend behind TLS", () => {
  it.live("answers where its CA is configured; its probes find it healthy", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const { url } = yield* Simulator.make({ tls: server })
      const tls = { ca: "ca.pem", cert: "weir.pem", key: "weir.key", serverName: "engine.internal" }
      const gateway = yield* serve({ backends: [{ name: "a", adapter: "vllm", url, tls }] }, { cwd })
      const answer = yield* chat(gateway.url, { max_tokens: 1 })
      assert.strictEqual(answer.status, 200, answer.text)
      assert.strictEqual((yield* ask(`${gateway.url}/readyz`)).status, 200)
    })
  )

  it.live("a backend whose certificate is no longer right is 502 upstream_error, counted, and told nothing", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const first = yield* Simulator.make({ tls: server })
      // Asked once: so it is the request that finds out.
      const health = { interval: "1h", unhealthyAfter: 100 }
      const gateway = yield* serve(
        { backends: [{ name: "a", url: first.url, tls: { ca: "ca.pem" }, health }], health: { timeout: "10s" } },
        { cwd }
      )
      assert.strictEqual((yield* chat(gateway.url, { max_tokens: 1 })).status, 200)
      yield* first.stop
      const second = yield* Simulator.make({ tls: elsewhere, port: first.port })
      const answer = yield* chat(gateway.url)
      assert.strictEqual(answer.status, 502, answer.text)
      assert.strictEqual(errorOf(answer).code, "upstream_error")
      assert.notInclude(answer.text, "127.0.0.1")
      const { text } = yield* ask(`${gateway.url}/metrics`)
      assert.match(text, /^weir_upstream_errors_total\{[^}]*error="tls"[^}]*\} [1-9]/m)
      assert.deepStrictEqual(yield* second.requests(), [])
    })
  )

  it.live("a backend with a certificate that no CA vouches for, or that is for another name, never becomes ready", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const simulator = yield* Simulator.make({ tls: server })
      for (const tls of [undefined, { ca: "other.pem" }, { ca: "ca.pem", serverName: "elsewhere.internal" }]) {
        const backend = { name: "a", url: simulator.url, ...(tls !== undefined && { tls }) }
        const gateway = yield* serve({ backends: [backend] }, { cwd })
        assert.oneOf((yield* chat(gateway.url)).status, [502, 503])
        assert.strictEqual((yield* ask(`${gateway.url}/readyz`)).status, 503)
      }
      assert.deepStrictEqual(yield* simulator.requests(), [])
    })
  )

  it.live("is judged by the files of today: a CA that is put right in its file is trusted from then on", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const file = path.join(cwd, "own.pem")
      writeFileSync(file, anotherCa)
      const { url } = yield* Simulator.make({ tls: server })
      const gateway = yield* serve({ backends: [{ name: "a", url, tls: { ca: file } }], health: { interval: "100ms" } })
      assert.strictEqual((yield* ask(`${gateway.url}/readyz`)).status, 503)
      writeFileSync(file, ca)
      yield* gateway.signal("SIGHUP")
      yield* eventually(
        Effect.map(ask(`${gateway.url}/readyz`), ({ status }) => (status === 200 ? true : undefined)),
        () => gateway.stderr.join("\n")
      )
      assert.strictEqual((yield* chat(gateway.url, { max_tokens: 1 })).status, 200)
    })
  )

  it.live("is shown by check with its files", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const config = "backends: [{ name: a, url: 'https://a', tls: { ca: ca.pem, serverName: b } }]"
      writeFileSync(path.join(cwd, "weir.yaml"), config)
      const program = yield* run(["check"], { cwd })
      assert.strictEqual(yield* program.ended, 0)
      assert.include(program.stdout.join("\n"), "    tls:\n      ca: ca.pem\n      serverName: b\n")
    })
  )
})
