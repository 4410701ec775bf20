/**
 * A tokenizer that needs no vocabulary: a token is up to four bytes of UTF-8, its number spells these bytes in base
 * 257. So about one token per four characters, and `detokenize` gives back what `tokenize` was given.
 */
import { fingerprint } from "./Random.ts"

const tokenBytes = 4
const blockTokens = 16
const base = 257

export const countTokens = (text: string): number => Math.ceil(Buffer.byteLength(text) / tokenBytes)

export const tokenize = (text: string): ReadonlyArray<number> => {
  const bytes = Buffer.from(text)
  return Array.from({ length: Math.ceil(bytes.length / tokenBytes) }, (_, index) =>
    bytes.subarray(index * tokenBytes, (index + 1) * tokenBytes).reduceRight((sum, byte) => sum * base + byte + 1, 0)
  )
}

/** Numbers that no text has given rise to become U+FFFD, as a real vocabulary's holes do. */
export const detokenize = (tokens: ReadonlyArray<number>): string => Buffer.from(tokens.flatMap(spell)).toString()

const spell = (token: number): ReadonlyArray<number> => {
  const bytes: Array<number> = []
  for (let rest = token; rest > 0 && bytes.length < tokenBytes; rest = Math.floor(rest / base)) {
    bytes.push((rest % base) - 1)
  }
  return bytes.includes(-1) ? [0xff] : bytes
}

/** A prompt as the engine sees it: its length, and the chained fingerprints of its full blocks of 16 tokens. */
export interface Prompt {
  readonly tokens: number
  readonly blocks: ReadonlyArray<number>
}

export const promptOf = (rendered: string): Prompt => {
  const bytes = Buffer.from(rendered)
  const size = blockTokens * tokenBytes
  const blocks: Array<number> = []
  let chained = 0
  for (let end = size; end <= bytes.length; end += size) {
    chained = fingerprint(bytes.subarray(end - size, end), chained)
    blocks.push(chained)
  }
  return { tokens: Math.max(1, Math.ceil(bytes.length / tokenBytes)), blocks }
}

export { blockTokens }
