/** What an answer is, by its head and by how its body begins. */
import type { UpstreamHeaders } from "../domain/UpstreamHeaders.ts"
import type { Dialect } from "./Endpoint.ts"

export interface AnswerHead {
  readonly status: number
  readonly headers: UpstreamHeaders
}

/** Of a body whose label does not tell, although a stream was asked for. */
export type BodyForm =
  /** Server-Sent Events, or Ollama's lines. */
  | "events"
  /** One document of JSON, or lines of JSON that nothing more is known of. */
  | "json"
  | "other"

const typeOf = ({ headers }: AnswerHead): string | undefined => {
  const type = headers["content-type"]
  return typeof type === "string" ? type : undefined
}

/** Whether it says itself that it is a stream of events. What is no success is passed on as it is, whatever its form. */
export const isEventStream = (dialect: Dialect, head: AnswerHead): boolean => {
  const type = typeOf(head)
  const pattern = dialect === "ollama" ? ndjson : eventStream
  return head.status < 300 && type !== undefined && pattern.test(type)
}

const eventStream = /^text\/event-stream/i
const ndjson = /^application\/(?:x-)?ndjson/i

/** Whether it is JSON by its label, or has none, which in the answer of an engine is JSON all the same. */
export const isJson = (head: AnswerHead): boolean => {
  const type = typeOf(head)
  return type === undefined || json.test(type)
}

const json = /^application\/(?:[^;\s]*\+)?json\b/i

/** Whether it says what it is. */
export const isLabelled = (head: AnswerHead): boolean => typeOf(head) !== undefined

/** Whether nothing but the end of the connection ends it: then a cut looks like an end. */
export const endsWithConnection = ({ headers }: AnswerHead): boolean =>
  headers["content-length"] === undefined && headers["transfer-encoding"] === undefined

/** Whether there is a body to come, by the rules of HTTP. */
export const hasBody = (method: string, { status }: AnswerHead): boolean =>
  method !== "HEAD" && status !== 204 && status !== 205 && status !== 304

/** What a client is sent elsewhere by; its body, if it has one, is a page for a person. */
export const isRedirect = (status: number): boolean => status >= 300 && status < 400 && status !== 304

/** By how it begins; `undefined` as long as that does not tell. */
export const formOf = (dialect: Dialect, head: AnswerHead, beginning: Buffer): BodyForm | undefined => {
  const text = beginning.toString("latin1", 0, maxLeadBytes).replace(blanks, "")
  if (text === "" || mark.startsWith(text)) return beginning.length < maxLeadBytes ? undefined : "other"
  if (text.startsWith("{") || text.startsWith("[")) {
    // Under its own label JSON is a document: engines and balancers that do not stream answer so.
    if (dialect === "ollama") return isLabelled(head) && isJson(head) ? "json" : "events"
    return isJson(head) || eventStream.test(typeOf(head) ?? "") ? "json" : "other"
  }
  // Sound may begin with any byte.
  if (dialect === "ollama" || media.test(typeOf(head) ?? "")) return "other"
  const isLead = leads.some((lead) => text.startsWith(lead))
  if (isLead) return "events"
  return leads.some((lead) => lead.startsWith(text)) ? undefined : "other"
}

/** U+FEFF in UTF-8. */
const mark = "\u00ef\u00bb\u00bf"

/** A byte order mark, and what may be blank in front of a first event or document. */
const blanks = /^(?:\u00ef\u00bb\u00bf)?\s*/

const maxLeadBytes = 1024

const media = /^(?:audio|image|video)\//i

/** How a line of Server-Sent Events may begin; the last is llama.cpp's own. */
const leads = [":", "data:", "event:", "id:", "retry:", "error:"]
