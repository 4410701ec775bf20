/**
 * Heads that no client sends, for both readers: `FUZZ_HEADS` says how many (20,000; the nightly run takes a million). What
 * the plain reader takes, Node's own must take with the same method, target, headers and body.
 */
import { assert, describe, it } from "@effect/vitest"
import { Random } from "../bench/scheduling/Random.ts"
import { tryMutations } from "../http/plain/Difference.ts"

const count = Number(process.env["FUZZ_HEADS"] ?? 20_000)
const seed = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0x1_0000_0000)

describe("a mutated head", () => {
  it(
    `is read as Node reads it, or left to Node (FUZZ_SEED=${seed})`,
    async () => {
      const { differences, taken } = await tryMutations(new Random(seed), count)
      assert.deepStrictEqual(differences.slice(0, 5), [])
      assert.isAbove(taken, count / 20)
      process.stdout.write(`${count} heads, ${taken} of them plain\n`)
    },
    Math.max(60_000, count)
  )
})
