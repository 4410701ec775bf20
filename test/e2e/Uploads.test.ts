/** Multipart uploads through the built program: they go to a backend that has the model, wherever that is written. */
import { createHash } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI, { toFile } from "openai"
import { listen } from "../transport/Origin.ts"
import { eventually, serve } from "./Program.ts"

const formOf = async (request: IncomingMessage): Promise<FormData> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return new Response(Buffer.concat(chunks), {
    headers: { "content-type": request.headers["content-type"] ?? "" }
  }).formData()
}

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex").slice(0, 12)

/** Takes forms for its own models only, as engines do. */
const engine = Effect.fnUntraced(function* (...models: ReadonlyArray<string>) {
  // Of each upload its model and the hash of its file.
  const state = { uploads: new Array<string>(), status: 200 }
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json")
    if (request.method === "GET") {
      response.end(JSON.stringify({ object: "list", data: models.map((id) => ({ id })) }))
      return
    }
    formOf(request).then(
      async (form) => {
        const file = form.get("file")
        const bytes = file instanceof Blob ? new Uint8Array(await file.arrayBuffer()) : new Uint8Array()
        const named = form.getAll("model").at(-1)
        const model = typeof named === "string" ? named : "none"
        state.uploads.push(`${model} ${digest(bytes)}`)
        response.statusCode = models.includes(model) || model === "none" ? state.status : 404
        response.end(JSON.stringify({ text: model }))
      },
      () => response.destroy()
    )
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  return Object.assign(state, { url: `http://127.0.0.1:${port}` })
})

const setUp = Effect.fnUntraced(function* (config: object = {}) {
  const a = yield* engine("whisper-1", "shared")
  const b = yield* engine("whisper-2", "shared")
  const gateway = yield* serve({
    backends: [
      { name: "a", url: a.url },
      { name: "b", url: b.url }
    ],
    models: [{ match: "alias", upstreamModel: "whisper-2" }],
    ...config
  })
  yield* eventually(
    Effect.promise(async () => {
      const headers = { authorization: "Bearer all" }
      const text = await (await fetch(`${gateway.url}/v1/models`, { headers })).text()
      return ["whisper-1", "whisper-2", "shared"].every((model) => text.includes(model)) ? true : undefined
    }),
    () => "the models are not found"
  )
  return { a, b, url: gateway.url }
})

const audio = (bytes: number) => Buffer.alloc(bytes, "RIFF\r\n--")

const send = (url: string, parts: ReadonlyArray<readonly [string, string | Blob]>, init: RequestInit = {}) =>
  Effect.promise(async () => {
    const form = new FormData()
    for (const [name, value] of parts) form.append(name, value)
    const response = await fetch(`${url}/v1/audio/transcriptions`, { method: "POST", body: form, ...init })
    const text = await response.text()
    return { status: response.status, text, code: JSON.parse(text).error?.code }
  })

const file = (bytes: number) => ["file", new Blob([audio(bytes)])] as const

