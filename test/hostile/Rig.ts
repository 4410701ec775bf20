/** A gateway in front of a recording backend, and what can be read off it from outside. */
import type { Socket } from "node:net"
import { Effect } from "effect"
import { ask } from "../e2e/Ask.ts"
import { eventually, type Gateway, serve } from "../e2e/Program.ts"
import { record } from "./Recorder.ts"

export interface RigOptions {
  readonly listener?: object
  /** Another listener. */
  readonly second?: object
  readonly more?: object
  readonly answer?: (socket: Socket, heard: string) => void
}

/** Ready, with one backend `engine` that serves the model `m`. */
export const setUp = Effect.fnUntraced(function* ({ answer, listener, more, second }: RigOptions = {}) {
  const recorder = yield* record(answer)
  const gateway = yield* serve({
    listeners: [{ port: 0, ...listener }, ...(second === undefined ? [] : [second])],
    backends: [{ name: "engine", url: recorder.url }],
    ...more
  })
  yield* eventually(
    Effect.map(ask(`${gateway.url}/readyz`), ({ status }) => (status === 200 ? true : undefined)),
    () => "a ready gateway"
  )
  return { recorder, gateway, url: gateway.url }
})

/** A value of the gateway's own metrics; 0 where it is not there. */
export const metric = (gateway: Gateway, series: string): Effect.Effect<number> =>
  Effect.map(ask(`${gateway.url}/metrics`), ({ text }) => {
    const line = text.split("\n").find((each) => each.startsWith(`${series} `))
    return line === undefined ? 0 : Number(line.slice(series.length + 1))
  })

/** Resident memory, in MiB. */
export const memory = (gateway: Gateway): Effect.Effect<number> =>
  Effect.map(metric(gateway, "process_resident_memory_bytes"), (bytes) => bytes / 1024 / 1024)
