/** What the engine remembers of prompts: blocks of 16 tokens, each valid only after those before it. */
import { blockTokens, type Prompt } from "./Tokens.ts"

export interface PrefixCache {
  /** How many tokens of the prompt's beginning are remembered. Never all: the last token is always computed. */
  readonly match: (prompt: Prompt) => number
  /** Remembers the prompt; what was used least recently makes room. */
  readonly store: (prompt: Prompt) => void
  readonly clear: () => void
  readonly heldTokens: () => number
}

export const makePrefixCache = (capacityTokens: number): PrefixCache => {
  const capacity = Math.floor(capacityTokens / blockTokens)
  // A Map iterates in the order of insertion, so its first key is the block that was used least recently.
  const blocks = new Map<number, true>()

  const touch = (block: number): void => {
    blocks.delete(block)
    blocks.set(block, true)
  }

  const evict = (): void => {
    for (const oldest of blocks.keys()) {
      if (blocks.size <= capacity) return
      blocks.delete(oldest)
    }
  }

  const match = (prompt: Prompt): number => {
    const usable = prompt.blocks.slice(0, Math.floor((prompt.tokens - 1) / blockTokens))
    const miss = usable.findIndex((block) => !blocks.has(block))
    const hits = miss === -1 ? usable : usable.slice(0, miss)
    for (const block of hits.toReversed()) touch(block)
    return hits.length * blockTokens
  }

  const store = (prompt: Prompt): void => {
    // From the end to the beginning: a prefix must outlive what is built on it.
    for (const block of prompt.blocks.slice(0, capacity).toReversed()) touch(block)
    evict()
  }

  return { match, store, clear: () => blocks.clear(), heldTokens: () => blocks.size * blockTokens }
}
