/** The first minute: the demo, and the command that it prints. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask } from "./Ask.ts"
import { eventually, run } from "./Program.ts"

/** The parts of a `curl URL -H '…' -d '…'` line, as a shell would take it apart. */
const curl = (line: string) => {
  const [, url = "", header = "", body = ""] = /curl (\S+) -H '([^']*)' -d '([^']*)'/.exec(line) ?? []
  const [name = "", value = ""] = header.split(": ")
  return { url, headers: { [name]: value }, body }
}

describe("the demo", () => {
  it.live("shows a completion and a stream, and prints a curl that works when pasted, streaming or not", () =>
    Effect.gen(function* () {
      const program = yield* run(["demo", "--port", "0"])
      const line = yield* eventually(
        Effect.sync(() => program.stdout.find((each) => each.includes("curl") && each.includes("-d"))),
        () => [...program.stdout, ...program.stderr].join("\n")
      )
      const output = program.stdout.join("\n")
      assert.match(output, /"object": "chat\.completion"/)
      assert.match(output, /data: \[DONE\]/)
      const { body, headers, url } = curl(line)
      const whole = yield* ask(url, { method: "POST", headers, body })
      assert.strictEqual(whole.status, 200)
      assert.deepInclude(whole.json, { object: "chat.completion" })
      const streamed = yield* ask(url, { method: "POST", headers, body: body.replace("{", '{"stream": true, ') })
      assert.include(streamed.headers.get("content-type") ?? "", "text/event-stream")
      assert.match(streamed.text, /data: \[DONE\]\n\n$/)
      yield* program.signal("SIGINT")
      assert.strictEqual(yield* program.ended, 0)
      assert.deepStrictEqual(program.stderr, [])
    })
  )
})
