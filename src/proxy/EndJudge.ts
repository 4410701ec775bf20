/**
 * Tells a complete stream from a cut one, without changing a byte of what passes.
 *
 * It looks for the marks by which each dialect ends, and only in whole lines: half a line is half an event. Inside a
 * JSON string every quote is escaped and no line break is bare, so neither the start of a line nor a name with its
 * value can be faked by what a model writes.
 */
import type { Dialect } from "../domain/Endpoint.ts"
import { KeptBytes } from "./KeptBytes.ts"
import { readEvalCounts, readFirstUsage, readUsage, type Usage } from "./Usage.ts"

export type Verdict =
  | "complete"
  /** The backend itself said in the stream that something went wrong; the client knows already. */
  | "error_sent"
  | "truncated"

const doneLine = /^data: ?\[DONE\]/
const errorData = /^data: ?\{ ?"(?:error" ?: ?(?!null)[^ ]|type" ?: ?"error")/
const errorLine = /^\{ ?"error" ?: ?(?!null)[^ ]/
const errorName = /^event: ?error\s*$/

/** What tells the end from inside of a data line. An empty reason, as some engines send all the time, is none. */
const endings: Record<Exclude<Dialect, "none">, RegExp> = {
  chat: /"finish_reason" ?: ?"[^"]/g,
  responses: /"type" ?: ?"response\.(?:completed|incomplete|failed)"/g,
  messages: /"type" ?: ?"message_stop"/g,
  ollama: /"done" ?: ?true/g
}

/** Longer than any mark inside a line: so much of what passed is looked at again together with what follows. */
const overlap = 40

/** Longer than any mark at the start of a line. */
const headSize = 40

/** Bytes at the beginning and at the end that are kept to find the usage in. */
const keptBytes = 4096

/** One for each stream; written by the one fiber that relays it. How the bytes are cut into chunks makes no difference. */
export class EndJudge {
  readonly #dialect: Dialect
  readonly #choices: number
  readonly #ending: RegExp | undefined
  #outputs = 0
  #finished = 0
  #done = false
  #errorSent = false
  /** The named event that has begun says that something went wrong. */
  #inError = false
  #atLineEnd = true
  /** Of the line under way: how it begins, whether it is data, what was found in it, and its latest part. */
  #head = ""
  #isData = false
  #found = 0
  #seam = ""
  readonly #first = new KeptBytes(keptBytes)
  readonly #last = new KeptBytes(keptBytes)

  /** `choices`: how many must have finished for a stream without a `[DONE]` to be complete. */
  constructor(dialect: Dialect, choices: number) {
    this.#dialect = dialect
    this.#choices = choices
    this.#ending = dialect === "none" ? undefined : endings[dialect]
  }

  /** Lines of data that have begun so far, which is how engines send their output. */
  get outputs(): number {
    return this.#outputs
  }

  /** Whether what was sent so far ends with a whole line, so that an event can follow. */
  get atLineEnd(): boolean {
    return this.#atLineEnd
  }

  /** Whether the end was announced: what happens to the connection afterwards takes nothing away. */
  get saidAll(): boolean {
    return this.#done || (this.#hasDone && doneLine.test(this.#head))
  }

  /** Whether the backend itself said that something went wrong: the client knows, whatever comes behind it. */
  get errorSent(): boolean {
    return this.#errorSent
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    if (this.#dialect === "messages" && this.#first.size < keptBytes) {
      this.#first.push(chunk.subarray(0, keptBytes - this.#first.size))
    }
    this.#last.push(chunk)
    const text = asBuffer(chunk).toString("latin1")
    let at = 0
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", at)) {
      this.#read(text.slice(at, end))
      this.#endLine()
      at = end + 1
    }
    this.#atLineEnd = at === text.length
    if (this.#atLineEnd) return
    const part = text.slice(at)
    this.#read(part)
    this.#seam = (this.#seam + part).slice(-overlap)
  }

  /** What the end of the body means, where the connection ended it in order. */
  verdict(): Verdict {
    // Some engines say [DONE] behind their error, too.
    if (this.#errorSent) return "error_sent"
    if (this.saidAll) return "complete"
    // Of a dialect that we do not know nothing but the connection can tell.
    if (this.#dialect === "none") return "complete"
    return this.#dialect === "chat" && this.#finished >= this.#choices ? "complete" : "truncated"
  }

  /** What the backend counted, where it told. */
  usage(): Usage | undefined {
    if (this.#dialect === "ollama") return readEvalCounts(this.#last.latest())
    const end = readUsage(this.#last.latest())
    if (this.#dialect !== "messages") return end
    // Anthropic's dialect tells the prompt's size at the beginning and the answer's at the end.
    const start = readFirstUsage(this.#first.latest())
    return start === undefined ? end : { ...start, completion: end?.completion ?? start.completion }
  }

  get #hasDone(): boolean {
    return this.#dialect === "chat" || this.#dialect === "none"
  }

  /** Some more of a line. What reaches into it from before counts, what lay before as a whole was counted then. */
  #read(part: string): void {
    if (this.#head.length < headSize) this.#head += part.slice(0, headSize - this.#head.length)
    if (!this.#isData && this.#head.startsWith(this.#dialect === "ollama" ? "{" : "data:")) {
      this.#isData = true
      this.#outputs++
    }
    if (this.#ending === undefined || !this.#isData) return
    const text = this.#seam === "" ? part : this.#seam + part
    // Nearly no line has it, and to look once costs far less than to look for all.
    if (text.search(this.#ending) < 0) return
    for (const match of text.matchAll(this.#ending)) {
      if (match.index + match[0].length > this.#seam.length) this.#found++
    }
  }

  #endLine(): void {
    if (this.#isData) {
      this.#finished += this.#found
      if (this.#hasDone ? doneLine.test(this.#head) : this.#found > 0) this.#done = true
      else if (this.#inError || (this.#dialect === "ollama" ? errorLine : errorData).test(this.#head))
        this.#errorSent = true
    } else if (this.#head.startsWith("event:")) this.#inError = errorName.test(this.#head)
    else if (this.#head === "" || this.#head === "\r") this.#inError = false
    this.#head = ""
    this.#isData = false
    this.#found = 0
    this.#seam = ""
  }
}

const asBuffer = (chunk: Uint8Array): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
