/** Inputs for both readers of a head: what the plain one takes, Node's must take in the very same way. */
import { readFileSync } from "node:fs"
import * as path from "node:path"
import { Schema } from "effect"
import { readPlainHead } from "../../../src/http/plain/PlainHead.ts"
import type { Random } from "../../bench/scheduling/Random.ts"
import { mutate } from "../../fuzz/Mutations.ts"
import { verdictOf } from "./NodeVerdict.ts"

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Array(Schema.String)))

/** Requests, a character a byte. */
export const corpus = decode(readFileSync(path.join(import.meta.dirname, "../../fuzz/corpus.json"), "utf8"))

const maxHeadBytes = 16_384

/** How the two differ about these bytes; `undefined`: they do not, or the plain reader leaves it to Node. */
export const differenceAbout = async (input: string): Promise<string | undefined> => {
  const bytes = Buffer.from(input, "latin1")
  const head = readPlainHead(bytes, maxHeadBytes)
  if (head === undefined || bytes.length < head.size + head.length) return undefined
  const { headers, length, rawHeaders, size, url } = head
  // What is behind it is another request, to be read by itself.
  const verdict = await verdictOf(bytes.subarray(0, size + length))
  const taken = {
    method: "POST",
    url,
    rawHeaders: [...rawHeaders],
    headers: { ...headers },
    body: bytes.toString("latin1", size, size + length)
  }
  const node = verdict && { ...verdict, headers: { ...verdict.headers } }
  const isSame = JSON.stringify(taken) === JSON.stringify(node)
  return isSame
    ? undefined
    : `${JSON.stringify(input)}\n  plain ${JSON.stringify(taken)}\n  Node  ${JSON.stringify(node)}`
}

export interface Tried {
  readonly taken: number
  readonly differences: ReadonlyArray<string>
}

/** So many mutated requests, one after the other. */
export const tryMutations = async (random: Random, count: number): Promise<Tried> => {
  const differences: Array<string> = []
  let taken = 0
  for (let n = 0; n < count; n++) {
    const input = mutate(random, corpus)
    if (readPlainHead(Buffer.from(input, "latin1"), maxHeadBytes) !== undefined) taken++
    const difference = await differenceAbout(input)
    if (difference !== undefined) differences.push(difference)
  }
  return { taken, differences }
}
