/**
 * Makes a Node process collect its garbage, from outside and without its help: what its memory is then is what it
 * really holds. Its inspector is open, on the port that the process was started with.
 */
import { Effect, Schema } from "effect"
import { untilAnswers } from "./Answering.ts"
import { BenchFailed, type Child } from "./Children.ts"

export interface Inspected {
  readonly child: Child
  readonly port: number
}

const Targets = Schema.NonEmptyArray(Schema.Struct({ webSocketDebuggerUrl: Schema.String }))

/** Returns when the collection has ended. */
export const collectGarbage = Effect.fnUntraced(function* ({ child, port }: Inspected) {
  yield* untilAnswers(port, "/json/list", child)
  const [{ webSocketDebuggerUrl }] = yield* Effect.tryPromise({
    try: async (signal): Promise<unknown> => (await fetch(`http://127.0.0.1:${port}/json/list`, { signal })).json(),
    catch: (cause) => new BenchFailed({ message: `the inspector does not answer: ${String(cause)}` })
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Targets)),
    Effect.catchTag("SchemaError", (error) => new BenchFailed({ message: error.message }))
  )
  yield* command(webSocketDebuggerUrl, "HeapProfiler.collectGarbage")
})

const command = (url: string, method: string): Effect.Effect<void, BenchFailed> =>
  Effect.callback((resume) => {
    const socket = new WebSocket(url)
    socket.addEventListener("open", () => socket.send(JSON.stringify({ id: 1, method })))
    socket.addEventListener("message", () => {
      socket.close()
      resume(Effect.void)
    })
    socket.addEventListener("error", () => resume(new BenchFailed({ message: `no inspector at ${url}` })))
    return Effect.sync(() => socket.close())
  })
