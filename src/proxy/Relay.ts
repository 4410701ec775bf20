/**
 * From an answer to what the client gets: headers cleaned, the body byte for byte as it comes, while an observer times
 * it and watches whether the end is a real one.
 */
import { Cause, Effect, Stream } from "effect"
import { BodyEnd, type Chunks, UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import type { BackendEntry } from "../registry/Registry.ts"
import type { Answer } from "./Ask.ts"
import type { EndJudge } from "./EndJudge.ts"
import { downwardHeaders } from "./HeaderHygiene.ts"
import type { Mission } from "./Mission.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { RequestReport, StreamEnd } from "./RequestReport.ts"
import { ContentRecorder, usageAttributes } from "./RequestTrace.ts"
import { errorEvent } from "./StreamError.ts"
import { readUsage } from "./Usage.ts"

export interface ProxyResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Record<string, string>
  readonly cookies: ReadonlyArray<string>
  /** All of it, or a stream whose failure means: break the connection, the rest will not come. */
  readonly body: Uint8Array | Stream.Stream<Uint8Array, UpstreamFailed>
  /** Of a body that is a stream, where it is known. */
  readonly contentLength: number | undefined
}

export const makeRelay =
  ({ metrics }: ProxyServices) =>
  (mission: Mission, answer: Answer, report: RequestReport): ProxyResponse => {
    const { flight } = mission
    const { attempt, response } = answer
    const { backend } = attempt.member
    const { cookies, headers } = downwardHeaders(response.headers)
    headers["x-routed-node"] = backend.name
    headers["x-weir-attempts"] = String(flight.allAttempts)
    if (flight.sticky !== undefined) {
      headers["x-weir-sticky"] = flight.sticky
      metrics.sticky(flight.pool.name, flight.sticky)(1)
    }
    headers["server-timing"] =
      `queue;dur=${flight.queued.toFixed(1)}, upstream;dur=${(attempt.headAt - attempt.sentAt).toFixed(1)}`
    if ((response.status === 429 || response.status === 503) && headers["retry-after"] === undefined) {
      headers["retry-after"] = "1"
    }
    const model = labelOf(backend, mission.model)

    const observed = (judge: EndJudge | undefined, whole: Uint8Array | undefined) => {
      flight.usage = judge?.usage() ?? (whole && readUsage(Buffer.from(whole.buffer, whole.byteOffset, whole.length)))
      const completion = flight.usage?.completion ?? judge?.outputs ?? 0
      if (flight.usage !== undefined) metrics.tokens(flight.pool.name, model, "prompt")(flight.usage.prompt)
      if (completion > 0) metrics.tokens(flight.pool.name, model, "completion")(completion)
    }
    const recorder = flight.trace?.captureContent === true ? new ContentRecorder() : undefined
    const ended = (end: StreamEnd, whole?: Uint8Array) => {
      report.end = end
      attempt.atEase()
      flight.upstream += flight.now() - attempt.sentAt
      observed(answer.judge, whole)
      if (flight.trace === undefined) return
      report.usage = flight.usage
      if (whole !== undefined) recorder?.push(whole)
      attempt.tell(
        { ...usageAttributes(flight.usage), ...recorder?.attributes() },
        end === "complete" ? undefined : end
      )
    }

    if (answer.judge === undefined) {
      const contentLength = declaredLength(response)
      if (answer.complete) {
        const body = concat(answer.held)
        ended("complete", body)
        // The answer to HEAD has the length of a body that it does not have.
        return flight.method === "HEAD"
          ? { status: response.status, headers, cookies, body: Stream.empty, contentLength }
          : { status: response.status, headers, cookies, body, contentLength: undefined }
      }
      return {
        status: response.status,
        headers,
        cookies,
        body: Stream.fromPull(Effect.succeed(plainPull(answer, ended))),
        contentLength
      }
    }

    headers["cache-control"] = "no-cache"
    headers["x-accel-buffering"] = "no"
    // What is passed through may begin long before it says anything.
    if (!mission.passedThrough) {
      report.firstOutput = flight.now() - report.receivedAt
      metrics.firstToken(flight.pool.name, model)(report.firstOutput / 1000)
      backend.state.firstToken.record(flight.now() - attempt.sentAt, flight.now())
    }
    const gap = metrics.interToken(flight.pool.name, model)
    return {
      status: response.status,
      headers,
      cookies,
      body: Stream.fromPull(
        Effect.succeed(
          eventPull(mission, answer, answer.judge, recorder, gap, (end) => {
            ended(end)
            metrics.streamEnds(flight.pool.name, end)(1)
          })
        )
      ),
      contentLength: undefined
    }
  }

