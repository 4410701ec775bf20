/** Backends that answer probes as the test says, and note what they were asked, when, and whether it was given up. */

import { Effect, Layer } from "effect"
import type { Chunks } from "../../src/domain/Bytes.ts"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { bodyByReading } from "../../src/transport/Body.ts"
import {
  BodyEnd,
  UpstreamFailed,
  type UpstreamRequest,
  UpstreamTransport
} from "../../src/transport/UpstreamTransport.ts"
import { transportBySending } from "../transport/DirectForms.ts"

/**
 * `silence`: no head, ever; `stall`: a head and no body; `refuse`: nothing listens; `shortage`: we lack descriptors to
 * ask; `bug`: something breaks in us.
 */
export type Reply =
  | "silence"
  | "stall"
  | "refuse"
  | "shortage"
  | "bug"
  | { readonly status: number; readonly body?: unknown }

export interface Asked {
  readonly at: number
  readonly backend: string
  readonly path: string
  readonly request: UpstreamRequest
}

export class ScriptedBackends {
  readonly asked: Array<Asked> = []
  /** Exchanges that were given up, or whose answer was let go. */
  released = 0
  #answer: (backend: string, path: string) => Reply | Effect.Effect<Reply> = () => ok

  /** From now on. */
  answer(how: (backend: string, path: string) => Reply | Effect.Effect<Reply>): void {
    this.#answer = how
  }

  /** When a backend was asked for a path, in milliseconds. */
  times(backend: string, path?: string): ReadonlyArray<number> {
    return this.asked.filter((one) => one.backend === backend && (path ?? one.path) === one.path).map(({ at }) => at)
  }

  readonly layer = Layer.effect(
    UpstreamTransport,
    Effect.gen({ self: this }, function* () {
      const clock = yield* MonotonicClock
      const release = () => {
        this.released++
      }
      return transportBySending(
        yield* Effect.context(),
        Effect.fnUntraced({ self: this }, function* (request) {
          const { name } = request.backend
          this.asked.push({ at: clock.now(), backend: name, path: request.path, request })
          const answer = this.#answer(name, request.path)
          const reply = Effect.isEffect(answer) ? yield* Effect.onInterrupt(answer, () => Effect.sync(release)) : answer
          if (reply === "silence") return yield* Effect.onInterrupt(Effect.never, () => Effect.sync(release))
          if (reply === "refuse") return yield* new UpstreamFailed({ kind: "connect", detail: "ECONNREFUSED" })
          if (reply === "shortage") return yield* new UpstreamFailed({ kind: "local", detail: "EMFILE" })
          if (reply === "bug") return yield* Effect.die(new Error("a bug"))
          let read = false
          const body = reply === "stall" ? undefined : textOf(reply.body)
          const reading = Effect.suspend((): Effect.Effect<Chunks | BodyEnd> => {
            if (body === undefined) return Effect.never
            if (read || body === "") return Effect.succeed(new BodyEnd(undefined))
            read = true
            return Effect.succeed([new TextEncoder().encode(body)] as const)
          })
          return {
            status: reply === "stall" ? 200 : reply.status,
            headers: {},
            ...bodyByReading(reading, release),
            wake: () => {}
          }
        })
      )
    })
  )
}

export const ok: Reply = { status: 200, body: { object: "list", data: [{ id: "m", created: 1, owned_by: "x" }] } }

const textOf = (body: unknown): string => (typeof body === "string" ? body : JSON.stringify(body ?? ""))
