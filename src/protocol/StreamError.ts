/** The event by which a stream says that it was cut: in the form of its dialect, and never followed by a `[DONE]`. */
import type { Dialect } from "./Endpoint.ts"

/** How a stream ended for its client. */
export type StreamEnd = "complete" | "upstream_truncated" | "upstream_timeout" | "upstream_error" | "client_gone"

const messages: Record<Exclude<StreamEnd, "complete" | "client_gone">, string> = {
  upstream_truncated: "The backend broke off before the end of its answer. What was received is not complete.",
  upstream_timeout: "The backend fell silent in the middle of its answer. What was received is not complete.",
  upstream_error: "The backend failed in the middle of its answer. What was received is not complete."
}

/** What a client is told whose stream outlasts the time that a gateway takes to stop. */
export const stopMessage = "The gateway stops and cannot wait any longer. What was received is not complete."

/** `atLineEnd`: whether the stream stands at the start of a line; else the broken one is closed first. */
export const errorEvent = (
  dialect: Dialect,
  code: keyof typeof messages,
  atLineEnd: boolean,
  message = messages[code]
): Uint8Array => {
  if (dialect === "ollama")
    return Buffer.from(`${atLineEnd ? "" : "\n"}${JSON.stringify({ error: message })}\n`, "utf8")
  const error = { message, type: "server_error", param: null, code }
  const lead = atLineEnd ? "\n" : "\n\n"
  const data =
    dialect === "messages"
      ? { type: "error", error: { ...error, type: "api_error" } }
      : dialect === "responses"
        ? { type: "error", code, message: error.message, param: null, error }
        : { error }
  const event = dialect === "chat" || dialect === "none" ? "" : "event: error\n"
  return Buffer.from(`${lead}${event}data: ${JSON.stringify(data)}\n\n`, "utf8")
}
