/** What an editor is given. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { configJsonSchema } from "../../src/config/ConfigLoader.ts"
import { run } from "./Program.ts"

describe("weir schema", () => {
  it.live("prints the JSON Schema and nothing else, and exits with 0", () =>
    Effect.gen(function* () {
      const program = yield* run(["schema"])
      assert.strictEqual(yield* program.ended, 0)
      assert.deepStrictEqual(JSON.parse(program.stdout.join("\n")), configJsonSchema())
      assert.deepStrictEqual(program.stderr, [])
    })
  )

  it.live("is told in the help, with the line that an editor looks for", () =>
    Effect.gen(function* () {
      const all = yield* run(["--help"])
      assert.strictEqual(yield* all.ended, 0)
      assert.match(all.stdout.join("\n"), /^\s+schema\s+Print the JSON Schema/m)
      const one = yield* run(["schema", "--help"])
      assert.strictEqual(yield* one.ended, 0)
      assert.include(one.stdout.join("\n"), "# yaml-language-server: $schema=./weir.schema.json")
    })
  )

  it.live("takes no arguments", () =>
    Effect.gen(function* () {
      const program = yield* run(["schema", "--nonsense"])
      assert.strictEqual(yield* program.ended, 2)
    })
  )
})
