/**
 * The plain reader of heads against Node's own parser, for as many inputs as `FUZZ_HEADS` says (20,000): half of them good
 * heads with a few places changed, half what the HTTP surface is fuzzed with. `FUZZ_SEED` takes the same ones again.
 */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Random } from "../bench/scheduling/Random.ts"
import { headFrom } from "../http/plain/Heads.ts"
import { disagreement, makeNodeReader } from "../http/plain/NodeReading.ts"
import { mutate } from "./Mutations.ts"

const inputs = Number(process.env["FUZZ_HEADS"] ?? 20_000)
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0x1_0000_0000)

const corpus = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))(
  readFileSync(path.join(import.meta.dirname, "corpus.json"), "utf8")
)

/** So that the connections of a round are let go before the next. */
const roundSize = 500

describe("the plain reader of heads", () => {
  it(
    `reads nothing in another way than Node does (FUZZ_SEED=${seed})`,
    async () => {
      const random = new Random(seed)
      const readByNode = makeNodeReader()
      let read = 0
      for (let n = 0; n < inputs; n++) {
        const input = n % 2 === 0 ? headFrom(random) : mutate(random, corpus)
        const found = disagreement(readByNode, input)
        if (found === undefined) read++
        else if (found !== "passed on") assert.fail(`${found}\ninput ${n} of seed ${seed}: ${JSON.stringify(input)}`)
        if (n % roundSize === 0) await new Promise((done) => setImmediate(done))
      }
      process.stderr.write(`fuzz: seed ${seed}, ${inputs} heads, ${read} read by both and alike\n`)
      assert.isAbove(read, inputs / 20)
    },
    inputs * 2 + 60_000
  )
})
