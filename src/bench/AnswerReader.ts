/** Reads the bodies of chat completions: whole ones, and streams with the moment of every piece of text. */
import { Option, Result, Schema } from "effect"
import { Sse } from "effect/encoding"
import { plain } from "./Sample.ts"

const Text = Schema.optionalKey(Schema.NullOr(Schema.String))

const Usage = Schema.Struct({
  prompt_tokens: Schema.optionalKey(Schema.Int),
  completion_tokens: Schema.optionalKey(Schema.Int)
})

/** Pieces of text: content, reasoning under either of its names, and the arguments of a call. */
const Delta = Schema.Struct({
  content: Text,
  reasoning_content: Text,
  reasoning: Text,
  tool_calls: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Unknown)))
})

const Chunk = Schema.Struct({
  choices: Schema.optionalKey(
    Schema.Array(
      Schema.Struct({
        delta: Schema.optionalKey(Schema.NullOr(Delta)),
        finish_reason: Text
      })
    )
  ),
  usage: Schema.optionalKey(Schema.NullOr(Usage)),
  error: Schema.optionalKey(Schema.Unknown)
})
type Chunk = typeof Chunk.Type

const decodeChunk = Schema.decodeUnknownOption(Schema.fromJsonString(Chunk))

const ErrorBody = Schema.Struct({
  error: Schema.Struct({ code: Schema.optionalKey(Schema.NullOr(Schema.Union([Schema.String, Schema.Finite]))) })
})
const decodeError = Schema.decodeUnknownOption(Schema.fromJsonString(ErrorBody))
const decodeErrorMember = Schema.decodeUnknownOption(ErrorBody.fields.error)

/** The code of an error in OpenAI's form, if there is one. */
export const errorCode = (body: string): string | undefined =>
  Option.getOrUndefined(Option.map(decodeError(body), ({ error }) => codeOf(error)))

const codeOf = ({ code }: typeof ErrorBody.Type.error): string | undefined =>
  code === undefined || code === null ? undefined : plain(String(code))

export interface Tokens {
  readonly prompt: number
  readonly completion: number
  /** Whether the engine told them. */
  readonly counted: boolean
}

const Completion = Schema.Struct({
  choices: Schema.Array(Schema.Unknown),
  usage: Schema.optionalKey(Schema.NullOr(Usage))
})
const decodeCompletion = Schema.decodeUnknownOption(Schema.fromJsonString(Completion))

/** The tokens of an answer that came as a whole; fails where it is no completion. */
export const readCompletion = (body: string): Result.Result<Tokens, string> =>
  Option.match(decodeCompletion(body), {
    onNone: () => Result.fail("the answer is no chat completion"),
    onSome: ({ usage }) => Result.succeed(tokensOf(usage ?? undefined, 0))
  })

const tokensOf = (usage: typeof Usage.Type | undefined, pieces: number): Tokens => ({
  prompt: usage?.prompt_tokens ?? 0,
  completion: usage?.completion_tokens ?? pieces,
  counted: usage?.completion_tokens !== undefined
})

export interface Streamed {
  readonly tokens: Tokens
  /** When the first piece of text came, on the caller's clock. */
  readonly firstAt: number | undefined
  readonly gaps: ReadonlyArray<number>
}

const hasText = ({ delta }: NonNullable<Chunk["choices"]>[number]): boolean =>
  delta !== undefined &&
  delta !== null &&
  ((delta.content ?? "") !== "" ||
    (delta.reasoning_content ?? "") !== "" ||
    (delta.reasoning ?? "") !== "" ||
    (delta.tool_calls ?? []).length > 0)

/** One for each stream: it is fed what arrives, and asked at the end what that was. */
export class StreamReader {
  readonly #decoder = new TextDecoder()
  readonly #parser = Sse.makeParser((event) => {
    if (event._tag === "Event") this.#onData(event.data)
  })
  readonly #gaps: Array<number> = []
  #now = 0
  #firstAt: number | undefined
  #lastAt = 0
  #pieces = 0
  #usage: typeof Usage.Type | undefined
  #isComplete = false
  #fault: string | undefined

  /** `now` in milliseconds. */
  feed(bytes: Uint8Array, now: number): void {
    this.#now = now
    if (this.#parser.feed(this.#decoder.decode(bytes, { stream: true })) !== undefined) {
      this.#fault ??= "an event is too large"
    }
  }

  /** A stream that was cut, or that told of an error, is no answer. */
  end(): Result.Result<Streamed, string> {
    if (this.#fault !== undefined) return Result.fail(this.#fault)
    if (!this.#isComplete) return Result.fail("the stream was cut")
    const tokens = tokensOf(this.#usage, this.#pieces)
    return Result.succeed({ tokens, firstAt: this.#firstAt, gaps: this.#gaps })
  }

  #onData(data: string): void {
    if (data === "[DONE]") {
      this.#isComplete = true
      return
    }
    const decoded = decodeChunk(data)
    if (Option.isNone(decoded)) {
      this.#fault ??= "an event is no chunk of a chat completion"
      return
    }
    const { choices = [], error, usage } = decoded.value
    if (error !== undefined && error !== null) {
      const code = Option.getOrUndefined(Option.map(decodeErrorMember(error), codeOf))
      this.#fault ??= `stream error ${code ?? ""}`.trim()
    }
    if (choices.some(hasText)) this.#onText()
    if (choices.some(({ finish_reason: reason }) => (reason ?? "") !== "")) this.#isComplete = true
    this.#usage = usage ?? this.#usage
  }

  #onText(): void {
    this.#pieces++
    if (this.#firstAt === undefined) this.#firstAt = this.#now
    else this.#gaps.push(this.#now - this.#lastAt)
    this.#lastAt = this.#now
  }
}
