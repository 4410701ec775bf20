/**
 * What the gateway itself can answer instead of a backend: one class for each `code` of the contract, each with its
 * HTTP status. A message never holds a stack, a path, a backend's address or a secret.
 */
import { Schema } from "effect"

const fields = {
  message: Schema.String,
  /** The field of the request that is to blame. */
  param: Schema.optionalKey(Schema.String),
  /** Whole seconds after which asking again is worth it. */
  retryAfter: Schema.optionalKey(Schema.Int)
}

/** The body is not valid JSON. */
export class InvalidJson extends Schema.TaggedError<InvalidJson>()("InvalidJson", fields) {
  readonly code = "invalid_json"
  readonly status = 400
}

/** The request is not one that can be served. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", fields) {
  readonly code = "invalid_request"
  readonly status = 400
}

/** The body names no model. */
export class ModelRequired extends Schema.TaggedError<ModelRequired>()("ModelRequired", fields) {
  readonly code = "model_required"
  readonly status = 400
}

/** The model cannot call tools. */
export class ToolsNotSupported extends Schema.TaggedError<ToolsNotSupported>()("ToolsNotSupported", fields) {
  readonly code = "tools_not_supported"
  readonly status = 400
}

/** The key is missing or wrong. */
export class InvalidApiKey extends Schema.TaggedError<InvalidApiKey>()("InvalidApiKey", fields) {
  readonly code = "invalid_api_key"
  readonly status = 401
}

/** The key may not use this model. */
export class ModelNotAllowed extends Schema.TaggedError<ModelNotAllowed>()("ModelNotAllowed", fields) {
  readonly code = "model_not_allowed"
  readonly status = 403
}

/** The key may not use this pool. */
export class PoolNotAllowed extends Schema.TaggedError<PoolNotAllowed>()("PoolNotAllowed", fields) {
  readonly code = "pool_not_allowed"
  readonly status = 403
}

/** The listener does not pass this path through to an engine. */
export class PathNotAllowed extends Schema.TaggedError<PathNotAllowed>()("PathNotAllowed", fields) {
  readonly code = "path_not_allowed"
  readonly status = 403
}

/** A browser's page, or a rebound name, that has no business here. */
export class OriginNotAllowed extends Schema.TaggedError<OriginNotAllowed>()("OriginNotAllowed", fields) {
  readonly code = "origin_not_allowed"
  readonly status = 403
}

/** No backend serves this model. */
export class ModelNotFound extends Schema.TaggedError<ModelNotFound>()("ModelNotFound", fields) {
  readonly code = "model_not_found"
  readonly status = 404
}

/** Nothing is served at this path. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", fields) {
  readonly code = "not_found"
  readonly status = 404
}

/** The path is served, but not for this method. */
export class MethodNotAllowed extends Schema.TaggedError<MethodNotAllowed>()("MethodNotAllowed", {
  ...fields,
  allow: Schema.String
}) {
  readonly code = "method_not_allowed"
  readonly status = 405
}

/** The client was too slow with its request. */
export class RequestTimeout extends Schema.TaggedError<RequestTimeout>()("RequestTimeout", fields) {
  readonly code = "request_timeout"
  readonly status = 408
}

/** The body is larger than the configured limit. */
export class RequestTooLarge extends Schema.TaggedError<RequestTooLarge>()("RequestTooLarge", fields) {
  readonly code = "request_too_large"
  readonly status = 413
}

/** The head of the request is larger than the configured limit. */
export class HeadTooLarge extends Schema.TaggedError<HeadTooLarge>()("HeadTooLarge", fields) {
  readonly code = "request_too_large"
  readonly status = 431
}

/** The client speaks another version of WebSocket than the one that is understood. */
export class UpgradeRequired extends Schema.TaggedError<UpgradeRequired>()("UpgradeRequired", fields) {
  readonly code = "invalid_request"
  readonly status = 426
}

/** A limit of the client's address or key is used up. */
export class RateLimitExceeded extends Schema.TaggedError<RateLimitExceeded>()("RateLimitExceeded", fields) {
  readonly code = "rate_limit_exceeded"
  readonly status = 429
}

/** The last backend's transport failed. */
export class UpstreamError extends Schema.TaggedError<UpstreamError>()("UpstreamError", fields) {
  readonly code = "upstream_error"
  readonly status = 502
}

/** The pool's waiting room is full. */
export class QueueFull extends Schema.TaggedError<QueueFull>()("QueueFull", fields) {
  readonly code = "queue_full"
  readonly status = 503
}

/** The request waited as long as it may. */
export class QueueTimeout extends Schema.TaggedError<QueueTimeout>()("QueueTimeout", fields) {
  readonly code = "queue_timeout"
  readonly status = 503
}

/** No backend is there to serve the request. */
export class NoHealthyBackend extends Schema.TaggedError<NoHealthyBackend>()("NoHealthyBackend", fields) {
  readonly code = "no_healthy_backend"
  readonly status = 503
}

/** The gateway is about to stop. */
export class ShuttingDown extends Schema.TaggedError<ShuttingDown>()("ShuttingDown", fields) {
  readonly code = "shutting_down"
  readonly status = 503
}

/** The last backend did not answer in time. */
export class UpstreamTimeout extends Schema.TaggedError<UpstreamTimeout>()("UpstreamTimeout", fields) {
  readonly code = "upstream_timeout"
  readonly status = 504
}

/** The request's own deadline has passed. */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>()("DeadlineExceeded", fields) {
  readonly code = "deadline_exceeded"
  readonly status = 504
}

/** Every answer of the gateway's own. */
export type GatewayError =
  | InvalidJson
  | InvalidRequest
  | ModelRequired
  | ToolsNotSupported
  | InvalidApiKey
  | ModelNotAllowed
  | PoolNotAllowed
  | PathNotAllowed
  | OriginNotAllowed
  | ModelNotFound
  | NotFound
  | MethodNotAllowed
  | RequestTimeout
  | RequestTooLarge
  | HeadTooLarge
  | UpgradeRequired
  | RateLimitExceeded
  | UpstreamError
  | QueueFull
  | QueueTimeout
  | NoHealthyBackend
  | ShuttingDown
  | UpstreamTimeout
  | DeadlineExceeded
