/** What the text of an engine's refusal says. */
import { asBuffer, joined } from "../domain/Bytes.ts"

/** Bytes of an answer that are searched: the text of an error is short. */
const maxTextBytes = 16_384

/**
 * How engines say that they have no such model: OpenAI, Anthropic (whose message is `model: NAME`), vLLM, SGLang, Ollama,
 * llama.cpp's router, LiteLLM. The type `not_found_error` alone says nothing: llama.cpp has it for paths too.
 */
const missingModel =
  /model_not_found|DeploymentNotFound|"message"\s*:\s*"model: |model\b.{0,300}?\b(?:not (?:found|exist|available|loaded)|does(?:n't| not) exist|unknown|no longer)|(?:unknown|no such|invalid|unsupported) (?:model|deployment)/is

/** How engines say that a prompt is too long for a model: OpenAI's code, llama.cpp's type, and others in their own words. */
const tooLong =
  /context_length_exceeded|exceed_context_size_error|maximum (?:model|input|sequence|prompt) length|context (?:length|window|size)|prompt is too long|too many tokens|`inputs` (?:tokens \+|must have less)/i

/** Whether a 404 is about the model, and not about the path. */
export const saysModelIsMissing = (body: ReadonlyArray<Uint8Array>): boolean => missingModel.test(textOf(body))

/** Whether a refusal of a request is about the length of its prompt. */
export const saysPromptIsTooLong = (body: ReadonlyArray<Uint8Array>): boolean => tooLong.test(textOf(body))

const textOf = (body: ReadonlyArray<Uint8Array>): string => asBuffer(joined(body)).toString("utf8", 0, maxTextBytes)