describe("an upload", () => {
  it.live("goes to the engine that has its model, whether that is written before the file or behind it", () =>
    Effect.gen(function* () {
      const { a, b, url } = yield* setUp()
      for (const bytes of [0, 1000, 3 << 20]) {
        for (const model of ["whisper-1", "whisper-2"]) {
          assert.strictEqual((yield* send(url, [file(bytes), ["model", model]])).text, `{"text":"${model}"}`)
          assert.strictEqual((yield* send(url, [["model", model], file(bytes)])).text, `{"text":"${model}"}`)
        }
      }
      const expected = [0, 1000, 3 << 20].flatMap((bytes) => [digest(audio(bytes)), digest(audio(bytes))])
      assert.deepStrictEqual(
        a.uploads,
        expected.map((each) => `whisper-1 ${each}`)
      )
      assert.deepStrictEqual(
        b.uploads,
        expected.map((each) => `whisper-2 ${each}`)
      )
    }).pipe(Effect.scoped)
  )

  it.live("an upload of OpenAI's SDK, which writes the file first, is served", () =>
    Effect.gen(function* () {
      const { url } = yield* setUp()
      const client = new OpenAI({ apiKey: "x", baseURL: `${url}/v1`, maxRetries: 0 })
      for (const model of ["whisper-1", "whisper-2", "alias"]) {
        const upload = yield* Effect.promise(() => toFile(audio(200_000), "a.wav"))
        const { text } = yield* Effect.promise(() => client.audio.transcriptions.create({ file: upload, model }))
        assert.strictEqual(text, model === "alias" ? "whisper-2" : model)
      }
    }).pipe(Effect.scoped)
  )

  it.live("has an alias replaced, and every other byte as it was, while it streams too", () =>
    Effect.gen(function* () {
      const { b, url } = yield* setUp({ limits: { maxBodyBytes: "64KiB" } })
      for (const parts of [
        [["model", "alias"], file(2 << 20)],
        [["model", "alias"], file(10)],
        [file(10), ["model", "alias"]]
      ] as const) {
        assert.strictEqual((yield* send(url, parts)).text, '{"text":"whisper-2"}')
      }
      assert.deepStrictEqual(
        b.uploads,
        [2 << 20, 10, 10].map((bytes) => `whisper-2 ${digest(audio(bytes))}`)
      )
    }).pipe(Effect.scoped)
  )

  it.live("an upload that is held whole is sent again where an engine fails", () =>
    Effect.gen(function* () {
      const { a, b, url } = yield* setUp({ pools: [{ name: "default", backends: ["a", "b"], strategy: "failover" }] })
      a.status = 500
      assert.strictEqual((yield* send(url, [file(100_000), ["model", "shared"]])).status, 200)
      assert.deepStrictEqual(a.uploads, b.uploads)
    }).pipe(Effect.scoped)
  )

  it.live("an upload whose model stands behind more than may be held goes by path", () =>
    Effect.gen(function* () {
      const { a, b, url } = yield* setUp({ limits: { maxBodyBytes: "64KiB" } })
      yield* send(url, [file(1 << 20), ["model", "whisper-1"]])
      assert.deepStrictEqual([...a.uploads, ...b.uploads], [`whisper-1 ${digest(audio(1 << 20))}`])
    }).pipe(Effect.scoped)
  )

  const keys = [
    { name: "all", key: "all" },
    { name: "limited", key: "limited", models: ["whisper-1"] }
  ]
  const limited = { headers: { authorization: "Bearer limited" } }
  it.live("gets a key the models that it may use, and nothing that cannot be checked", () =>
    Effect.gen(function* () {
      const { a, b, url } = yield* setUp({ keys, limits: { maxBodyBytes: "64KiB" } })
      const outcomes = yield* Effect.all([
        send(url, [file(10), ["model", "whisper-1"]], limited),
        send(url, [file(10), ["model", "whisper-2"]], limited),
        send(url, [file(10)], limited),
        send(url, [file(1 << 20), ["model", "whisper-1"]], limited),
        send(url, [["model", "whisper-1"], file(10), ["model", "whisper-2"]], limited)
      ])
      assert.deepStrictEqual(
        outcomes.map(({ code, status }) => code ?? status),
        [200, "model_not_allowed", "model_not_allowed", "model_not_allowed", "invalid_request"]
      )
      assert.deepStrictEqual([...a.uploads, ...b.uploads], [`whisper-1 ${digest(audio(10))}`])
    }).pipe(Effect.scoped)
  )

  it.live("an upload that names another model far behind the first never arrives whole", () =>
    Effect.gen(function* () {
      const { a, b, url } = yield* setUp({ keys, limits: { maxBodyBytes: "64KiB" } })
      const refused = yield* Effect.result(
        Effect.tryPromise(() => {
          const form = new FormData()
          form.append("model", "whisper-1")
          form.append("file", new Blob([audio(2 << 20)]))
          form.append("model", "whisper-2")
          return fetch(`${url}/v1/audio/transcriptions`, { method: "POST", body: form, ...limited })
        })
      )
      if (refused._tag === "Success") assert.strictEqual(refused.success.status, 400)
      assert.deepStrictEqual([...a.uploads, ...b.uploads], [])
    }).pipe(Effect.scoped)
  )

  it.live("an upload over its limit is refused with the setting's name, before a byte goes up", () =>
    Effect.gen(function* () {
      const { a, b, url } = yield* setUp({ limits: { maxUploadBytes: "1MiB" } })
      const refused = yield* send(url, [file(2 << 20), ["model", "whisper-1"]])
      assert.deepStrictEqual([refused.status, refused.code], [413, "request_too_large"])
      assert.include(refused.text, "limits.maxUploadBytes")
      assert.deepStrictEqual([...a.uploads, ...b.uploads], [])
      assert.strictEqual((yield* send(url, [file(1000), ["model", "whisper-1"]])).status, 200)
    }).pipe(Effect.scoped)
  )
})
