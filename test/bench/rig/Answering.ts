/** Ports, and when a program answers on one. */
import { createServer } from "node:net"
import { Effect, Schedule, Schema } from "effect"
import { BenchFailed, type Child } from "./Children.ts"

/** A port that nothing listens on, for programs that must be told one. */
export const freePort: Effect.Effect<number, BenchFailed> = Effect.callback((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" ? address?.port : undefined
    server.close(() => resume(port === undefined ? new BenchFailed({ message: "no free port" }) : Effect.succeed(port)))
  })
})

const patience = "30 seconds"

/** Asks until 200 comes; gives up when the process ends, or after {@link patience}. */
export const untilAnswers = (port: number, path: string, child: Child): Effect.Effect<void, BenchFailed> => {
  const ended = () => child.process.exitCode !== null || child.process.signalCode !== null
  const ask = Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { signal })
      await response.arrayBuffer()
      return response.status
    },
    catch: () => "not yet" as const
  })
  return ask.pipe(
    Effect.flatMap((status) => (status === 200 ? Effect.void : Effect.fail("not yet" as const))),
    Effect.retry({
      schedule: Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: patience })),
      while: () => !ended()
    }),
    Effect.mapError(
      () =>
        new BenchFailed({
          message:
            `${child.process.spawnargs.slice(-4).join(" ")} ` +
            (ended() ? `ended before it answered ${path}` : `does not answer ${path} within ${patience}`) +
            `\n${child.finalEvent()}`
        })
    )
  )
}

const Counts = Schema.Struct({ traces: Schema.Int, traceBytes: Schema.Int })

/** What a sink of traces has been sent so far. */
export const tracesAt = (port: number) =>
  Effect.tryPromise({
    try: async (signal): Promise<unknown> => {
      const response = await fetch(`http://127.0.0.1:${port}/bench/stats`, { signal })
      return response.json()
    },
    catch: (cause) => new BenchFailed({ message: `the sink of traces is gone: ${String(cause)}` })
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Counts)),
    Effect.catchTag("SchemaError", (error) => new BenchFailed({ message: error.message }))
  )
