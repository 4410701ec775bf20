/**
 * A prompt as something that can be compared from its beginning: the chained hashes of its blocks. Two prompts share
 * their first n blocks where their n-th hashes are equal.
 */
import { mix } from "./Hashing.ts"

/** One hash for each full block, in order. */
export type PromptBlocks = Int32Array

/** Bytes of a block: about 64 tokens of English. Engines cache in blocks of 16 to 64 tokens. */
export const blockBytes = 256

/** Blocks that are looked at: what is behind the first 64 KiB hardly ever decides. */
const maxBlocks = 256

/**
 * Reads them from a request's body as it came, from its prompt on. A conversation that grows keeps its bytes: each turn is the one before it
 * with something added, and so are its blocks. The model is part of the first hash, since caches are not shared. `most`:
 * how many blocks are of interest.
 */
export const promptBlocks = (prompt: Uint8Array, model: number, most = maxBlocks): PromptBlocks => {
  const count = Math.min(most, Math.floor(prompt.length / blockBytes))
  const blocks = new Int32Array(count)
  const view = new DataView(prompt.buffer, prompt.byteOffset, prompt.byteLength)
  let chain = model
  for (let block = 0; block < count; block++) {
    let h = chain
    const end = (block + 1) * blockBytes
    for (let at = block * blockBytes; at < end; at += 4)
      h = Math.imul(h ^ view.getInt32(at, true), 0x01000193) ^ (h >>> 15)
    chain = mix(h)
    blocks[block] = chain | 0
  }
  return blocks
}
