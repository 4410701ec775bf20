/** The token counts that a backend tells, read from the end of an answer without parsing all of it. */

export interface Usage {
  readonly prompt: number
  readonly completion: number
  /** How much of the prompt came from the backend's prefix cache. */
  readonly cached: number
}

const needle = Buffer.from('"usage"', "latin1")

/** More than any usage object has. */
const maxUsageBytes = 1024

/** The last usage object in `bytes`; `undefined` where there is none, or it is `null`. */
export const readUsage = (bytes: Buffer): Usage | undefined => {
  for (let at = bytes.lastIndexOf(needle); at >= 0; at = at === 0 ? -1 : bytes.lastIndexOf(needle, at - 1)) {
    const usage = usageAt(bytes, at)
    if (usage !== undefined) return usage
  }
  return undefined
}

/** The first one. */
export const readFirstUsage = (bytes: Buffer): Usage | undefined => {
  for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1)) {
    const usage = usageAt(bytes, at)
    if (usage !== undefined) return usage
  }
  return undefined
}

/** As Ollama tells it at the end of an answer; `undefined` where it does not. */
export const readEvalCounts = (bytes: Buffer): Usage | undefined => {
  const text = bytes.toString("latin1", Math.max(0, bytes.length - maxUsageBytes))
  const completion = evalCount.exec(text)?.[1]
  if (completion === undefined) return undefined
  return { prompt: read(text, promptEvalCount), completion: Number(completion), cached: 0 }
}

const usageAt = (bytes: Buffer, at: number): Usage | undefined => {
  const text = bytes.toString("latin1", at + needle.length, at + needle.length + maxUsageBytes)
  if (!isObject.test(text)) return undefined
  return {
    prompt: read(text, promptTokens),
    completion: read(text, completionTokens),
    cached: read(text, cachedTokens)
  }
}

const isObject = /^\s*:\s*\{/
const promptTokens = /"(?:prompt|input)_tokens"\s*:\s*(\d+)(?=\s*[,}])/
const completionTokens = /"(?:completion|output)_tokens"\s*:\s*(\d+)(?=\s*[,}])/
const promptEvalCount = /"prompt_eval_count"\s*:\s*(\d+)(?=\s*[,}])/
const evalCount = /"eval_count"\s*:\s*(\d+)(?=\s*[,}])/
const cachedTokens = /"(?:cached_tokens|cache_read_input_tokens)"\s*:\s*(\d+)(?=\s*[,}])/

/** A number that is cut off is none. */
const read = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0)
