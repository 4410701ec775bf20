/** What the text of a refusal says. */
import { asBuffer, joined } from "../domain/Bytes.ts"
import type { UpstreamAnswer } from "./AnswerReading.ts"

/** Bytes of an answer that are searched: the text of an error is short. */
const maxTextBytes = 16_384

/**
 * How engines say that they have no such model: OpenAI, Anthropic (whose message is `model: NAME`), vLLM, SGLang, Ollama,
 * llama.cpp's router, LiteLLM. The type `not_found_error` alone says nothing: llama.cpp has it for paths too.
 */
const missingModel =
  /model_not_found|DeploymentNotFound|"message"\s*:\s*"model: |model\b.{0,300}?\b(?:not (?:found|exist|available|loaded)|does(?:n't| not) exist|unknown|no longer)|(?:unknown|no such|invalid|unsupported) (?:model|deployment)/is

/** The beginning of an answer as text. */
export const textOf = ({ held }: UpstreamAnswer): string => asBuffer(joined(held)).toString("utf8", 0, maxTextBytes)

/** Whether a 404 is about the model, and not about the path. */
export const saysModelIsMissing = (answer: UpstreamAnswer): boolean =>
  answer.complete && missingModel.test(textOf(answer))
