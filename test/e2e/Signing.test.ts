/** A backend behind Huawei Cloud's API Gateway: it verifies every signature the way that gateway does. */

import { createHash, createHmac } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chat } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

const accessKey = "QTWAOYTTINDUT2QVKYUC"
const secretKey = "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc"

const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest("hex")

/** Rebuilt from the listed headers alone, as Huawei's sample for backends does. */
const verify = (request: IncomingMessage, body: Buffer): string | undefined => {
  const form = /^SDK-HMAC-SHA256 Access=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/
  const [, access, listed = "", signature] = form.exec(request.headers.authorization ?? "") ?? []
  if (access !== accessKey) return "no signature of ours"
  const names = listed.split(";")
  const date = String(request.headers["x-sdk-date"])
  if (!names.includes("x-sdk-date")) return "the date is not signed"
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"))
  if (!(Math.abs(Date.now() - at) < 15 * 60_000)) return "the date is off"
  const [path = "", query = ""] = (request.url ?? "").split("?")
  const canonical = [
    request.method,
    path.endsWith("/") ? path : `${path}/`,
    query,
    names.map((name) => `${name}:${String(request.headers[name]).trim()}\n`).join(""),
    listed,
    sha256(body)
  ].join("\n")
  const expected = createHmac("sha256", secretKey)
    .update(`SDK-HMAC-SHA256\n${date}\n${sha256(canonical)}`)
    .digest("hex")
  return expected === signature ? undefined : "the signature is wrong"
}

/** Answers 200 to what is signed well, 401 to all else; the first attempt at a chat is answered with 500. */
const apig = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly verdicts: ReadonlyArray<string>; readonly close: () => void }>(
    (resume) => {
      const verdicts: Array<string> = []
      let failed = false
      const server = createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          const problem = verify(request, Buffer.concat(chunks))
          const isChat = request.method === "POST"
          verdicts.push(`${request.method} ${problem ?? "ok"}`)
          const status = problem !== undefined ? 401 : isChat && !failed ? 500 : 200
          if (isChat) failed = true
          response.writeHead(status, { "content-type": "application/json" })
          response.end(isChat ? '{"object":"chat.completion","choices":[]}' : '{"data":[{"id":"sim-model"}]}')
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, verdicts, close: () => server.close() }))
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

describe("huawei-apig", () => {
  it.live("signs probes and requests, and every attempt anew", () =>
    Effect.gen(function* () {
      const upstream = yield* apig
      const signed = { url: upstream.url, adapter: "huawei-apig", auth: { type: "apig", accessKey, secretKey } }
      const gateway = yield* serve({
        backends: [
          { name: "huawei", ...signed },
          { name: "other", ...signed }
        ]
      })
      yield* eventually(
        Effect.sync(() => (upstream.verdicts.length > 0 ? true : undefined)),
        () => "a probe"
      )
      const answer = yield* chat(
        gateway.url,
        { messages: [{ role: "user", content: "你好" }] },
        { authorization: "Bearer x" }
      )
      assert.strictEqual(answer.status, 200, answer.text)
      assert.strictEqual(answer.headers.get("x-weir-attempts"), "2")
      assert.deepStrictEqual([...new Set(upstream.verdicts)].toSorted(), ["GET ok", "POST ok"])
    })
  )

  it.live("signs a long body, as it came and with its model's other name", () =>
    Effect.gen(function* () {
      const upstream = yield* apig
      const gateway = yield* serve({
        backends: [
          { name: "huawei", url: upstream.url, adapter: "huawei-apig", auth: { type: "apig", accessKey, secretKey } }
        ],
        models: [{ match: "alias", upstreamModel: "sim-model" }]
      })
      yield* eventually(
        Effect.sync(() => (upstream.verdicts.length > 0 ? true : undefined)),
        () => "a probe"
      )
      yield* chat(gateway.url)
      const messages = [{ role: "user", content: "你好".repeat(1_000_000) }]
      for (const model of ["sim-model", "alias"]) {
        const answer = yield* chat(gateway.url, { messages, model })
        assert.strictEqual(answer.status, 200, answer.text)
      }
      assert.deepStrictEqual([...new Set(upstream.verdicts)].toSorted(), ["GET ok", "POST ok"])
    })
  )

  it.live("a huawei-apig backend with wrong keys is misconfigured, and says so", () =>
    Effect.gen(function* () {
      const upstream = yield* apig
      const gateway = yield* serve({
        backends: [
          {
            name: "huawei",
            url: upstream.url,
            adapter: "huawei-apig",
            auth: { type: "apig", accessKey, secretKey: "wrong" }
          }
        ]
      })
      yield* eventually(
        Effect.promise(async () => {
          const health = await (await fetch(`${gateway.url}/health`)).text()
          return health.includes('"state":"misconfigured"') ? true : undefined
        }),
        () => "misconfigured"
      )
    })
  )
})
