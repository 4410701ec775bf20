/**
 * From an answer to what the client gets: headers cleaned, the body byte for byte as it comes, while an observer times
 * it and watches whether the end is a real one.
 */
import { Effect } from "effect"
import { asBuffer, joined } from "../domain/Bytes.ts"
import type { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import type { StreamEnd } from "../protocol/StreamError.ts"
import { readEvalCounts, readUsage } from "../protocol/Usage.ts"
import { type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import { isEventStream } from "./AnswerForm.ts"
import { type Answer, isRedirect } from "./AnswerReading.ts"
import { type Events, eventBody } from "./EventBody.ts"
import { toClient } from "./HeaderFilter.ts"
import type { ProxyServices } from "./ProxyServices.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import type { RequestReport } from "./RequestReport.ts"
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

export const makeRelay =
  ({ adapters, metrics, modelLabels }: ProxyServices) =>
  (mission: RequestPlan, answer: Answer, report: RequestReport): ProxyResponse => {
    // No function that lives as long as the answer may keep the mission: the request's body would be in memory with it.
    const { state: flight, passedThrough } = mission
    const { attempt, response } = answer
    const { backend } = attempt.member
    const concealed = adapters.conceal(backend.config, response.headers, mission.path)
    const { cookies, headers } = toClient(concealed)
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
    const observed = (judge: StreamEndDetector | undefined, whole: Uint8Array | undefined) => {
      flight.usage = judge?.usage() ?? (whole && read(asBuffer(whole)))
      const completion = flight.usage?.completion ?? judge?.outputs ?? 0
      if (flight.usage !== undefined) metrics.tokens(flight.pool.name, model, "prompt")(flight.usage.prompt)
      if (completion > 0) metrics.tokens(flight.pool.name, model, "completion")(completion)
    }
    const recorder = flight.trace?.captureContent === true ? new ContentRecorder() : undefined
    const ended = (end: StreamEnd, whole?: Uint8Array) => {
      report.end = end
      attempt.atEase()
      flight.upstream += flight.now() - attempt.sentAt
      observed(answer.detector, whole)
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
    if (answer.detector === undefined) {
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
      detector: answer.detector,
      recorder,
      gap: (millis) => gap(millis / 1000),
      spoke: (now) => {
        // What is passed through may begin long before it says anything.
        if (passedThrough) return
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
    const { lastWords, relayed } = eventBody(mission, answer, events)
    return {
      status: response.status,
      headers,
      cookies,
      body: relayed,
      contentLength: undefined,
      lastWords:
        lastWords &&
        (() => {
          report.isStopped = true
          return lastWords()
        })
    }
  }

/** Whether an SDK's own retries would only multiply those that were made here, or cannot help. */
const isFinal = (status: number, attempts: number): boolean =>
  status === 501 || status === 505 || (status >= 400 && attempts > 1)

/** Whether the page of a redirect may be shown: it is there as a whole, can be read, and does not name the backend. */
const isHarmless = ({ attempt, complete, held, response }: Answer, adapters: ProxyServices["adapters"]): boolean => {
  if (!complete || response.headers["content-encoding"] !== undefined) return false
  return (
    held.length === 0 || !adapters.isNamedIn(attempt.member.backend.config, asBuffer(joined(held)).toString("latin1"))
  )
}

const declaredLength = ({ headers }: UpstreamResponse): number | undefined => {
  const declared = Number(headers["content-length"] ?? Number.NaN)
  return Number.isFinite(declared) ? declared : undefined
}
