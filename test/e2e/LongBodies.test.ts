/** Long bodies of every shape: each gets its right answer, and no other client waits for it. */
import { createHash } from "node:crypto"
import * as http from "node:http"
import { Worker } from "node:worker_threads"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { listen } from "../transport/Origin.ts"
import { eventually, serve } from "./Program.ts"

/** Just below the usual limit of 16 MiB. */
const size = 16 * 1024 * 1024 - 1000

const fill = (unit: string, bytes = size): string => unit.repeat(Math.floor(bytes / Buffer.byteLength(unit)))

/** Milliseconds; the program itself holds its event loop for less than 20. The rest is for a machine that runs other tests. */
const bound = 500

const tries = 4

type Case = readonly [what: string, body: () => string, status: number]

const member = (rest: string) => () => `{"model":"m","messages":[],${rest}}`
const listOf = (unit: string, last: string) => member(`"x":[${fill(unit)}${last}]`)
const messages = (unit: string, last: string) => () => `{"model":"m","messages":[${fill(unit)}${last}]}`
const said = (text: string) => () => `{"model":"m","messages":[{"role":"system","content":"${text}"}]}`

const shapes: ReadonlyArray<Case> = [
  ["a long text", () => said(fill("x"))(), 200],
  ["a text of escaped characters", () => said(fill("\\u00e9"))(), 200],
  ["a text of quotes", () => said(fill('\\"'))(), 200],
  ["a text of characters of four bytes", () => said(fill("\u{1f600}"))(), 200],
  ["many short texts", listOf('"a",', '"a"'), 200],
  ["many empty lists", listOf("[],", "[]"), 200],
  ["many empty objects", listOf("{},", "{}"), 200],
  ["many deep lists", listOf(`${"[".repeat(500)}${"]".repeat(500)},`, "0"), 200],
  ["many numbers", () => `{"model":"m","input":[${fill("-1.5e3,")}0]}`, 200],
  ["many tokens", () => `{"model":"m","prompt":[${fill("7,")}0]}`, 200],
  ["one number of many digits", () => `{"model":"m","max_tokens":${fill("1")}}`, 200],
  ["many members", member(`${fill('"a":1,')}"z":1`), 200],
  ["many members that are nearly models", member(`${fill('"mode_":1,')}"z":1`), 200],
  ["many members in disguise", member(`${fill('"\\u006d":1,')}"z":1`), 200],
  ["many messages", messages('{"role":"user","content":"a"},', "{}"), 200],
  ["many messages of the system", messages('{"role":"system","content":""},', "{}"), 200],
  [
    "a message of many parts",
    () => `{"model":"m","messages":[{"role":"system","content":[${fill('{"text":"a"},')}{}]}]}`,
    200
  ],
  ["many tools", member(`"tools":[${fill('{"type":"function"},')}{}]`), 200],
  ["white space inside", member(`${fill(" ")}"z":1`), 200],
  ["white space only", () => fill(" "), 400],
  ["lists in lists", member(`"x":${fill("[", size / 2)}${fill("]", size / 2)}`), 400],
  ["objects in objects", member(`"x":${fill('{"a":', size * 0.8)}1${"}".repeat(size / 8)}`), 400],
  ["lists that never close", member(`"x":${fill("[")}`), 400],
  ["a text that never ends", () => `{"model":"m","x":"${fill("x")}`, 400],
  ["another model at its end", member(`"x":"${fill("x")}","model":"n"`), 400]
]

/** An engine that reads what it is sent, and remembers of it nothing but its hash. */
const engine = Effect.gen(function* () {
  const seen: Array<string> = []
  const server = http.createServer((request, response) => {
    const hash = createHash("sha256")
    request.on("data", (chunk: Buffer) => hash.update(chunk))
    request.on("end", () => {
      response.setHeader("content-type", "application/json")
      if (request.method === "GET") return response.end('{"object":"list","data":[{"id":"m","object":"model"}]}')
      seen.push(hash.digest("hex"))
      return response.end('{"choices":[]}')
    })
  })
  const port = yield* listen(server, () => server.closeAllConnections())
  return { url: `http://127.0.0.1:${port}`, seen }
})

