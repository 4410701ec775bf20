/**
 * Tells a complete stream from a cut one, without changing a byte of what passes; and tells when it has begun to say
 * something, and which error the backend told in it.
 *
 * It looks for the marks by which each dialect ends, and only in whole lines: half a line is half an event. Inside a
 * JSON string every quote is escaped and no line break is bare, so neither the start of a line nor a name with its
 * value can be faked by what a model writes.
 */
import { asBuffer } from "../domain/Bytes.ts"
import type { Dialect } from "./Endpoint.ts"
import { EventText } from "./EventText.ts"
import { isOutput } from "./FirstOutput.ts"
import { isFields } from "./JsonFields.ts"
import { LongLine } from "./LongLine.ts"
import { readStreamedError, type StreamedError } from "./StreamedError.ts"
import { TailBuffer } from "./TailBuffer.ts"
import { readEvalCounts, readFirstUsage, readUsage, type Usage } from "./Usage.ts"
import { parsedJson } from "./WholeJson.ts"

export type StreamOutcome =
  | "complete"
  /** The backend itself said in the stream that something went wrong; the client knows already. */
  | "error_sent"
  | "truncated"

const doneLine = /^data:[ \t]*\[DONE\]/
const errorName = /^event: ?error\s*$/
const errorLead = /^(?:data:)?\s*\{\s*"(?:error"\s*:\s*["{]|(?:type|object)"\s*:\s*"error")/

/** What tells the end from inside of a line. An empty reason, as some engines send all the time, is none. */
const endings: Record<Dialect, RegExp | undefined> = {
  chat: /"finish_reason"\s{0,9}:\s{0,9}"[^"]/g,
  responses: /"type"\s{0,9}:\s{0,9}"response\.(?:completed|incomplete|failed)"/g,
  messages: /"type"\s{0,9}:\s{0,9}"message_stop"/g,
  ollama: /"done"\s{0,9}:\s{0,9}true/g,
  none: undefined
}

/** What makes a line worth a closer look; nearly none has it. */
const marks: Record<Dialect, RegExp> = {
  chat: /"(?:finish_reason"\s*:\s*"[^"]|error"(?!\s*:\s*null))|\[DONE\]/,
  responses: /"(?:response\.(?:completed|incomplete|failed)|error)"(?!\s*:\s*null)/,
  messages: /"(?:message_stop|error)"(?!\s*:\s*null)/,
  ollama: /"(?:done"\s*:\s*true|error"(?!\s*:\s*null))/,
  none: /"error"(?!\s*:\s*null)|\[DONE\]/
}

const errorMark = /"error"(?!\s*:\s*null)|"response\.failed"/

/** Bytes that are looked at together: of a larger piece no text is made that is larger. */
const windowBytes = 65_536

/** Characters of an event that are kept until it ends. A larger one is output, and an error only if it begins like one. */
const maxEventChars = 16_384

/** Bytes at the beginning and at the end that are kept to find the usage in. */
const keptBytes = 4096

/** One for each stream; written by the one fiber that relays it. How the bytes are cut into chunks makes no difference. */
export class StreamEndDetector {
  readonly #dialect: Dialect
  readonly #choices: number
  readonly #ending: RegExp | undefined
  readonly #marks: RegExp
  /** How a line of data begins. */
  readonly #lead: string
  readonly #text = new EventText()
  #outputs = 0
  #finished = 0
  #done = false
  #hasOutput = false
  #hasEvents = false
  #isEnded = false
  #error: StreamedError | undefined
  /** Of the event under way: its lines of data, whether they are more than is kept, and what may be an error. */
  #data = ""
  #isVast = false
  #isNamedError = false
  #isSuspect = false
  /** Of the line under way: what came of it; or, if that is too much to be kept, what is known of it. */
  #part = ""
  #long: LongLine | undefined
  readonly #first = new TailBuffer(keptBytes)
  readonly #last = new TailBuffer(keptBytes)

  /** `choices`: how many must have finished for a stream without a `[DONE]` to be complete. */
  constructor(dialect: Dialect, choices: number) {
    this.#dialect = dialect
    this.#choices = choices
    this.#ending = endings[dialect]
    this.#marks = marks[dialect]
    this.#lead = dialect === "ollama" ? "{" : "data:"
  }

  /** Lines of data so far, which is how engines send their output. */
  get outputs(): number {
    return this.#outputs
  }

  /** Whether an event has come that says more than that something begins. */
  get hasOutput(): boolean {
    return this.#hasOutput
  }

  /** Whether an event has come at all, and not only comments. */
  get hasEvents(): boolean {
    return this.#hasEvents
  }

  /** Whether what was sent so far ends with a whole line, so that an event can follow. */
  get atLineEnd(): boolean {
    return this.#part === "" && this.#long === undefined && !this.#text.afterReturn
  }

  /** Whether the end was announced: what happens to the connection afterwards takes nothing away. */
  get saidAll(): boolean {
    return this.#done || (this.#part !== "" && this.#hasDone && doneLine.test(this.#part))
  }

