/** A reader of the log that stands still costs the gateway nothing but lines. */
import { writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Agent, request } from "undici"
import { ask } from "./Ask.ts"
import { eventually, serve } from "./Program.ts"

/** Requests whose lines are 2 KB each. */
const many = (url: string, count: number) =>
  Effect.promise(async () => {
    const dispatcher = new Agent({ connections: 16 })
    const one = async () => {
      const { body, statusCode } = await request(`${url}/v1/${"x".repeat(1900)}`, { dispatcher })
      await body.dump()
      return statusCode
    }
    for (let sent = 0; sent < count; sent += 16) {
      const statuses = await Promise.all(Array.from({ length: 16 }, one))
      assert.deepStrictEqual([...new Set(statuses)], [503])
    }
    await dispatcher.close()
  })

describe("a log on stderr that is not read", () => {
  for (const format of ["json", "pretty"]) {
    it.live(
      `(${format}) leaves the service as it is and memory bounded, and tells what was dropped when it is read`,
      () =>
        Effect.gen(function* () {
          const gateway = yield* serve({ telemetry: { logs: { format: "json" } } })
          if (format === "pretty") {
            // Where it listens is logged in JSON; from here on lines are text.
            writeFileSync(gateway.file, JSON.stringify({ listeners: [{ port: 0 }], telemetry: { logs: { format } } }))
            yield* eventually(
              Effect.sync(() => gateway.stderr.find((line) => line.includes("INFO  configuration changed"))),
              () => gateway.stderr.join("\n")
            )
          }
          yield* many(gateway.url, 512)
          yield* gateway.readStderr(false)
          yield* many(gateway.url, 4096)
          const held = gateway.stderr.length
          yield* gateway.readStderr(true)
          const told = yield* eventually(
            Effect.sync(() => gateway.stderr.slice(held).find((line) => line.includes("lines were dropped"))),
            () => `${gateway.stderr.length} lines`
          )
          const dropped = Number(/dropped\D+(\d+)/.exec(told.replace("lines were dropped", ""))?.[1])
          // What is held is 1 MiB, one batch, and what the system keeps of a pipe: less than half of 9 MB. All else is gone.
          assert.isAbove(dropped, 2048)
          yield* ask(`${gateway.url}/v1/models`)
          yield* gateway.signal("SIGTERM")
          assert.strictEqual(yield* gateway.ended, 0)
          // Every request is either there or counted.
          const kept = gateway.stderr.filter((line) => line.includes("x".repeat(1900))).length
          assert.closeTo(kept + dropped, 512 + 4096, 8)
        })
    )
  }

  it.live("does not hold up the end of the program", () =>
    Effect.gen(function* () {
      const gateway = yield* serve({})
      yield* gateway.readStderr(false)
      yield* many(gateway.url, 2048)
      yield* gateway.signal("SIGTERM")
      assert.strictEqual(yield* gateway.ended, 0)
    })
  )
})
