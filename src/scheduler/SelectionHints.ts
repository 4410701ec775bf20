/** What strategies go by besides the members: read from a request only where its pool's strategy looks at it. */
import type { StrategyName } from "../domain/Pool.ts"
import { hashText } from "./Hashing.ts"
import { type PromptBlocks, promptBlocks } from "./PromptBlocks.ts"
import type { Choice } from "./Strategy.ts"

export interface Guiding {
  /** What backends are asked for. */
  readonly model: string | undefined
  /** As the client named it. */
  readonly session: string | undefined
  /** The request's body from its prompt on; `undefined` where it is not at hand. */
  readonly prompt: () => Uint8Array | undefined
}

export type Guidance = Pick<Choice, "hashKey" | "prompt">

const none: Guidance = { hashKey: undefined, prompt: undefined }

export const guidanceFor = (strategy: StrategyName, { model, prompt, session }: Guiding): Guidance => {
  const blocks = (most?: number): PromptBlocks | undefined => {
    const text = prompt()
    return text === undefined ? undefined : promptBlocks(text, hashText(model ?? ""), most)
  }
  switch (strategy) {
    case "prefix_aware":
      return { hashKey: undefined, prompt: blocks() }
    case "consistent_hash":
      // Without a session, requests with the same beginning belong together.
      return { hashKey: session === undefined ? blocks(1)?.[0] : hashText(session), prompt: undefined }
    default:
      return none
  }
}
