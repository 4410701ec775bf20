/** TLS with a backend, over real connections. */
import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { createServer, type TLSSocket, type TlsOptions } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { folderWith } from "../Folder.ts"
import { putInForce } from "../registry/Fixtures.ts"
import * as certificates from "./Certificates.ts"
import { configFor, type Line, nextTurn, ok, onLine, readAll } from "./Line.ts"
import { listen } from "./Origin.ts"

interface Engine {
  readonly port: number
  /** What each connection showed of its client, and the name that it asked for. */
  readonly seen: ReadonlyArray<{ readonly client: string | undefined; readonly asked: string | false | null }>
}

/** An engine with a certificate, that answers every request with `ok`. */
const engine = (options: TlsOptions): Effect.Effect<Engine, never, Scope.Scope> =>
  Effect.gen(function* () {
    const seen: Array<Engine["seen"][number]> = []
    const sockets = new Set<TLSSocket>()
    const server = createServer(options, (socket) => {
      sockets.add(socket)
      const name = socket.getPeerCertificate().subject?.CN
      seen.push({ client: typeof name === "string" ? name : undefined, asked: socket.servername })
      socket.on("error", () => {})
      socket.on("data", () => socket.write(ok("ok")))
    })
    server.on("tlsClientError", () => {})
    const port = yield* listen(server, () => {
      for (const socket of sockets) socket.destroy()
    })
    return { port, seen }
  })

const pems = {
  "ca.pem": certificates.ca,
  "other.pem": certificates.anotherCa,
  "client.pem": certificates.client.cert,
  "client.key": certificates.client.key
}

const folder = folderWith(pems)

interface Scene extends Line {
  readonly at: string
  /** Names a backend with these files, given by their names in the folder. */
  readonly point: (url: string, tls?: Readonly<Record<string, string>>, client?: object) => Effect.Effect<void>
}

const onTls = <A, E>(use: (scene: Scene) => Effect.Effect<A, E, Scope.Scope>) =>
  onLine((line) =>
    Effect.gen(function* () {
      const at = yield* folder
      const point = Effect.fnUntraced(function* (
        url: string,
        tls: Readonly<Record<string, string>> = {},
        client?: object
      ) {
        const files = Object.fromEntries(
          Object.entries(tls).map(([key, value]) => [key, key === "serverName" ? value : path.join(at, value)])
        )
        const setting = { backend: { tls: files }, ...(client !== undefined && { client }) }
        yield* Effect.orDie(putInForce(line.registry, yield* configFor(url, setting)))
      })
      return yield* use({ ...line, at, point })
    })
  )

const answerOf = Effect.fnUntraced(function* ({ send }: Scene) {
  const { text } = yield* readAll(yield* send())
  // The connection is given back a whole turn of the loop later.
  yield* Effect.andThen(nextTurn, nextTurn)
  return text
})

const failureOf = ({ send }: Scene) =>
  Effect.map(Effect.flip(send()), (failure) => ({
    kind: failure.kind,
    detail: failure._tag === "UpstreamFailed" ? failure.detail : failure.reason
  }))

describe("a backend's certificate", () => {
  it.live("is trusted where its CA is configured, and nowhere else", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port } = yield* engine(certificates.server)
        yield* scene.point(`https://127.0.0.1:${port}`, { ca: "ca.pem" })
        assert.strictEqual(yield* answerOf(scene), "ok")
        yield* scene.point(`https://127.0.0.1:${port}`, { ca: "other.pem" })
        assert.strictEqual((yield* failureOf(scene)).kind, "tls")
        yield* scene.point(`https://127.0.0.1:${port}`)
        assert.strictEqual((yield* failureOf(scene)).kind, "tls")
      })
    )
  )

  it.live("must be for the name in the address, or for the configured one, which is also asked for", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port, seen } = yield* engine(certificates.elsewhere)
        const url = `https://127.0.0.1:${port}`
        yield* scene.point(url, { ca: "ca.pem" })
        assert.deepStrictEqual(yield* failureOf(scene), { kind: "tls", detail: "ERR_TLS_CERT_ALTNAME_INVALID" })
        yield* scene.point(url, { ca: "ca.pem", serverName: "engine.internal" })
        assert.strictEqual((yield* failureOf(scene)).kind, "tls")
        yield* scene.point(url, { ca: "ca.pem", serverName: "elsewhere.internal" })
        assert.strictEqual(yield* answerOf(scene), "ok")
        assert.strictEqual(seen.at(-1)?.asked, "elsewhere.internal")
        // A name in the request's own Host takes nothing back of this.
        const named = yield* readAll(yield* scene.send({ headers: ["host", "engine.internal"] }))
        assert.strictEqual(named.text, "ok")
        assert.strictEqual(seen.at(-1)?.asked, "elsewhere.internal")
      })
    )
  )

  it.live("a certificate that has expired is refused", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port } = yield* engine(certificates.expired)
        yield* scene.point(`https://127.0.0.1:${port}`, { ca: "ca.pem" })
        assert.deepStrictEqual(yield* failureOf(scene), { kind: "tls", detail: "CERT_HAS_EXPIRED" })
      })
    )
  )
})

describe("a client certificate", () => {
  const demanding = { ...certificates.server, ca: certificates.ca, requestCert: true, rejectUnauthorized: true }

  it.live("is shown to a backend that asks for one", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port, seen } = yield* engine(demanding)
        yield* scene.point(`https://127.0.0.1:${port}`, { ca: "ca.pem", cert: "client.pem", key: "client.key" })
        assert.strictEqual(yield* answerOf(scene), "ok")
        assert.deepStrictEqual(
          seen.map(({ client }) => client),
          ["weir"]
        )
      })
    )
  )

  it.live("a missing client certificate ends in an error, and not in an answer", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port } = yield* engine(demanding)
        yield* scene.point(`https://127.0.0.1:${port}`, { ca: "ca.pem" })
        assert.include(["tls", "reset"], (yield* failureOf(scene)).kind)
      })
    )
  )
})

describe("the files", () => {
  it.live("are read again with each configuration: what was renewed is used, what was not changes no connection", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port, seen } = yield* engine(certificates.server)
        const url = `https://127.0.0.1:${port}`
        yield* scene.point(url, { ca: "ca.pem" })
        assert.strictEqual(yield* answerOf(scene), "ok")
        yield* scene.point(url, { ca: "ca.pem" })
        assert.strictEqual(yield* answerOf(scene), "ok")
        assert.strictEqual(seen.length, 1)
        writeFileSync(path.join(scene.at, "ca.pem"), certificates.anotherCa)
        yield* scene.point(url, { ca: "ca.pem" })
        assert.strictEqual((yield* failureOf(scene)).kind, "tls")
        writeFileSync(path.join(scene.at, "ca.pem"), certificates.ca)
        yield* scene.point(url, { ca: "ca.pem" })
        assert.strictEqual(yield* answerOf(scene), "ok")
      })
    )
  )

  it.live("files that are gone are a failure of the backend's, told without their path", () =>
    onTls((scene) =>
      Effect.gen(function* () {
        const { port } = yield* engine(certificates.server)
        yield* scene.point(`https://127.0.0.1:${port}`, { ca: "nowhere.pem" })
        assert.deepStrictEqual(yield* failureOf(scene), { kind: "tls", detail: "a file of its tls cannot be read" })
      })
    )
  )
})