const post = (url: string, body: Buffer): Effect.Effect<number> =>
  Effect.callback((resume) => {
    const headers = { "content-type": "application/json", "content-length": body.length }
    const request = http.request(`${url}/v1/chat/completions`, { method: "POST", headers }, (response) => {
      response.resume().on("end", () => resume(Effect.succeed(response.statusCode ?? 0)))
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end(body)
  })

/** How long another client had to wait at most since this was asked last, in milliseconds. */
const healthWatch = (url: string) => {
  const longest = new Int32Array(new SharedArrayBuffer(4))
  return Effect.acquireRelease(
    Effect.sync(() => new Worker(new URL("./HealthWatch.ts", import.meta.url), { workerData: { longest, url } })),
    (worker) => Effect.promise(() => worker.terminate())
  ).pipe(Effect.as(Effect.sync(() => Atomics.exchange(longest, 0, 0))))
}

const setUp = Effect.fnUntraced(function* (more: object = {}) {
  const { seen, url: backend } = yield* engine
  const sticky = { by: ["header", "user", "ip"] }
  const gateway = yield* serve({
    backends: [{ name: "a", url: backend }],
    pools: [{ name: "default", backends: ["a"], strategy: "prefix_aware", sticky }],
    ...more
  })
  yield* eventually(
    Effect.map(post(gateway.url, Buffer.from('{"model":"m","messages":[]}')), (status) => status === 200 || undefined),
    () => "a ready gateway"
  )
  return { seen, url: gateway.url, longest: yield* healthWatch(gateway.url) }
})

const hashOf = (body: string) => createHash("sha256").update(body).digest("hex")

/** Sends these bodies at once until no other client waits for longer than the bound; each must get this status. */
const send = Effect.fnUntraced(function* (
  { longest, url }: { readonly longest: Effect.Effect<number>; readonly url: string },
  what: string,
  bodies: ReadonlyArray<string>,
  status: number
) {
  const sent = bodies.map((body) => Buffer.from(body))
  let least = Number.POSITIVE_INFINITY
  // A delay of the program comes back each time, one of the machine does not.
  for (let tried = 0; tried < tries && least > bound; tried++) {
    yield* longest
    const answers = yield* Effect.forEach(sent, (body) => post(url, body), { concurrency: "unbounded" })
    assert.deepStrictEqual([what, ...new Set(answers)], [what, status])
    least = Math.min(least, yield* longest)
  }
  assert.isAtMost(least, bound, `milliseconds that another client waits because of ${what}`)
})

describe("a body of 16 MB", () => {
  it.live(
    "a body of 16 MB of any shape is answered right, and lets no other client wait",
    () =>
      Effect.gen(function* () {
        const gateway = yield* setUp()
        for (const [what, make, status] of shapes) {
          const body = make()
          yield* send(gateway, what, [body], status)
          if (status === 200) assert.strictEqual(gateway.seen.at(-1), hashOf(body), what)
        }
      }),
    120_000
  )

  it.live(
    "lets no other client wait, either, where several come at once",
    () =>
      Effect.gen(function* () {
        const gateway = yield* setUp()
        const body = listOf("[],", "[]")()
        yield* send(
          gateway,
          "four of them",
          Array.from({ length: 4 }, () => body),
          200
        )
      }),
    120_000
  )

  const sent = (model: string) => `{"messages":[{"content":"${fill("\u{1f600}é\\n")}"}],"model":"${model}"}`
  it.live.each([
    ["under its model's other name", sent("alias")],
    ["without its byte order mark", `\uFEFF${sent("m")}`],
    ["without its mark and under another name", `\uFEFF${sent("alias")}`]
  ] as const)("goes out %s, with every other byte as it was", ([what, body]) =>
    Effect.gen(function* () {
      const gateway = yield* setUp({ models: [{ match: "alias", upstreamModel: "m" }] })
      yield* send(gateway, what, [body], 200)
      assert.strictEqual(gateway.seen.at(-1), hashOf(sent("m")))
    })
  )
})