  /** The first error that the backend told: the client knows, whatever comes behind it. */
  get error(): StreamedError | undefined {
    return this.#error
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    if (this.#dialect === "messages" && this.#first.size < keptBytes) {
      this.#first.push(chunk.subarray(0, keptBytes - this.#first.size))
    }
    this.#last.push(chunk)
    const bytes = asBuffer(chunk)
    if (bytes.length <= windowBytes) this.#take(this.#text.read(bytes))
    else {
      for (let at = 0; at < bytes.length; at += windowBytes) {
        this.#take(this.#text.read(bytes.subarray(at, at + windowBytes)))
      }
    }
  }

  /**
   * No more will come. An event is over without the empty line that ought to follow it; half a line is none, except where
   * it is all that came: it may be the reason why.
   */
  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    const isAll = !this.#hasEvents && this.#data === ""
    if (this.#part !== "" && (this.#dialect === "ollama" || isAll)) this.#line(this.#part, true)
    this.#endEvent()
  }

  /** What the end of the body means, where the connection ended it in order. */
  outcome(): StreamOutcome {
    this.end()
    // Some engines say [DONE] behind their error, too.
    if (this.#error !== undefined) return "error_sent"
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

  #take(text: string): void {
    // To look once costs less than to look at each line.
    const isMarked = this.#marks.test(text)
    let at = 0
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", at)) {
      const line = text.slice(at, end)
      if (this.#part === "" && this.#long === undefined) this.#line(line, isMarked)
      else this.#endPart(line)
      at = end + 1
    }
    if (at < text.length) this.#grow(at === 0 ? text : text.slice(at))
  }

  #grow(part: string): void {
    if (this.#long !== undefined) return this.#long.push(part)
    this.#part += part
    if (this.#part.length <= maxEventChars) return
    this.#long = new LongLine(this.#part.startsWith(this.#lead) ? this.#ending : undefined, this.#part)
    this.#part = ""
    if (this.#long.head.startsWith(this.#lead)) this.#hasOutput = true
  }

  #endPart(rest: string): void {
    this.#grow(rest)
    const { part, long } = { part: this.#part, long: this.#long }
    this.#part = ""
    this.#long = undefined
    if (long === undefined) this.#line(part, true)
    else if (long.head.startsWith(this.#lead)) this.#vastLine(long.head, long.found)
  }

  /** `isMarked`: whether it may hold anything that counts. */
  #line(line: string, isMarked: boolean): void {
    if (line === "") return this.#endEvent()
    if (line.startsWith(this.#lead)) {
      if (line.length > maxEventChars) this.#vastLine(line, countOf(this.#ending, line))
      else this.#dataLine(line, isMarked)
    } else if (this.#dialect !== "ollama") this.#field(line)
  }

  #field(line: string): void {
    if (line.startsWith("event:")) this.#isNamedError = errorName.test(line)
    // As llama.cpp has it: a field that the standard does not know, which says all by itself.
    else if (line.startsWith("error:")) {
      this.#isNamedError = true
      this.#keep(`data:${line.slice("error:".length)}`)
    }
  }

  #dataLine(line: string, isMarked: boolean): void {
    this.#outputs++
    this.#keep(line)
    if (isMarked) {
      this.#isSuspect ||= errorMark.test(line)
      if (this.#hasDone && doneLine.test(line)) this.#done = true
      this.#count(countOf(this.#ending, line))
    }
    if (this.#dialect === "ollama") this.#endEvent()
  }

  #vastLine(head: string, found: number): void {
    this.#outputs++
    this.#isVast = true
    this.#keep(head.slice(0, maxEventChars))
    this.#isSuspect ||= errorLead.test(head)
    this.#count(found)
    if (this.#dialect === "ollama") this.#endEvent()
  }

  #count(found: number): void {
    if (found === 0) return
    this.#finished += found
    // What a tool is called with may hold the very same words.
    if (this.#dialect === "ollama") this.#done ||= this.#isVast || isDone(parsedJson(this.#data))
    else this.#done ||= this.#dialect !== "chat"
  }

  #keep(line: string): void {
    if (this.#data === "") this.#data = line
    else if (this.#data.length + line.length > maxEventChars) this.#isVast = true
    else this.#data += `\n${line}`
  }

  #endEvent(): void {
    if (this.#data !== "") {
      this.#hasEvents = true
      if (!this.#hasOutput || this.#isSuspect || this.#isNamedError) this.#examine()
    }
    this.#data = ""
    this.#isVast = false
    this.#isNamedError = false
    this.#isSuspect = false
  }

  #examine(): void {
    const text = dataOf(this.#data)
    const value = this.#isVast ? undefined : parsedJson(text)
    const isError = this.#isNamedError || (this.#isVast && this.#isSuspect)
    const error = readStreamedError(this.#dialect, isError, value, this.#isVast ? "" : text)
    this.#error ??= error
    // Nothing that follows an error makes a stream of it.
    this.#hasOutput ||= this.#error === undefined && isOutput(this.#dialect, value)
  }
}

const countOf = (ending: RegExp | undefined, line: string): number =>
  // Few lines have any, and to look for the first costs far less than to look for all.
  ending === undefined || line.search(ending) < 0 ? 0 : [...line.matchAll(ending)].length

/** The lines of an event as its data; text of one character a byte becomes what it says. */
const dataOf = (lines: string): string => Buffer.from(lines.replaceAll(dataLead, ""), "latin1").toString("utf8")

const dataLead = /^data: ?/gm

const isDone = (value: unknown): boolean => isFields(value) && value["done"] === true
