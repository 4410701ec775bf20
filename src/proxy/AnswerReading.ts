/**
 * Reads an answer until it is known whether it is worth keeping: a stream until its first output, what does not stream
 * to its end where that is near. Nothing is committed to the client before.
 */
import { Effect } from "effect"
import { asBuffer, type Chunks, joined } from "../domain/Bytes.ts"
import {
  endsWithConnection,
  formOf,
  hasBody,
  isEventStream,
  isJson,
  isLabelled,
  isRedirect
} from "../protocol/AnswerForm.ts"
import { JsonBalance } from "../protocol/JsonBalance.ts"
import { isFields } from "../protocol/JsonFields.ts"
import { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import { readStreamedError } from "../protocol/StreamedError.ts"
import { isWholeJson, parsedJson } from "../protocol/WholeJson.ts"
import { BodyEnd, type ExchangeFailed, UpstreamFailed, type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import type { Attempt } from "./Attempt.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import { cutDocument, ErrorInStream, type UpstreamAnswer } from "./UpstreamAnswer.ts"

/** An answer of at most this many bytes is read to its end before the client gets any of it. */
const maxHeldBytes = 1024 * 1024

/** Comments of at most this many bytes are held back. */
const maxHeldCommentBytes = 64 * 1024

/** How long comments alone are held back: a backend that sends them for longer is alive and takes its time. */
const maxCommentMillis = 5000

/**
 * How long an event without output is held back for what may follow: an error that follows at once is still an attempt
 * that failed. The client gets it within 50 ms; due times are met to 20 ms.
 */
const maxPreambleMillis = 30

/** What came of an answer: one to keep, or why there is none. */
export type Read = UpstreamAnswer | ErrorInStream | ExchangeFailed

export const isAnswer = (read: Read): read is UpstreamAnswer => "held" in read

/** For a fiber. */
export const readAnswer = (plan: RequestPlan, attempt: Attempt, response: UpstreamResponse): Effect.Effect<Read> =>
  readOn(response, new AnswerReading(plan, attempt, response))

const readOn = (response: UpstreamResponse, reading: AnswerReading): Effect.Effect<Read> =>
  reading.result === undefined
    ? Effect.flatMap(response.read, (read) => {
        reading.push(read)
        return readOn(response, reading)
      })
    : Effect.succeed(reading.result)

/** How what comes is understood. */
type Form = "document" | "events" | "unlabelled" | "json"

/** One answer that is read: what comes is pushed until there is a result. Mutable by nature. */
export class AnswerReading {
  readonly reader: AnswerReader
  #form: Form = "document"
  #detector: StreamEndDetector | undefined
  /** Pieces that the detector has seen. */
  #seen = 0
  /** Since when something is held back. */
  #heldSince: number | undefined
  #hasPreamble = false
  /** `undefined` while more of the answer is needed. */
  result: Read | undefined

  constructor(plan: RequestPlan, attempt: Attempt, response: UpstreamResponse) {
    this.reader = new AnswerReader(plan, attempt, response)
    this.result = this.#begin()
  }

  push(read: Chunks | BodyEnd): void {
    switch (this.#form) {
      case "document":
        this.result = this.#pushDocument(read)
        break
      case "events":
        this.result = this.#pushEvents(read)
        break
      case "unlabelled":
        this.result = this.#pushUnlabelled(read)
        break
      case "json":
        this.result = this.#pushJson(read)
    }
  }

  #begin(): Read | undefined {
    const { attempt, plan, response } = this.reader
    const { dialect, choices, passedThrough, streaming } = plan
    if (response.socket !== undefined) return this.reader.answer(false, false)
    const isStream = isEventStream(plan.dialect, response)
    if (passedThrough) {
      // What has no known form is not looked at before it is passed on.
      if (!isStream && isShort(plan, response)) return undefined
      attempt.awaitOutput(attempt.sentAt)
      return this.reader.answer(false, true, isStream ? new StreamEndDetector(dialect, choices) : undefined)
    }
    const wasAskedFor = streaming && response.status < 300 && hasBody(plan.request.method, response)
    if (!isStream && !wasAskedFor) return undefined
    attempt.awaitOutput()
    if (isStream) return this.#awaitEvents()
    this.#form = "unlabelled"
    return undefined
  }

  /** A body to its end if that is near. */
  #pushDocument(read: Chunks | BodyEnd): Read | undefined {
    const reader = this.reader
    if (read instanceof BodyEnd) return read.failure ?? halfDocument(reader) ?? reader.answer(true, false)
    reader.take(read)
    if (reader.size >= maxHeldBytes) return reader.answer(false, false)
    reader.attempt.awaitMore()
    return undefined
  }

  /** Events until the first that says something; comments and what only opens a stream are held back, but not for long. */
  #awaitEvents(): Read | undefined {
    this.#form = "events"
    const reader = this.reader
    const { attempt, held, plan, response } = reader
    const detector = (this.#detector ??= new StreamEndDetector(plan.dialect, plan.choices))
    for (; this.#seen < held.length; this.#seen++) detector.push(held[this.#seen] ?? noBytes)
    if (detector.error !== undefined && !detector.hasOutput) return new ErrorInStream(response, detector.error)
    if (detector.hasOutput || reader.size >= maxHeldCommentBytes) return reader.answer(false, true, detector)
    const now = attempt.now()
    if (detector.hasEvents && !this.#hasPreamble) {
      this.#hasPreamble = true
      this.#heldSince = now
    } else if (held.length > 0) this.#heldSince ??= now
    const patience = this.#hasPreamble ? maxPreambleMillis : maxCommentMillis
    const left = this.#heldSince === undefined ? patience : this.#heldSince + patience - now
    if (left <= 0) return reader.answer(false, true, detector)
    if (this.#hasPreamble) attempt.awaitOutputFor(left, now)
    else attempt.awaitOutput(now)
    return undefined
  }

  #pushEvents(read: Chunks | BodyEnd): Read | undefined {
    const reader = this.reader
    if (read instanceof BodyEnd) return this.#detector && endedEarly(reader, this.#detector, read)
    const isFirst = reader.held.length === 0
    reader.take(read)
    // Some engines answer with a document, whatever was asked for and whatever they call it.
    const isDocument = isFirst && reader.plan.dialect !== "ollama" && opensJson(reader.held[0])
    return isDocument ? this.#awaitJson() : this.#awaitEvents()
  }

  /** A stream was asked for and its head does not say that it is one: what comes is looked at, as such labels are often wrong. */
  #pushUnlabelled(read: Chunks | BodyEnd): Read | undefined {
    const reader = this.reader
    if (read instanceof BodyEnd) return read.failure ?? nothingSaid
    reader.take(read)
    switch (formOf(reader.plan.dialect, reader.response, reader.bytes)) {
      case "events":
        return this.#awaitEvents()
      case "json":
        return this.#awaitJson()
      case "other":
        return reader.answer(false, true)
      case undefined:
        reader.attempt.awaitOutput()
        return undefined
    }
  }

  /** One document where a stream was asked for: whole; or lines of JSON, which are passed on as they come. */
  #awaitJson(): Read | undefined {
    this.#form = "json"
    const reader = this.reader
    const line = reader.firstLine()
    const error = line === undefined ? undefined : errorIn(reader, line)
    if (error !== undefined) return error
    if (line !== undefined && reader.plan.dialect === "ollama" && saysMoreFollows(line)) return this.#awaitEvents()
    if (reader.size >= maxHeldBytes || (line !== undefined && isWholeJson(line))) return reader.answer(false, true)
    reader.attempt.awaitPiece(true)
    return undefined
  }

  #pushJson(read: Chunks | BodyEnd): Read | undefined {
    const reader = this.reader
    if (read instanceof BodyEnd) {
      return read.failure ?? halfDocument(reader) ?? errorIn(reader, reader.text) ?? reader.answer(true, true)
    }
    reader.take(read)
    return this.#awaitJson()
  }
}