type Pull<E> = Effect.Effect<Chunks, E | Cause.Done>

/** A body of which only the connection tells whether it is complete: if not, the client's connection is broken too. */
const plainPull = (answer: Answer, ended: (end: StreamEnd) => void): Pull<UpstreamFailed> => {
  const { attempt } = answer
  let held: ReadonlyArray<Uint8Array> = answer.held
  const onRead = (read: Chunks | BodyEnd): Pull<UpstreamFailed> => {
    attempt.atEase()
    if (!(read instanceof BodyEnd)) return Effect.succeed(read)
    if (read.failure === undefined) {
      ended("complete")
      return Cause.done()
    }
    ended(attempt.expired === undefined ? "upstream_truncated" : "upstream_timeout")
    if (attempt.expired === undefined) attempt.brokeOff()
    return Effect.fail(read.failure)
  }
  return Effect.suspend(() => {
    const [first, ...rest] = held
    held = []
    if (first !== undefined) return Effect.succeed([first, ...rest] as const)
    attempt.awaitPiece(answer.streams)
    return Effect.flatMapEager(answer.response.read, onRead)
  })
}

/** Events: a cut ends in an event that says so, and in an orderly end of the response. */
const eventPull = (
  mission: Mission,
  answer: Answer,
  judge: EndJudge,
  recorder: ContentRecorder | undefined,
  gap: (seconds: number) => void,
  ended: (end: StreamEnd) => void
): Pull<UpstreamFailed> => {
  const { dialect, flight } = mission
  const { attempt } = answer
  const { health } = attempt.member.backend.state
  let held: ReadonlyArray<Uint8Array> = answer.held
  let over = false
  let lastAt = flight.now()

  const finish = (end: BodyEnd | undefined): Pull<UpstreamFailed> => {
    const outcome = judgeEnd(judge, end?.failure, attempt.expired !== undefined)
    ended(outcome)
    over = true
    if (outcome === "complete") return Cause.done()
    if (judge.errorSent && end?.failure === undefined) return Cause.done()
    if (outcome !== "upstream_timeout") attempt.brokeOff()
    if (judge.errorSent && dialect !== "none") return Cause.done()
    // What is passed through by path speaks a dialect that we do not know: there the connection must tell.
    if (dialect === "none") return Effect.fail(end?.failure ?? cutOff)
    return Effect.succeed([errorEvent(dialect, outcome, judge.atLineEnd)])
  }
  const onRead = (read: Chunks | BodyEnd): Pull<UpstreamFailed> => {
    if (read instanceof BodyEnd) return finish(read)
    const now = flight.now()
    gap((now - lastAt) / 1000)
    lastAt = now
    health.lastDelivery = now
    attempt.atEase()
    for (const piece of read) judge.push(piece)
    if (recorder !== undefined) for (const piece of read) recorder.push(piece)
    return Effect.succeed(read)
  }
  return Effect.suspend(() => {
    const [first, ...rest] = held
    held = []
    if (first !== undefined) {
      if (recorder !== undefined) for (const piece of [first, ...rest]) recorder.push(piece)
      return Effect.succeed([first, ...rest] as const)
    }
    if (over) return Cause.done()
    if (answer.complete) return finish(undefined)
    attempt.awaitPiece(true)
    return Effect.flatMapEager(answer.response.read, onRead)
  })
}

const cutOff = new UpstreamFailed({ kind: "reset", detail: "the stream ended without its end" })

const judgeEnd = (
  judge: EndJudge,
  failure: UpstreamFailed | undefined,
  expired: boolean
): Exclude<StreamEnd, "client_gone"> => {
  if (judge.errorSent) return "upstream_error"
  if (judge.saidAll) return "complete"
  if (failure === undefined) return judge.verdict() === "truncated" ? "upstream_truncated" : "complete"
  if (expired) return "upstream_timeout"
  return failure.kind === "reset" ? "upstream_truncated" : "upstream_error"
}

const declaredLength = ({ headers }: UpstreamResponse): number | undefined => {
  const declared = Number(headers["content-length"] ?? Number.NaN)
  return Number.isFinite(declared) ? declared : undefined
}

const concat = (pieces: ReadonlyArray<Uint8Array>): Uint8Array => {
  const [first] = pieces
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces)
}

/** A label only for what a backend really serves: no client makes a series. */
const labelOf = (backend: BackendEntry, model: string | undefined): string => {
  if (model === undefined) return "other"
  return (backend.models?.has(model) ?? backend.state.models?.has(model) ?? false) ? model : "other"
}
