/**
 * From an answer to what the client gets: headers cleaned, the body byte for byte as it comes, while an observer times
 * it and watches whether the end is a real one.
 */
import { Effect } from "effect"
import { BackendAdapter } from "../backend/BackendAdapter.ts"
import { asBuffer, joined } from "../domain/Bytes.ts"
import { isEventStream, isRedirect } from "../protocol/AnswerForm.ts"
import { toClient } from "../protocol/HeaderFilter.ts"
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { readEvalCounts, readUsage } from "../protocol/Usage.ts"
import { ModelLabels } from "../registry/ModelLabels.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import type { UpstreamResponse } from "../transport/UpstreamTransport.ts"
import type { RequestState } from "./RequestState.ts"
import { ContentRecorder, usageAttributes } from "./RequestTrace.ts"
import { eventBody, noBody, plainBody, type StreamBody } from "./StreamBody.ts"
import { type Tunnel, tunnelTo } from "./Tunnel.ts"
import type { UpstreamAnswer } from "./UpstreamAnswer.ts"

export interface ProxyResponse {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Record<string, string>
  readonly cookies: ReadonlyArray<string>
  /** All of it, or one that comes while it is sent on. */
  readonly body: Uint8Array | StreamBody
  /** Of a body that is still to come, where it is known. */
  readonly contentLength: number | undefined
  /**
   * Of a stream of events that the gateway gives up while it runs, because it stops: how it ends, for a client that is
   * still there. `undefined`: the connection is broken.
   */
  readonly finalEvent?: (() => Uint8Array | undefined) | undefined
  /** Only of a 101, in place of a body: what goes on over the client's connection from then on. */
  readonly tunnel?: Tunnel | undefined
}

export const makeRelay = Effect.gen(function* () {
  const adapters = yield* BackendAdapter
  const metrics = yield* Metrics
  const modelLabels = yield* ModelLabels

  const headersOf = (state: RequestState, { attempt, response }: UpstreamAnswer) => {
    const { report, request, sticky } = state
    const { backend } = attempt.member
    const concealed = adapters.conceal(backend.config, response.headers, request.path)
    const { cookies, headers } = toClient(concealed)
    headers["x-routed-node"] = backend.name
    headers["x-weir-attempts"] = String(report.attempts)
    if (sticky !== undefined) {
      headers["x-weir-sticky"] = sticky
      metrics.sticky({ pool: state.plan.pool.name, outcome: sticky })(1)
    }
    headers["server-timing"] =
      `queue;dur=${report.queued.toFixed(1)}, upstream;dur=${(attempt.headAt - attempt.sentAt).toFixed(1)}`
    if ((response.status === 429 || response.status === 503) && headers["retry-after"] === undefined) {
      headers["retry-after"] = "1"
    }
    if (isFinal(response.status, report.attempts)) headers["x-should-retry"] = "false"
    return { cookies, headers }
  }

  /** Watches an answer go by, and notes what became of it. */
  const observe = (state: RequestState, { attempt, detector }: UpstreamAnswer): Observer => {
    const { report } = state
    const { dialect, pool, route, trace } = state.plan
    const model = modelLabels.of(attempt.member.backend, route.model)
    const readWhole = dialect === "ollama" ? readEvalCounts : readUsage
    const recorder = trace?.captureContent === true ? new ContentRecorder() : undefined
    const countTokens = (whole: Uint8Array | undefined) => {
      const usage = detector?.usage() ?? (whole && readWhole(asBuffer(whole)))
      const completion = usage?.completion ?? detector?.outputs ?? 0
      if (usage !== undefined) metrics.tokens({ pool: pool.name, model, kind: "prompt" })(usage.prompt)
      if (completion > 0) metrics.tokens({ pool: pool.name, model, kind: "completion" })(completion)
      report.usage = usage
    }
    const ended = (end: StreamEnd, whole?: Uint8Array) => {
      report.end = end
      attempt.atEase()
      report.upstream += state.now() - attempt.sentAt
      countTokens(whole)
      if (trace === undefined) return
      if (whole !== undefined) recorder?.push(whole)
      const attributes = { ...usageAttributes(report.usage), ...recorder?.attributes() }
      attempt.tell(attributes, end === "complete" ? undefined : end)
    }
    const streamEnded = (end: StreamEnd) => {
      ended(end)
      metrics.streamEnds({ pool: pool.name, end })(1)
    }
    return { model, recorder, ended, streamEnded }
  }

  const stream = (
    state: RequestState,
    answer: UpstreamAnswer,
    detector: StreamEndDetector,
    head: Head,
    { model, recorder, streamEnded }: Observer
  ): ProxyResponse => {
    const { report } = state
    const { dialect, passedThrough, pool } = state.plan
    const { attempt, response } = answer
    const { backend } = attempt.member
    head.headers["cache-control"] = "no-cache"
    head.headers["x-accel-buffering"] = "no"
    // Clients look at the label before they look at an event: under another one many would wait for a document.
    if (dialect !== "ollama" && !isEventStream(dialect, response)) head.headers["content-type"] = "text/event-stream"
    const gap = metrics.interToken({ pool: pool.name, model })
    const { body, finalEvent } = eventBody(state.plan, answer, {
      detector,
      recorder,
      gap: (millis) => gap(millis / 1000),
      onFirstOutput: (now) => {
        // What is passed through may begin long before it says anything.
        if (passedThrough) return
        report.firstOutput = now - report.receivedAt
        metrics.firstToken({ pool: pool.name, model })(report.firstOutput / 1000)
        backend.state.firstToken.record(now - attempt.sentAt, now)
      },
      failed: ({ status }) => adapters.classify(backend.config, status) === "backend_fault",
      ended: streamEnded
    })
    if (finalEvent === undefined) return { ...head, body, contentLength: undefined }
    const stopped = () => {
      report.isStopped = true
      return finalEvent()
    }
    return { ...head, body, contentLength: undefined, finalEvent: stopped }
  }

  return (state: RequestState, answer: UpstreamAnswer): ProxyResponse => {
    const { attempt, detector, response } = answer
    const head: Head = { status: response.status, ...headersOf(state, answer) }
    const observer = observe(state, answer)
    if (response.socket !== undefined) {
      const tunnel = tunnelTo(attempt, response.socket, observer.streamEnded)
      return { ...head, body: noBody, contentLength: undefined, tunnel }
    }
    if (isRedirect(response.status) && state.request.method !== "HEAD" && !isHarmless(answer, adapters)) {
      response.cancel()
      observer.ended("complete")
      delete head.headers["content-type"]
      delete head.headers["content-encoding"]
      return { ...head, body: new Uint8Array(0), contentLength: undefined }
    }
    return detector === undefined
      ? document(state, answer, head, observer)
      : stream(state, answer, detector, head, observer)
  }
})

