/**
 * Tells a complete stream from a cut one, without changing a byte of what passes.
 *
 * It looks for the marks by which each dialect ends. Inside a JSON string every quote is escaped and no line break is
 * bare, so a mark that begins with a quote, or that must stand at the start of a line, cannot be faked by what a model
 * writes.
 */
import type { Dialect } from "./Endpoint.ts"
import { readUsage, type Usage } from "./Usage.ts"

export type Verdict =
  | "complete"
  /** The backend itself said in the stream that something went wrong; the client knows already. */
  | "error_sent"
  | "truncated"

interface Mark {
  readonly bytes: Buffer
  /** Counts only at the start of a line. */
  readonly startsLine: boolean
}

const mark = (text: string, startsLine = false): Mark => ({ bytes: Buffer.from(text, "latin1"), startsLine })

const dataLine = mark("data:", true)
const done: ReadonlyArray<Mark> = [mark("data: [DONE]", true), mark("data:[DONE]", true)]
const finished: ReadonlyArray<Mark> = [mark('"finish_reason":"'), mark('"finish_reason": "')]

const endings: Record<Dialect, ReadonlyArray<Mark>> = {
  chat: done,
  responses: [mark('"response.completed"'), mark('"response.incomplete"'), mark('"response.failed"')],
  messages: [mark('"message_stop"')],
  none: done
}

const errors: ReadonlyArray<Mark> = [
  mark('data: {"error"', true),
  mark('data:{"error"', true),
  mark("event: error", true),
  mark("event:error", true)
]

/** Longer than any mark: so much of what passed is looked at again together with what follows. */
const overlap = 32

/** Chunks at the end that are kept (by reference) to find the usage, or an error, in. */
const keptChunks = 4

/** One for each stream; written by the one fiber that relays it. */
export class EndJudge {
  readonly #dialect: Dialect
  readonly #choices: number
  #finished = 0
  #done = false
  #outputs = 0
  #first: Buffer | undefined
  readonly #last: Array<Buffer> = []
  #tail: Buffer = empty

  /** `choices`: how many must have finished for a stream without a `[DONE]` to be complete. */
  constructor(dialect: Dialect, choices: number) {
    this.#dialect = dialect
    this.#choices = choices
  }

  /** Events with data so far, which is how engines send their output. */
  get outputs(): number {
    return this.#outputs
  }

  /** Whether what was sent so far ends with a whole line, so that an event can follow. */
  get atLineEnd(): boolean {
    return this.#tail.length === 0 || this.#tail.at(-1) === lineFeed
  }

  /** Whether the end was announced: what happens to the connection afterwards takes nothing away. */
  get saidAll(): boolean {
    return this.#done
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    const piece = asBuffer(chunk)
    this.#first ??= piece
    this.#last.push(piece)
    if (this.#last.length > keptChunks) this.#last.shift()
    // No mark begins with a line break, so none can lie across a border that follows one. Elsewhere the end of what
    // passed is looked at together with the beginning of what comes, and only what reaches across counts.
    const fresh = this.atLineEnd
    if (!fresh) this.#look(Buffer.concat([this.#tail, piece.subarray(0, overlap)]), this.#tail.length, true)
    this.#look(piece, 0, fresh)
    this.#tail =
      piece.length >= overlap ? piece.subarray(-overlap) : Buffer.concat([this.#tail, piece]).subarray(-overlap)
  }

  /** What the end of the body means, where the connection ended it in order. */
  verdict(): Verdict {
    if (this.#done) return "complete"
    if (errors.some((each) => countMarks(Buffer.concat(this.#last), each, 0, false) > 0)) return "error_sent"
    const isChat = this.#dialect === "chat"
    return isChat && this.#finished >= this.#choices ? "complete" : "truncated"
  }

  /** What the backend counted, where it told. */
  usage(): Usage | undefined {
    const end = readUsage(Buffer.concat(this.#last))
    if (this.#dialect !== "messages" || this.#first === undefined) return end
    // Anthropic's dialect tells the prompt's size at the beginning and the answer's at the end.
    const start = readUsage(this.#first)
    return start === undefined ? end : { ...start, completion: end?.completion ?? start.completion }
  }

  /**
   * `border`: 0, or only marks that begin before it and end behind it count. A mark at the very start of such a seam
   * stands at the start of the stream: were there more before it, the seam would be longer than the mark.
   */
  #look(piece: Buffer, border: number, fresh: boolean): void {
    this.#outputs += countMarks(piece, dataLine, border, fresh)
    for (const each of endings[this.#dialect]) if (countMarks(piece, each, border, fresh) > 0) this.#done = true
    if (this.#dialect !== "chat") return
    for (const each of finished) this.#finished += countMarks(piece, each, border, fresh)
  }
}

const empty = Buffer.alloc(0)
const lineFeed = 0x0a

const asBuffer = (chunk: Uint8Array): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)

/** `fresh`: the piece itself begins a line. */
const countMarks = (piece: Buffer, { bytes, startsLine }: Mark, border: number, fresh: boolean): number => {
  let count = 0
  for (let at = piece.indexOf(bytes); at >= 0; at = piece.indexOf(bytes, at + 1)) {
    if (border > 0 && (at >= border || at + bytes.length <= border)) continue
    if (startsLine && (at === 0 ? !fresh : piece[at - 1] !== lineFeed)) continue
    count++
  }
  return count
}
