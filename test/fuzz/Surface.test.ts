/**
 * Inputs that no client sends, for as long as `FUZZ_SECONDS` says (30): no input may bring an answer that is not in the
 * contract, make a backend look bad, reach one as anything but HTTP, or leave something behind. Every run takes another
 * seed and prints it; `FUZZ_SEED` takes the same again. What was found once is in the corpus, and tried first.
 */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Random } from "../bench/scheduling/Random.ts"
import { ask, chat } from "../e2e/Ask.ts"
import { eventually, type Gateway } from "../e2e/Program.ts"
import { memory } from "../hostile/Rig.ts"
import { mutate } from "./Mutations.ts"
import { send, target } from "./Target.ts"

const seconds = Number(process.env["FUZZ_SECONDS"] ?? 30)
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0x1_0000_0000)

const corpus = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))(
  readFileSync(path.join(import.meta.dirname, "corpus.json"), "utf8")
)

/** Codes of the contract that an input can bring about while the backend can answer. */
const documented = new Set([
  "invalid_json",
  "invalid_request",
  "path_not_allowed",
  "model_required",
  "invalid_api_key",
  "origin_not_allowed",
  "model_not_found",
  "not_found",
  "method_not_allowed",
  "request_timeout",
  "request_too_large",
  "queue_full",
  "deadline_exceeded"
])

const decodeError = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      error: Schema.Struct({ message: Schema.String, code: Schema.optionalKey(Schema.NullOr(Schema.String)) })
    })
  )
)

/** What is wrong with everything that came back on one connection; `undefined` if nothing is. */
const complaintAbout = (received: string): string | undefined => {
  if (received === "") return undefined
  if (!received.startsWith("HTTP/1.1 ")) return "not an answer"
  for (const [, status = "", rest = ""] of received.matchAll(/HTTP\/1\.1 (\d{3}) ([^]*?)(?=HTTP\/1\.1 \d{3} |$)/g)) {
    const code = Number(status)
    if (code >= 500 && code !== 503 && code !== 504) return `status ${status}`
    if (code < 400 || !/\r\nx-should-retry: /i.test(rest)) continue
    const [, body = ""] = rest.split("\r\n\r\n")
    // An answer to HEAD has none, one that was given up is not whole.
    if (body === "" || !body.endsWith("}")) continue
    const error = decodeError(Buffer.from(body, "latin1").toString())
    if (error._tag === "None") return `not an error of the contract: ${body}`
    const name = error.value.error.code
    if (name !== undefined && name !== null && !documented.has(name)) return `code ${name}`
  }
  return undefined
}

const inParts = (random: Random, input: string): ReadonlyArray<string> => {
  if (random.next() < 0.7) return [input]
  const at = random.below(input.length + 1)
  return [input.slice(0, at), input.slice(at)]
}

/** 0 where nothing answers. */
const health = ({ url }: Gateway) =>
  Effect.promise(() =>
    fetch(`${url}/healthz`).then(
      ({ status }) => status,
      () => 0
    )
  )

const lanes = 64

describe("the HTTP surface", () => {
  it.live(
    `answers whatever comes as the contract says, and stays as it was (FUZZ_SEED=${seed})`,
    () =>
      Effect.gen(function* () {
        const { engine, gateway, port } = yield* target
        const random = new Random(seed)
        const before = yield* memory(gateway)
        let tried = 0
        let answered = 0
        const attempt = async (pieces: ReadonlyArray<string>) => {
          const received = await send(port, pieces)
          tried++
          if (received !== "") answered++
          const problem = complaintAbout(received) ?? engine.complaints[0]
          if (problem === undefined) return
          assert.fail(
            `${problem}\ninput ${tried} of seed ${seed}: ${JSON.stringify(pieces)}\n${received.slice(0, 1000)}`
          )
        }
        const all = (inputs: ReadonlyArray<ReadonlyArray<string>>) =>
          Effect.promise(() => Promise.all(inputs.map(attempt)))

        for (const input of corpus) yield* all([[input]])
        const until = performance.now() + seconds * 1000
        let highest = before
        while (performance.now() < until) {
          for (let n = 0; n < 20 && performance.now() < until; n++) {
            yield* all(Array.from({ length: lanes }, () => inParts(random, mutate(random, corpus))))
          }
          const asked = performance.now()
          assert.strictEqual(
            yield* health(gateway),
            200,
            `alive after ${tried} inputs: ${gateway.stderr.slice(-20).join("\n")}`
          )
          assert.isBelow(performance.now() - asked, 2000, "nobody else waits")
          highest = Math.max(highest, yield* memory(gateway))
        }

        process.stderr.write(
          `fuzz: seed ${seed}, ${tried} inputs, ${answered} answered, ${engine.requests()} reached the backend, ` +
            `memory ${before.toFixed(0)} to ${highest.toFixed(0)} MiB\n`
        )
        // Most of it is garbage that is not collected yet; that does not grow however long this runs.
        assert.isBelow(highest - before, 400, "MiB more than before")
        assert.strictEqual((yield* chat(gateway.url, { model: "m" })).status, 200)
        const stats = yield* eventually(
          Effect.map(ask(`${gateway.url}/stats`), ({ json, text }) =>
            text.includes('"active_requests":0') && text.includes('"inflight":0') ? json : undefined
          ),
          () => "nothing under way"
        )
        assert.nestedPropertyVal(stats, "queue_depth", 0)
        assert.nestedPropertyVal(stats, "backends[0].failures", 0, "no client can make a backend look bad")
        assert.nestedPropertyVal(stats, "backends[0].health", "healthy")
      }),
    seconds * 1000 + 60_000
  )
})
