/** `docs/errors.md`: every error of the gateway's own, from the classes in `src/domain/Errors.ts`. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import type { GatewayError } from "../../src/domain/Errors.ts"
import * as Errors from "../../src/domain/Errors.ts"
import { errorResponse } from "../../src/http/ErrorBody.ts"
import { code, heading, table } from "./Markdown.ts"

/** What a client, or the one who runs the gateway, does about each. */
const advice: Record<GatewayError["_tag"], string> = {
  InvalidJson: "Send valid JSON in UTF-8, nested to 512 levels at most.",
  InvalidRequest: "Read the message; `param` names the field. An expectation other than `100-continue` is a 417.",
  ModelRequired: "Name a `model`, or configure `defaultModel`.",
  ToolsNotSupported: "Leave `tools` out, or ask for a model that can call them.",
  InvalidApiKey: "Send a known key: `Authorization: Bearer KEY`, `x-api-key` or `api-key`.",
  ModelNotAllowed: "Ask for a model that the key may use, or change the key's `models`.",
  PoolNotAllowed: "Ask on a listener or path of a pool that the key may use, or change the key's `pools`.",
  PathNotAllowed: "The path administers an engine, or is closed: allow it in the listener's `passThrough`.",
  OriginNotAllowed: "Allow the page's origin in the listener's `cors.origins`, or ask by an address of the gateway.",
  ModelNotFound: "Look at `/v1/models` for the names that are served.",
  NotFound: "Check the path.",
  MethodNotAllowed: "Use a method of the header `allow`.",
  RequestTimeout: "Send faster, or raise the listener's `connectTimeout`.",
  RequestTooLarge: "Send less, or raise the limit that the message names.",
  HeadTooLarge: "Send shorter headers, or raise `limits.maxHeaderBytes`.",
  UpgradeRequired: "Speak version 13 of WebSocket.",
  RateLimitExceeded: "Wait as `retry-after` says. The limits are `rateLimit` of the listener and `limits` of the key.",
  UpstreamError: "The gateway has tried what it may. Look at the log and at `weir_upstream_errors_total`.",
  QueueFull: "Wait as `retry-after` says; add backends or raise `admission.maxQueue`.",
  QueueTimeout: "Wait as `retry-after` says; add backends or raise `admission.queueTimeout`.",
  NoHealthyBackend: "Wait as `retry-after` says; `/health` shows why each backend is out.",
  ShuttingDown: "Ask again: another process may have the port by then.",
  UpstreamTimeout: "Ask for less at once, or raise `timeouts.firstByte` or `timeouts.request`.",
  DeadlineExceeded: "Raise the deadline that the request set in `X-Weir-Timeout`."
}

/** The first sentences of a class's own comment. */
const descriptions: ReadonlyMap<string, string> = new Map(
  [
    ...readFileSync(path.resolve(import.meta.dirname, "../../src/domain/Errors.ts"), "utf8").matchAll(
      /\/\*\* ([^*]+) \*\/\nexport class (\w+) /g
    )
  ].map(([, text = "", name = ""]) => [name, text])
)

/** One of each class. */
const all: ReadonlyArray<GatewayError> = Object.values(Errors)
  .map((Class) => new Class({ message: "", allow: "" }))
  .toSorted((one, other) => one.status - other.status || (one.code < other.code ? -1 : 1))

const rows = all.map((error) => {
  const { headers, status } = errorResponse(error, "/v1/chat/completions")
  return [
    code(error.code),
    String(status),
    headers["x-should-retry"] === "true" ? "yes" : "no",
    headers["retry-after"] === undefined ? "" : "1 to 60 s",
    descriptions.get(error._tag) ?? "",
    advice[error._tag]
  ]
})

export const errors = (): string => `${heading("Errors", "errors")}
What the gateway answers in place of a backend. The body is \`{ "error": { "message", "type", "param", "code" } }\`, in
Anthropic's form below \`/v1/messages\` and in Ollama's at its paths. Every answer has an \`x-request-id\`, which the log
has too. \`retry\` is the header \`x-should-retry\`: with \`no\` the same request gets the same answer, or the gateway has
tried all that it may. Official SDKs obey it.

What a backend answers to a request that is at fault itself (most 4xx, 501, 505) is passed on unchanged and is not
in this table.

${table(["code", "status", "retry", "retry-after", "means", "what to do"], rows)}

A stream that has begun has its status already. One that is cut ends in an error event in the form of its dialect, and
no \`[DONE]\` follows: \`upstream_truncated\` (the backend broke off), \`upstream_timeout\` (it fell silent) or
\`upstream_error\` (it failed, or the gateway stopped). What came before the event is not complete; asking again is for
the client to decide.
`
