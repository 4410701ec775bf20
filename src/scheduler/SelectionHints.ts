/** What strategies go by besides the members: read from a request only where its pool's strategy looks at it. */
import type { StrategyName } from "../domain/Pool.ts"
import { hashText } from "./Hashing.ts"
import { type PromptBlocks, promptBlocks } from "./PromptBlocks.ts"
import type { Choice } from "./Strategy.ts"

export interface HintSource {
  /** What backends are asked for. */
  readonly model: string | undefined
  /** As the client named it. */
  readonly session: string | undefined
  /** The request's body from its prompt on; `undefined` where it is not at hand. */
  readonly prompt: () => Uint8Array | undefined
}

export type SelectionHints = Pick<Choice, "hashKey" | "prompt">

const none: SelectionHints = { hashKey: undefined, prompt: undefined }

export const selectionHintsFor = (strategy: StrategyName, { model, prompt, session }: HintSource): SelectionHints => {
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
