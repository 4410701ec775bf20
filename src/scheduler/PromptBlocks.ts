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

/** The members of a body that hold its prompt, in the order in which they are looked for. */
const members = ['"messages"', '"prompt"', '"input"'].map((text) => Buffer.from(text, "latin1"))

/**
 * Reads them from a request's body as it came. A conversation that grows keeps its bytes: each turn is the one before it
 * with something added, and so are its blocks. The model is part of the first hash, since caches are not shared. `most`:
 * how many blocks are of interest.
 */
export const promptBlocks = (body: Uint8Array, model: number, most = maxBlocks): PromptBlocks => {
  const start = startOf(body)
  const count = Math.min(most, Math.floor((body.length - start) / blockBytes))
  const blocks = new Int32Array(count)
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  let chain = model
  for (let block = 0; block < count; block++) {
    let h = chain
    const end = start + (block + 1) * blockBytes
    for (let at = start + block * blockBytes; at < end; at += 4)
      h = Math.imul(h ^ view.getInt32(at, true), 0x01000193) ^ (h >>> 15)
    chain = mix(h)
    blocks[block] = chain | 0
  }
  return blocks
}

const startOf = (body: Uint8Array): number => {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  for (const member of members) {
    const at = bytes.indexOf(member)
    if (at >= 0) return at
  }
  return 0
}