const errorIn = ({ plan, response }: AnswerReader, text: string): ErrorInStream | undefined => {
  // Nearly no answer has it, and to look for it costs far less than to parse all.
  const value = text.includes('"error"') ? parsedJson(text) : undefined
  const error = value === undefined ? undefined : readStreamedError(plan.dialect, false, value, text)
  return error === undefined ? undefined : new ErrorInStream(response, error)
}

/** A stream that ended before it said anything is none, whatever it was that ended it. */
const endedEarly = (reader: AnswerReader, detector: StreamEndDetector, { failure }: BodyEnd): Read => {
  const outcome = detector.outcome()
  if (detector.error !== undefined && !detector.hasOutput) return new ErrorInStream(reader.response, detector.error)
  if (failure !== undefined && !detector.saidAll) return failure
  return detector.hasEvents && outcome === "complete" ? reader.answer(true, true, detector) : nothingSaid
}

/** Why a document that has ended is none: it is empty, or its end was a cut. */
const halfDocument = (reader: AnswerReader): UpstreamFailed | undefined => {
  const { plan, response, size } = reader
  if (plan.passedThrough || response.status !== 200) return undefined
  // Nearly all answers leave here: neither empty, nor may their end be a cut.
  if (size > maxBlankBytes && !endsWithConnection(response)) return undefined
  if (!isJson(response)) return undefined
  if (size <= maxBlankBytes && reader.text.trim() === "") return emptyDocument
  return reader.isUncertain && !isWholeJson(reader.text) ? cutDocument : undefined
}

