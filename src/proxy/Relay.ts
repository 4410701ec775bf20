/**
 * From an answer to what the client gets: headers cleaned, the body byte for byte as it comes, while an observer times
 * it and watches whether the end is a real one.
 */
import { Effect } from "effect"
import { type BodySink, joined, UpstreamFailed, type UpstreamResponse } from "../backend/UpstreamTransport.ts"
import { isEventStream } from "./AnswerForm.ts"
import type { EndJudge } from "./EndJudge.ts"
import { downwardHeaders } from "./HeaderHygiene.ts"
import type { Mission } from "./Mission.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import { type Answer, isRedirect } from "./ReadAnswer.ts"
import type { RequestReport, StreamEnd } from "./RequestReport.ts"
import { ContentRecorder, usageAttributes } from "./RequestTrace.ts"
import { isOverload } from "./StandIn.ts"
import { errorEvent } from "./StreamError.ts"
import type { StreamedError } from "./StreamedError.ts"
import { type Tunnel, tunnelTo } from "./Tunnel.ts"
import { readEvalCounts, readUsage } from "./Usage.ts"

export interface ProxyResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Record<string, string>
  readonly cookies: ReadonlyArray<string>
  /** All of it, or one that comes while it is sent on. */
  readonly body: Uint8Array | Relayed
  /** Of a body that is still to come, where it is known. */
  readonly contentLength: number | undefined
  /** Only of a 101, in place of a body: what goes on over the client's connection from then on. */
  readonly tunnel?: Tunnel | undefined
}

/** Hands a body to whoever sends it, to its end. Its failure means: break the connection, the rest will not come. */
export type Relayed = (sink: BodySink) => Effect.Effect<void, UpstreamFailed>

const nothing: Relayed = () => Effect.void

