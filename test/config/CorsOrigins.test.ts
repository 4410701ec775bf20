/** What `cors.origins` may say of a listener: an entry that can never match is refused with its place. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { validate } from "../../src/config/ConfigLoader.ts"
import { parseSource } from "../../src/config/YamlSource.ts"

const load = Effect.fnUntraced(function* (origins: ReadonlyArray<string>) {
  const config = { listeners: [{ port: 0, cors: { origins } }] }
  const source = yield* parseSource("weir.yaml", JSON.stringify(config))
  return yield* validate("weir.yaml", source, {}, {})
})

describe("the origins of a listener", () => {
  it.effect.each([
    { entry: "https://app.example/", mend: "browsers send https://app.example: write that" },
    {
      entry: "https://*.example",
      mend: "* stands for a whole host (https://*) or for every origin: list these one by one"
    },
    { entry: "app://notes.example/", mend: "expected app:// and a host, without path or slash after it" },
    { entry: "app.example", mend: "expected an origin with its scheme, such as" }
  ])("may not be $entry, and the place and the mend are said", ({ entry, mend }) =>
    Effect.map(Effect.flip(load(["https://app.example", entry])), ({ message }) => {
      assert.include(message, `listeners[0].cors.origins[1]: ${mend}`)
    })
  )

  it.effect("may be a web page's, an app's, a scheme's, null and all", () =>
    Effect.gen(function* () {
      const origins = ["https://app.example", "http://localhost:3000", "app://notes.example", "tauri://*", "null", "*"]
      assert.deepStrictEqual((yield* load(origins)).listeners[0].cors.origins, origins)
    })
  )
})