/** Of bytes; a longer document is not searched for anything but blanks. */
const maxBlankBytes = 64

/** Whether the end of an answer is near, so that it can be waited for; else it may be a stream of any kind. */
const isShort = (plan: RequestPlan, response: UpstreamResponse): boolean =>
  !hasBody(plan.request.method, response) ||
  isRedirect(response.status) ||
  Number(response.headers["content-length"] ?? Number.NaN) <= maxHeldBytes

/** Whether a line of Ollama's is one of several, whatever its label. */
const saysMoreFollows = (line: string): boolean => {
  const value = parsedJson(line)
  return isFields(value) && value["done"] === false
}

const opensJson = (piece: Uint8Array | undefined): boolean => piece?.[0] === openBrace

const openBrace = 0x7b
const noBytes = new Uint8Array(0)

const nothingSaid = new UpstreamFailed({ kind: "reset", detail: "the stream ended before its first event" })
const emptyDocument = new UpstreamFailed({ kind: "reset", detail: "the answer is empty" })

/** What has come so far of an answer, and what is kept of it. Mutable by nature: written by the fiber that reads. */
class AnswerReader {
  readonly plan: RequestPlan
  readonly attempt: Attempt
  readonly response: UpstreamResponse
  readonly held: Array<Uint8Array> = []
  size = 0
  /** Pieces that were searched for the end of the first line. */
  #searched = 0
  #hasLine = false

  constructor(plan: RequestPlan, attempt: Attempt, response: UpstreamResponse) {
    this.plan = plan
    this.attempt = attempt
    this.response = response
  }

  take(pieces: Chunks): void {
    for (const piece of pieces) {
      // What woke the reader is no piece.
      if (piece.length === 0) continue
      this.held.push(piece)
      this.size += piece.length
    }
  }

  /** All of it, as text. */
  get text(): string {
    return this.bytes.toString("utf8")
  }

  get bytes(): Buffer {
    return asBuffer(joined(this.held))
  }

  /** The first line, once: when its end has come. */
  firstLine(): string | undefined {
    for (; !this.#hasLine && this.#searched < this.held.length; this.#searched++) {
      this.#hasLine = this.held[this.#searched]?.includes(lineFeed) ?? false
      if (!this.#hasLine) continue
      const { bytes } = this
      return bytes.toString("utf8", 0, bytes.indexOf(lineFeed))
    }
    return undefined
  }

  /** Whether it is a document of JSON whose end only the connection tells: then a cut looks like an end. */
  get isUncertain(): boolean {
    const { held, response } = this
    if (response.status >= 300 || !endsWithConnection(response) || !isJson(response)) return false
    return isLabelled(response) || opensDocument.test(Buffer.from(held[0] ?? []).toString("latin1", 0, 64))
  }

  answer(complete: boolean, streams: boolean, detector?: StreamEndDetector): UpstreamAnswer {
    const { attempt, held, response } = this
    const balance = !complete && detector === undefined && this.isUncertain ? new JsonBalance() : undefined
    if (balance !== undefined) for (const piece of held) balance.push(piece)
    return { attempt, response, held, complete, streams, detector, balance }
  }
}

const lineFeed = 0x0a

const opensDocument = /^\s*[{[]/
