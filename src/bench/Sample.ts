/** What became of one request. Times in milliseconds. */
export type Sample = Answered | Failed

export interface Answered {
  readonly _tag: "Answered"
  /** The backend that answered, as the gateway named it. */
  readonly node: string
  readonly latency: number
  /** From the request to the first piece of text; only a stream shows it. */
  readonly firstToken: number | undefined
  /** Between each piece of text and the next. */
  readonly gaps: ReadonlyArray<number>
  readonly promptTokens: number
  readonly completionTokens: number
  /** Whether the engine counted the tokens; otherwise every piece of text was taken for one. */
  readonly counted: boolean
}

export interface Failed {
  readonly _tag: "Failed"
  readonly node: string
  /** In a few words, such as `HTTP 429 rate_limit_exceeded`. */
  readonly reason: string
}

/** The node of an answer that does not name one. */
export const unknownNode = "unknown"

/** Text from outside that goes to a terminal or into a file: short, and nothing that steers a terminal. */
export const plain = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 64)