export const makeRelay =
  ({ adapters, metrics, modelLabels }: ProxyServices) =>
  (mission: Mission, answer: Answer, report: RequestReport): ProxyResponse => {
    const { flight } = mission
    const { attempt, response } = answer
    const { backend } = attempt.member
    const concealed = adapters.conceal(backend.config, response.headers, mission.path)
    const { cookies, headers } = downwardHeaders(concealed)
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
    if (isFinal(response.status, flight.allAttempts)) headers["x-should-retry"] = "false"
    const model = modelLabels.of(backend, mission.model)

    const read = mission.dialect === "ollama" ? readEvalCounts : readUsage
    const observed = (judge: EndJudge | undefined, whole: Uint8Array | undefined) => {
      flight.usage = judge?.usage() ?? (whole && read(Buffer.from(whole.buffer, whole.byteOffset, whole.length)))
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

    if (response.socket !== undefined) {
      const tunnel = tunnelTo(attempt, response.socket, (end) => {
        ended(end)
        metrics.streamEnds(flight.pool.name, end)(1)
      })
      return { status: response.status, headers, cookies, body: nothing, contentLength: undefined, tunnel }
    }
    if (isRedirect(response.status) && flight.method !== "HEAD" && !isHarmless(answer, adapters)) {
      response.cancel()
      ended("complete")
      delete headers["content-type"]
      delete headers["content-encoding"]
      return { status: response.status, headers, cookies, body: new Uint8Array(0), contentLength: undefined }
    }
    if (answer.judge === undefined) {
      const contentLength = declaredLength(response)
      if (answer.complete) {
        const body = joined(answer.held)
        ended("complete", body)
        // The answer to HEAD has the length of a body that it does not have.
        return flight.method === "HEAD"
          ? { status: response.status, headers, cookies, body: nothing, contentLength }
          : { status: response.status, headers, cookies, body, contentLength: undefined }
      }
      return {
        status: response.status,
        headers,
        cookies,
        body: plainBody(answer, ended),
        contentLength
      }
    }

    headers["cache-control"] = "no-cache"
    headers["x-accel-buffering"] = "no"
    // Clients look at the label before they look at an event: under another one many would wait for a document.
    if (mission.dialect !== "ollama" && !isEventStream(mission, response)) headers["content-type"] = "text/event-stream"
    const gap = metrics.interToken(flight.pool.name, model)
    const events: Events = {
      judge: answer.judge,
      recorder,
      gap: (millis) => gap(millis / 1000),
      spoke: (now) => {
        // What is passed through may begin long before it says anything.
        if (mission.passedThrough) return
        report.firstOutput = now - report.receivedAt
        metrics.firstToken(flight.pool.name, model)(report.firstOutput / 1000)
        backend.state.firstToken.record(now - attempt.sentAt, now)
      },
      failed: ({ status }) => adapters.classify(backend.config, status) === "backend_fault",
      ended: (end) => {
        ended(end)
        metrics.streamEnds(flight.pool.name, end)(1)
      }
    }
    return {
      status: response.status,
      headers,
      cookies,
      body: eventBody(mission, answer, events),
      contentLength: undefined
    }
  }

/**
 * Whether an SDK's own retries would only multiply those that were made here, or cannot help. Back-pressure is not
 * among it: it has a time after which another try is welcome.
 */
const isFinal = (status: number, attempts: number): boolean =>
  status === 501 || status === 505 || (status >= 400 && attempts > 1 && !isOverload(status))

/** Whether the page of a redirect may be shown: it is there as a whole, can be read, and does not name the backend. */
const isHarmless = ({ attempt, complete, held, response }: Answer, adapters: ProxyServices["adapters"]): boolean => {
  if (!complete || response.headers["content-encoding"] !== undefined) return false
  return held.length === 0 || !adapters.isNamedIn(attempt.member.backend.config, Buffer.concat(held).toString("latin1"))
}

/** A body of which only the connection tells whether it is complete: if not, the client's connection is broken too. */
const plainBody =
  (answer: Answer, ended: (end: StreamEnd) => void): Relayed =>
  (sink) =>
    Effect.suspend(() => {
      const { attempt, balance, held, response, streams } = answer
      for (const piece of held) sink.take(piece)
      attempt.awaitPiece(streams)
      const observe = balance && ((piece: Uint8Array) => balance.push(piece))
      return Effect.flatMap(response.pour(watched(answer, sink, observe)), (end) => {
        attempt.atEase()
        const failure = end.failure ?? (balance?.isWhole === false ? cutDocument : undefined)
        if (failure === undefined) {
          ended("complete")
          return Effect.void
        }
        ended(attempt.expired === undefined ? "upstream_truncated" : "upstream_timeout")
        if (attempt.expired === undefined) attempt.brokeOff()
        return Effect.fail(failure)
      })
    })

/** How long a connection may stay open after all was said: the client waits for its end, and nobody for anything else. */
const endPatienceMillis = 1000

/** What watches a stream of events go by, and is told of what becomes of it. */
interface Events {
  readonly judge: EndJudge
  readonly recorder: ContentRecorder | undefined
  /** Milliseconds between two pieces. */
  readonly gap: (millis: number) => void
  /** The first output has come. */
  readonly spoke: (now: number) => void
  /** Whether an error that the backend told in its stream is its own fault. */
  readonly failed: (error: StreamedError) => boolean
  readonly ended: (end: StreamEnd) => void
}

/** Events: a cut ends in an event that says so, and in an orderly end of the response. */
const eventBody = (mission: Mission, answer: Answer, events: Events): Relayed => {
  const { dialect, flight } = mission
  const { attempt, complete, held, response } = answer
  const { ended, failed, gap, judge, recorder, spoke } = events
  const { health } = attempt.member.backend.state

  const finish = (sink: BodySink, failure: UpstreamFailed | undefined): Effect.Effect<void, UpstreamFailed> => {
    judge.end()
    const outcome = judgeEnd(judge, failure, attempt.expired !== undefined)
    ended(outcome)
    if (outcome === "complete") return Effect.void
    const { error } = judge
    const isBlamed = error === undefined ? outcome !== "upstream_timeout" : failed(error)
    if (isBlamed) attempt.brokeOff(error === undefined ? "broken" : "failure")
    // The client knows already.
    if (error !== undefined && (failure === undefined || dialect !== "none")) return Effect.void
    // What is passed through by path speaks a dialect that we do not know: there the connection must tell.
    if (dialect === "none") return Effect.fail(failure ?? cutOff)
    sink.take(errorEvent(dialect, outcome, judge.atLineEnd))
    return Effect.void
  }
  return (sink) =>
    Effect.suspend(() => {
      let lastAt = flight.now()
      let hasSpoken = judge.hasOutput || mission.passedThrough
      if (hasSpoken) spoke(lastAt)
      for (const piece of held) {
        recorder?.push(piece)
        sink.take(piece)
      }
      if (complete) return finish(sink, undefined)
      const observe = (piece: Uint8Array, now: number) => {
        gap(now - lastAt)
        lastAt = now
        health.lastDelivery = now
        judge.push(piece)
        recorder?.push(piece)
        if (hasSpoken || !judge.hasOutput) return
        hasSpoken = true
        spoke(now)
      }
      if (judge.saidAll) attempt.awaitEnd(endPatienceMillis, lastAt)
      else attempt.awaitPiece(true, lastAt)
      return Effect.flatMap(response.pour(watched(answer, sink, observe)), (end) => finish(sink, end.failure))
    })
}

/** Lets somebody see each piece; the next one is awaited, but not while the client takes its time with the last. */
const watched = (
  { attempt, judge, streams }: Answer,
  sink: BodySink,
  observe: ((piece: Uint8Array, now: number) => void) | undefined
): BodySink => {
  let isOver = judge?.saidAll ?? false
  return {
    take: (piece) => {
      const now = attempt.now()
      observe?.(piece, now)
      const isReady = sink.take(piece)
      if (!isReady) attempt.atEase()
      else if (!isOver && judge?.saidAll === true) attempt.awaitEnd(endPatienceMillis, now)
      else if (!isOver) attempt.awaitPiece(streams, now)
      isOver ||= judge?.saidAll === true
      return isReady
    },
    onceReady: (ready) =>
      sink.onceReady(() => {
        if (isOver) attempt.awaitEnd(endPatienceMillis)
        else attempt.awaitPiece(streams)
        ready()
      })
  }
}

const cutDocument = new UpstreamFailed({ kind: "reset", detail: "the connection ended in the middle of a document" })
const cutOff = new UpstreamFailed({ kind: "reset", detail: "the stream ended without its end" })

const judgeEnd = (
  judge: EndJudge,
  failure: UpstreamFailed | undefined,
  expired: boolean
): Exclude<StreamEnd, "client_gone"> => {
  if (judge.error !== undefined) return "upstream_error"
  if (judge.saidAll) return "complete"
  if (failure === undefined) return judge.verdict() === "truncated" ? "upstream_truncated" : "complete"
  if (expired) return "upstream_timeout"
  return failure.kind === "reset" ? "upstream_truncated" : "upstream_error"
}

const declaredLength = ({ headers }: UpstreamResponse): number | undefined => {
  const declared = Number(headers["content-length"] ?? Number.NaN)
  return Number.isFinite(declared) ? declared : undefined
}
