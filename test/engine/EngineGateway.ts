/** The built gateway in front of real llama-servers. */
import { Effect, Schema } from "effect"
import { ask } from "../e2e/Ask.ts"
import { eventually, serve } from "../e2e/Program.ts"
import { type LlamaServer, llamaServer } from "./LlamaServer.ts"

/** A gateway that has found all of its `count` engines well. */
export const engineGateway = Effect.fnUntraced(function* (count: number) {
  const engines = yield* Effect.forEach(Array.from({ length: count }), () => llamaServer())
  const gateway = yield* serve({
    health: { interval: "500ms" },
    backends: engines.map(({ url }, index) => ({ name: `llama-${index}`, url, adapter: "llama-cpp" }))
  })
  yield* eventually(
    Effect.map(ask(`${gateway.url}/readyz`), ({ text }) => (text.includes(`"healthy":${count},`) ? true : undefined)),
    () => engines.map(({ log }) => log.slice(-5).join("\n")).join("\n")
  )
  return { engines, stderr: gateway.stderr, url: gateway.url }
})

/** Waits until an engine has loaded its model. */
export const loaded = ({ log, url }: LlamaServer) =>
  eventually(
    Effect.promise(() =>
      fetch(`${url}/health`).then(
        ({ ok }) => (ok ? true : undefined),
        () => undefined
      )
    ),
    () => log.slice(-5).join("\n")
  )

const Stats = Schema.Struct({
  backends: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      health: Schema.String,
      circuit: Schema.String,
      requests: Schema.Int,
      failures: Schema.Int
    })
  )
})
const decodeStats = Schema.decodeUnknownSync(Stats)

/** What the gateway thinks of its backends. */
export const standings = (url: string) => Effect.map(ask(`${url}/stats`), ({ json }) => decodeStats(json).backends)
