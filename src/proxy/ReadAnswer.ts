/**
 * Reads an answer until it is known whether it is worth keeping: a stream until its first output, what does not stream
 * to its end where that is near.
 */
import { Effect } from "effect"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import type { Attempt } from "./Attempt.ts"
import { EndJudge } from "./EndJudge.ts"
import type { Mission } from "./Mission.ts"

/** A head, and as much of the body as was read before anything had to be decided. */
export interface Answer {
  /** Who gave it. */
  readonly attempt: Attempt
  readonly response: UpstreamResponse
  readonly held: ReadonlyArray<Uint8Array>
  /** Whether `held` is all of it. */
  readonly complete: boolean
  /** Whether its silence counts, and not how long it takes as a whole. */
  readonly streams: boolean
  /** For an answer that is a stream of events. */
  readonly judge: EndJudge | undefined
}

/** An answer of at most this many bytes is read to its end before the client gets any of it. */
const holdBytes = 1024 * 1024

/** Events until the first output, other bodies to their end if that is near; what has no known form not at all. */
export const readAnswer = Effect.fnUntraced(function* (
  mission: Mission,
  attempt: Attempt,
  response: UpstreamResponse
): Effect.fn.Return<Answer | UpstreamFailed> {
  const { passedThrough } = mission
  const events = isEventStream(mission, response)
  const streams = events || (passedThrough && !isShort(mission, response))
  const judge = events ? new EndJudge(mission.dialect, mission.choices) : undefined
  const held: Array<Uint8Array> = []
  if (response.socket !== undefined) return { attempt, response, held, complete: false, streams, judge }
  if (streams) attempt.awaitOutput()
  if (streams && passedThrough) return { attempt, response, held, complete: false, streams, judge }
  let size = 0
  for (;;) {
    const read = yield* response.read
    if (read instanceof BodyEnd) {
      const cut = read.failure ?? (events && judge?.outputs === 0 ? nothingSaid : undefined)
      return cut ?? { attempt, response, held, complete: true, streams, judge }
    }
    for (const piece of read) {
      held.push(piece)
      size += piece.length
      judge?.push(piece)
    }
    if (size >= holdBytes || (judge !== undefined && judge.outputs > 0)) {
      return { attempt, response, held, complete: false, streams, judge }
    }
  }
})

/** What is no success is passed on as it is, whatever its form. */
const isEventStream = ({ dialect }: Mission, { headers, status }: UpstreamResponse): boolean => {
  const type = headers["content-type"]
  const pattern = dialect === "ollama" ? /^application\/(?:x-)?ndjson/i : /^text\/event-stream/i
  return status < 300 && typeof type === "string" && pattern.test(type)
}

/** Whether the end of an answer is near, so that it can be waited for; else it may be a stream of any kind. */
const isShort = ({ flight: { method } }: Mission, { headers, status }: UpstreamResponse): boolean =>
  method === "HEAD" ||
  status === 204 ||
  isRedirect(status) ||
  Number(headers["content-length"] ?? Number.NaN) <= holdBytes

/** What a client is sent elsewhere by; its body, if it has one, is a page for a person. */
export const isRedirect = (status: number): boolean => status >= 300 && status < 400 && status !== 304

const nothingSaid = new UpstreamFailed({ kind: "reset", detail: "the stream ended before its first event" })
