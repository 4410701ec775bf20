/** When another model is asked in place of the one that was named. */
import type { GatewayError } from "../domain/Errors.ts"
import type { UpstreamAnswer } from "./AnswerReading.ts"
import { textOf } from "./Refusals.ts"

const refusals = new Set(["NoHealthyBackend", "QueueFull", "QueueTimeout", "UpstreamError"])

/** Too many requests, unavailable, and Anthropic's own word for overloaded. */
export const isOverload = (status: number): boolean => status === 429 || status === 503 || status === 529

/** How engines say that a prompt is too long for a model: OpenAI's code, llama.cpp's type, and others in their own words. */
const tooLong =
  /context_length_exceeded|exceed_context_size_error|maximum (?:model|input|sequence|prompt) length|context (?:length|window|size)|prompt is too long|too many tokens|`inputs` (?:tokens \+|must have less)/i

/**
 * No backend was there, all had too much to do or were silent, or the prompt was too long: with another model it may go
 * better. `wasSilent`: a time-out was one for the first byte; what takes too long as a whole is not asked for again.
 */
export const callsForFallback = (outcome: UpstreamAnswer | GatewayError, wasSilent: boolean): boolean => {
  if (!("response" in outcome)) {
    return refusals.has(outcome._tag) || (wasSilent && outcome._tag === "UpstreamTimeout")
  }
  const { status } = outcome.response
  if (isOverload(status)) return true
  return (status === 400 || status === 413 || status === 422) && outcome.complete && tooLong.test(textOf(outcome))
}
