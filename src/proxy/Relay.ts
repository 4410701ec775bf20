/**
 * From an answer to what the client gets: headers cleaned, the body byte for byte as it comes, while an observer times
 * it and watches whether the end is a real one.
 */
import { Effect } from "effect"
import { BackendAdapter } from "../backend/BackendAdapter.ts"
import { asBuffer, joined } from "../domain/Bytes.ts"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { readEvalCounts, readUsage } from "../protocol/Usage.ts"
import { ModelLabels } from "../registry/ModelLabels.ts"
import { Metrics } from "../telemetry/Telemetry.ts"
import type { UpstreamResponse } from "../transport/UpstreamTransport.ts"
import { isEventStream } from "./AnswerForm.ts"
import { isRedirect, type UpstreamAnswer } from "./AnswerReading.ts"
import { type Events, eventBody } from "./EventBody.ts"
import { toClient } from "./HeaderFilter.ts"
import type { RequestState } from "./RequestState.ts"
import { ContentRecorder, usageAttributes } from "./RequestTrace.ts"
import { plainBody, type StreamBody } from "./StreamBody.ts"
import { type Tunnel, tunnelTo } from "./Tunnel.ts"

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
  readonly lastWords?: (() => Uint8Array | undefined) | undefined
  /** Only of a 101, in place of a body: what goes on over the client's connection from then on. */
  readonly tunnel?: Tunnel | undefined
}

const nothing: StreamBody = () => Effect.void

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
      metrics.sticky(state.plan.pool.name, sticky)(1)
    }
    headers["server-timing"] =
      `queue;dur=${report.queued.toFixed(1)}, upstream;dur=${(attempt.headAt - attempt.sentAt).toFixed(1)}`
    if ((response.status === 429 || response.status === 503) && headers["retry-after"] === undefined) {
      headers["retry-after"] = "1"
    }
    if (isFinal(response.status, report.attempts)) headers["x-should-retry"] = "false"
    return { cookies, headers }
  }

  return (state: RequestState, answer: UpstreamAnswer): ProxyResponse => {
    const { report, request } = state
    const { dialect, passedThrough, pool, route, trace } = state.plan
    const { attempt, detector, response } = answer
    const { backend } = attempt.member
    const { cookies, headers } = headersOf(state, answer)
    const model = modelLabels.of(backend, route.model)

    const read = dialect === "ollama" ? readEvalCounts : readUsage
    const observed = (whole: Uint8Array | undefined) => {
      const usage = detector?.usage() ?? (whole && read(asBuffer(whole)))
      const completion = usage?.completion ?? detector?.outputs ?? 0
      if (usage !== undefined) metrics.tokens(pool.name, model, "prompt")(usage.prompt)
      if (completion > 0) metrics.tokens(pool.name, model, "completion")(completion)
      report.usage = usage
    }
    const recorder = trace?.captureContent === true ? new ContentRecorder() : undefined
    const ended = (end: StreamEnd, whole?: Uint8Array) => {
      report.end = end
      attempt.atEase()
      report.upstream += state.now() - attempt.sentAt
      observed(whole)
      if (trace === undefined) return
      if (whole !== undefined) recorder?.push(whole)
      attempt.tell(
        { ...usageAttributes(report.usage), ...recorder?.attributes() },
        end === "complete" ? undefined : end
      )
    }

    if (response.socket !== undefined) {
      const tunnel = tunnelTo(attempt, response.socket, (end) => {
        ended(end)
        metrics.streamEnds(pool.name, end)(1)
      })
      return { status: response.status, headers, cookies, body: nothing, contentLength: undefined, tunnel }
    }
    if (isRedirect(response.status) && request.method !== "HEAD" && !isHarmless(answer, adapters)) {
      response.cancel()
      ended("complete")
      delete headers["content-type"]
      delete headers["content-encoding"]
      return { status: response.status, headers, cookies, body: new Uint8Array(0), contentLength: undefined }
    }
    if (detector === undefined) {
      const contentLength = declaredLength(response)
      if (answer.complete) {
        const body = joined(answer.held)
        ended("complete", body)
        // The answer to HEAD has the length of a body that it does not have.
        return request.method === "HEAD"
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
    if (dialect !== "ollama" && !isEventStream(state.plan, response)) headers["content-type"] = "text/event-stream"
    const gap = metrics.interToken(pool.name, model)
    const events: Events = {
      detector,
      recorder,
      gap: (millis) => gap(millis / 1000),
      spoke: (now) => {
        // What is passed through may begin long before it says anything.
        if (passedThrough) return
        report.firstOutput = now - report.receivedAt
        metrics.firstToken(pool.name, model)(report.firstOutput / 1000)
        backend.state.firstToken.record(now - attempt.sentAt, now)
      },
      failed: ({ status }) => adapters.classify(backend.config, status) === "backend_fault",
      ended: (end) => {
        ended(end)
        metrics.streamEnds(pool.name, end)(1)
      }
    }
    const { body, lastWords } = eventBody(state.plan, answer, events)
    return {
      status: response.status,
      headers,
      cookies,
      body,
      contentLength: undefined,
      lastWords:
        lastWords &&
        (() => {
          report.isStopped = true
          return lastWords()
        })
    }
  }
})

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
