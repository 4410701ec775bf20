/**
 * A Node process asked from outside and without its help. Its inspector is open, on the port that it was started with;
 * while nothing is connected it costs nothing.
 */
import { Effect, Schema } from "effect"
import { untilAnswers } from "./Answering.ts"
import { BenchFailed, type Child } from "./Children.ts"

export interface Inspected {
  readonly child: Child
  readonly port: number
}

const Targets = Schema.NonEmptyArray(Schema.Struct({ webSocketDebuggerUrl: Schema.String }))

const Answer = Schema.fromJsonString(
  Schema.Struct({
    result: Schema.Struct({ result: Schema.optionalKey(Schema.Struct({ value: Schema.optionalKey(Schema.Json) })) })
  })
)

const inspectorAt = Effect.fnUntraced(function* ({ child, port }: Inspected) {
  yield* untilAnswers(port, "/json/list", child)
  const [{ webSocketDebuggerUrl }] = yield* Effect.tryPromise({
    try: async (signal): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}/json/list`, { signal })).json(),
    catch: (cause) => new BenchFailed({ message: `the inspector does not answer: ${String(cause)}` })
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Targets)),
    Effect.catchTag("SchemaError", (error) => new BenchFailed({ message: error.message }))
  )
  return webSocketDebuggerUrl
})

/** One command; returns when it is done, with the value that it came to, if any. */
export const command = Effect.fnUntraced(function* (inspected: Inspected, method: string, params: object = {}) {
  const url = yield* inspectorAt(inspected)
  const text = yield* Effect.callback<unknown, BenchFailed>((resume) => {
    const socket = new WebSocket(url)
    socket.addEventListener("open", () => socket.send(JSON.stringify({ id: 1, method, params })))
    socket.addEventListener("message", ({ data }) => {
      socket.close()
      resume(Effect.succeed(data))
    })
    socket.addEventListener("error", () => resume(new BenchFailed({ message: `no inspector at ${url}` })))
    return Effect.sync(() => socket.close())
  })
  const { result } = yield* Schema.decodeUnknownEffect(Answer)(text).pipe(
    Effect.catchTag("SchemaError", ({ message }) => new BenchFailed({ message: `${method}: ${message}` }))
  )
  return result.result?.value
})