type Head = Pick<ProxyResponse, "status" | "headers" | "cookies">

interface Observer {
  /** As it is labelled. */
  readonly model: string
  readonly recorder: ContentRecorder | undefined
  readonly ended: (end: StreamEnd, whole?: Uint8Array) => void
  readonly streamEnded: (end: StreamEnd) => void
}

/** What does not stream: all of it where it is at hand, else as it comes. */
const document = (state: RequestState, answer: UpstreamAnswer, head: Head, { ended }: Observer): ProxyResponse => {
  const contentLength = declaredLength(answer.response)
  if (!answer.complete) return { ...head, body: plainBody(answer, ended), contentLength }
  const body = joined(answer.held)
  ended("complete", body)
  // The answer to HEAD has the length of a body that it does not have.
  return state.request.method === "HEAD"
    ? { ...head, body: noBody, contentLength }
    : { ...head, body, contentLength: undefined }
}

/** Whether an SDK's own retries would only multiply those that were made here, or cannot help. */
const isFinal = (status: number, attempts: number): boolean =>
  status === 501 || status === 505 || (status >= 400 && attempts > 1)

/** Whether the page of a redirect may be shown: it is there as a whole, can be read, and does not name the backend. */
const isHarmless = (
  { attempt, complete, held, response }: UpstreamAnswer,
  adapters: BackendAdapter["Service"]
): boolean => {
  if (!complete || response.headers["content-encoding"] !== undefined) return false
  return (
    held.length === 0 || !adapters.isNamedIn(attempt.member.backend.config, asBuffer(joined(held)).toString("latin1"))
  )
}

const declaredLength = ({ headers }: UpstreamResponse): number | undefined => {
  const declared = Number(headers["content-length"] ?? Number.NaN)
  return Number.isFinite(declared) ? declared : undefined
}
