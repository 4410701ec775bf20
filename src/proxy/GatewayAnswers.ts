/** What the gateway says itself in place of an answer. */
import {
  DeadlineExceeded,
  type GatewayError,
  InvalidRequest,
  NoHealthyBackend,
  QueueFull,
  RequestTimeout,
  RequestTooLarge,
  UpstreamError,
  UpstreamTimeout
} from "../domain/Errors.ts"
import type { NoLease } from "../scheduler/Scheduler.ts"
import type { RequestBodyFailed } from "../transport/UpstreamTransport.ts"
import type { AttemptFailed } from "./UpstreamAnswer.ts"

/** Seconds, where nothing says how long it will take. */
const usualRetryAfterSeconds = 5

export const pastDeadline = () => new DeadlineExceeded({ message: "The request's deadline has passed." })

/** In place of a backend's 401: a client would take that for a word about its own key. */
export const credentialRefused = () =>
  new UpstreamError({
    message:
      "The backend refuses the credential that the gateway is configured with. Your own key is not the reason: " +
      "the operator of the gateway has to correct it."
  })

export const notWebSocket = (status: number) =>
  new UpstreamError({
    message: `The backend does not speak WebSocket at this path: it answered the upgrade with status ${status}.`
  })

/** The client's body came to nothing while it was sent on: no backend is to blame. */
export const requestBodyError = ({ reason }: RequestBodyFailed, maxUploadBytes: number): GatewayError => {
  switch (reason) {
    case "broken":
      return new InvalidRequest({ message: "The request's body broke off." })
    case "too_slow":
      return new RequestTimeout({ message: "The request's body came too slowly." })
    case "too_large":
      return new RequestTooLarge({
        message: `The body is larger than the limit of ${maxUploadBytes} bytes (limits.maxUploadBytes).`
      })
    case "two_models":
      return new InvalidRequest({ message: "The upload names its model more than once.", param: "model" })
  }
}

/** No backend has said anything that could be passed on. */
export const noAnswer = ({ attempt, failure }: AttemptFailed): GatewayError => {
  // It was known to be out and was asked all the same: that has made nothing worse.
  if (attempt.lease.isLastResort) return noBackendNow(usualRetryAfterSeconds)
  switch (failure?.kind) {
    case "timeout":
      return new UpstreamTimeout({ message: "The backend did not answer in time." })
    case "local":
      return new QueueFull({ message: "This gateway has too many connections open. Please try again.", retryAfter: 1 })
    default:
      return new UpstreamError({ message: "The backend could not be reached, or broke off before it answered." })
  }
}

export const noBackend = ({ reason, until }: NoLease, now: number): GatewayError =>
  reason === "misconfigured"
    ? allMisconfigured()
    : noBackendNow(reason === "resting" ? Math.ceil((until - now) / 1000) : usualRetryAfterSeconds)

const allMisconfigured = () =>
  new UpstreamError({
    message:
      "The backends that could serve this are misconfigured: they refuse the gateway's credential, or do not answer as " +
      "an engine does. Your own key is not the reason: the operator of the gateway has to correct it."
  })

const noBackendNow = (seconds: number): NoHealthyBackend =>
  new NoHealthyBackend({
    message: "No backend is available for this request at the moment.",
    retryAfter: Math.min(60, Math.max(1, seconds))
  })
