/**
 * Reads an answer until it is known whether it is worth keeping: a stream until its first output, what does not stream
 * to its end where that is near. Nothing is committed to the client before.
 */
import { Effect } from "effect"
import type { Chunks } from "../domain/Bytes.ts"
import { endsWithConnection, formOf, hasBody, isEventStream, isJson, isRedirect } from "../protocol/AnswerForm.ts"
import { isFields } from "../protocol/JsonFields.ts"
import { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import { readStreamedError } from "../protocol/StreamedError.ts"
import { isWholeJson, parsedJson } from "../protocol/WholeJson.ts"
import { BodyEnd, type ExchangeFailed, UpstreamFailed, type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import { AnswerBeginning } from "./AnswerBeginning.ts"
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
  readonly beginning: AnswerBeginning
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
    this.beginning = new AnswerBeginning(plan, attempt, response)
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
    const { attempt, plan, response } = this.beginning
    const { dialect, choices, passedThrough, streaming } = plan
    if (response.socket !== undefined) return this.beginning.answer(false, false)
    const isStream = isEventStream(plan.dialect, response)
    if (passedThrough) {
      // What has no known form is not looked at before it is passed on.
      if (!isStream && isShort(plan, response)) return undefined
      attempt.awaitOutput(attempt.sentAt)
      return this.beginning.answer(false, true, isStream ? new StreamEndDetector(dialect, choices) : undefined)
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
    const beginning = this.beginning
    if (read instanceof BodyEnd) return read.failure ?? halfDocument(beginning) ?? beginning.answer(true, false)
    beginning.take(read)
    if (beginning.size >= maxHeldBytes) return beginning.answer(false, false)
    beginning.attempt.awaitMore()
    return undefined
  }

  /** Events until the first that says something; comments and what only opens a stream are held back, but not for long. */
  #awaitEvents(): Read | undefined {
    this.#form = "events"
    const beginning = this.beginning
    const { attempt, held, plan, response } = beginning
    const detector = (this.#detector ??= new StreamEndDetector(plan.dialect, plan.choices))
    for (; this.#seen < held.length; this.#seen++) detector.push(held[this.#seen] ?? noBytes)
    if (detector.error !== undefined && !detector.hasOutput) return new ErrorInStream(response, detector.error)
    if (detector.hasOutput || beginning.size >= maxHeldCommentBytes) return beginning.answer(false, true, detector)
    const now = attempt.now()
    if (detector.hasEvents && !this.#hasPreamble) {
      this.#hasPreamble = true
      this.#heldSince = now
    } else if (held.length > 0) this.#heldSince ??= now
    const patience = this.#hasPreamble ? maxPreambleMillis : maxCommentMillis
    const left = this.#heldSince === undefined ? patience : this.#heldSince + patience - now
    if (left <= 0) return beginning.answer(false, true, detector)
    if (this.#hasPreamble) attempt.awaitOutputFor(left, now)
    else attempt.awaitOutput(now)
    return undefined
  }

  #pushEvents(read: Chunks | BodyEnd): Read | undefined {
    const beginning = this.beginning
    if (read instanceof BodyEnd) return this.#detector && endedEarly(beginning, this.#detector, read)
    const isFirst = beginning.held.length === 0
    beginning.take(read)
    // Some engines answer with a document, whatever was asked for and whatever they call it.
    const isDocument = isFirst && beginning.plan.dialect !== "ollama" && opensJson(beginning.held[0])
    return isDocument ? this.#awaitJson() : this.#awaitEvents()
  }

  /** A stream was asked for and its head does not say that it is one: what comes is looked at, as such labels are often wrong. */
  #pushUnlabelled(read: Chunks | BodyEnd): Read | undefined {
    const beginning = this.beginning
    if (read instanceof BodyEnd) return read.failure ?? nothingSaid
    beginning.take(read)
    switch (formOf(beginning.plan.dialect, beginning.response, beginning.bytes)) {
      case "events":
        return this.#awaitEvents()
      case "json":
        return this.#awaitJson()
      case "other":
        return beginning.answer(false, true)
      case undefined:
        beginning.attempt.awaitOutput()
        return undefined
    }
  }

  /** One document where a stream was asked for: whole; or lines of JSON, which are passed on as they come. */
  #awaitJson(): Read | undefined {
    this.#form = "json"
    const beginning = this.beginning
    const line = beginning.firstLine()
    const error = line === undefined ? undefined : errorIn(beginning, line)
    if (error !== undefined) return error
    if (line !== undefined && beginning.plan.dialect === "ollama" && saysMoreFollows(line)) return this.#awaitEvents()
    if (beginning.size >= maxHeldBytes || (line !== undefined && isWholeJson(line)))
      return beginning.answer(false, true)
    beginning.attempt.awaitPiece(true)
    return undefined
  }

  #pushJson(read: Chunks | BodyEnd): Read | undefined {
    const beginning = this.beginning
    if (read instanceof BodyEnd) {
      return (
        read.failure ?? halfDocument(beginning) ?? errorIn(beginning, beginning.text) ?? beginning.answer(true, true)
      )
    }
    beginning.take(read)
    return this.#awaitJson()
  }
}

const errorIn = ({ plan, response }: AnswerBeginning, text: string): ErrorInStream | undefined => {
  // Nearly no answer has it, and to look for it costs far less than to parse all.
  const value = text.includes('"error"') ? parsedJson(text) : undefined
  const error = value === undefined ? undefined : readStreamedError(plan.dialect, false, value, text)
  return error === undefined ? undefined : new ErrorInStream(response, error)
}

/** A stream that ended before it said anything is none, whatever it was that ended it. */
const endedEarly = (beginning: AnswerBeginning, detector: StreamEndDetector, { failure }: BodyEnd): Read => {
  const outcome = detector.outcome()
  if (detector.error !== undefined && !detector.hasOutput) return new ErrorInStream(beginning.response, detector.error)
  if (failure !== undefined && !detector.saidAll) return failure
  return detector.hasEvents && outcome === "complete" ? beginning.answer(true, true, detector) : nothingSaid
}

/** Why a document that has ended is none: it is empty, or its end was a cut. */
const halfDocument = (beginning: AnswerBeginning): UpstreamFailed | undefined => {
  const { plan, response, size } = beginning
  if (plan.passedThrough || response.status !== 200) return undefined
  // Nearly all answers leave here: neither empty, nor may their end be a cut.
  if (size > maxBlankBytes && !endsWithConnection(response)) return undefined
  if (!isJson(response)) return undefined
  if (size <= maxBlankBytes && beginning.text.trim() === "") return emptyDocument
  return beginning.isUncertain && !isWholeJson(beginning.text) ? cutDocument : undefined
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
