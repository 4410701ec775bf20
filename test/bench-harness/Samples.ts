/** Made-up requests. */
import type { Sample } from "../../src/bench/Sample.ts"

/** Answered by node `a` with 20 tokens, unless told otherwise. */
export const answered = (latency: number, more: object = {}): Sample => ({
  _tag: "Answered",
  node: "a",
  latency,
  firstToken: undefined,
  gaps: [],
  promptTokens: 10,
  completionTokens: 20,
  counted: true,
  ...more
})
