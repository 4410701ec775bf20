/**
 * Reads an answer until it is known whether it is worth keeping: a stream until its first output, what does not stream
 * to its end where that is near. Nothing is committed to the client before.
 */
import { Effect } from "effect"
import { isFields } from "../protocol/JsonFields.ts"
import { StreamEndDetector } from "../protocol/StreamEndDetector.ts"
import { readStreamedError } from "../protocol/StreamedError.ts"
import { isWholeJson, parsedJson } from "../protocol/WholeJson.ts"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "../transport/UpstreamTransport.ts"
import { endsWithConnection, formOf, hasBody, isEventStream, isJson } from "./AnswerForm.ts"
import type { Attempt } from "./Attempt.ts"
import { ErrorInStream } from "./ErrorInStream.ts"
import type { RequestPlan } from "./RequestPlan.ts"
import { AnswerReader, cutDocument, type UpstreamAnswer } from "./UpstreamAnswer.ts"

/** An answer of at most this many bytes is read to its end before the client gets any of it. */
const holdBytes = 1024 * 1024

/** Comments of at most this many bytes are held back. */
const holdCommentBytes = 64 * 1024

/** How long comments alone are held back: who sends them for longer is alive and takes its time. */
const commentPatienceMillis = 5000

/**
 * How long an event without output is held back for what may follow: an error that follows at once is still an attempt
 * that failed. The client gets it within 50 ms; due times are met to 20 ms.
 */
const preamblePatienceMillis = 30

export type { UpstreamAnswer as Answer } from "./UpstreamAnswer.ts"

/** What came of an answer: one to keep, or why there is none. */
export type Read = UpstreamAnswer | ErrorInStream | UpstreamFailed

export const readAnswer = (mission: RequestPlan, attempt: Attempt, response: UpstreamResponse): Effect.Effect<Read> => {
  const { state: flight, passedThrough } = mission
  const reading = new AnswerReader(mission, attempt, response)
  if (response.socket !== undefined) return Effect.succeed(reading.answer(false, false))
  const isStream = isEventStream(mission, response)
  if (passedThrough) {
    // What has no known form is not looked at before it is passed on.
    if (!isStream && isShort(mission, response)) return readDocument(reading)
    attempt.awaitOutput(attempt.sentAt)
    const judge = isStream ? new StreamEndDetector(mission.dialect, mission.choices) : undefined
    return Effect.succeed(reading.answer(false, true, judge))
  }
  const wasAskedFor = flight.streaming && response.status < 300 && hasBody(mission, response)
  if (!isStream && !wasAskedFor) return readDocument(reading)
  attempt.awaitOutput()
  return isStream ? readEvents(reading) : readUnlabelled(reading)
}

/** A body to its end if that is near. */
const readDocument = Effect.fnUntraced(function* (reading: AnswerReader): Effect.fn.Return<Read> {
  const { attempt, response } = reading
  for (;;) {
    const read = yield* response.read
    if (read instanceof BodyEnd) return read.failure ?? halfDocument(reading) ?? reading.answer(true, false)
    reading.take(read)
    if (reading.size >= holdBytes) return reading.answer(false, false)
    attempt.awaitMore()
  }
})

/** Events until the first that says something; comments and what only opens a stream are held back, but not for long. */
const readEvents = Effect.fnUntraced(function* (reading: AnswerReader): Effect.fn.Return<Read> {
  const { attempt, held, mission, response } = reading
  const judge = new StreamEndDetector(mission.dialect, mission.choices)
  let seen = 0
  /** Since when something is held back. */
  let since: number | undefined
  let hasPreamble = false
  for (;;) {
    for (; seen < held.length; seen++) judge.push(held[seen] ?? noBytes)
    if (judge.error !== undefined && !judge.hasOutput) return new ErrorInStream(response, judge.error)
    if (judge.hasOutput || reading.size >= holdCommentBytes) return reading.answer(false, true, judge)
    const now = attempt.now()
    if (judge.hasEvents && !hasPreamble) {
      hasPreamble = true
      since = now
    } else if (held.length > 0) since ??= now
    const patience = hasPreamble ? preamblePatienceMillis : commentPatienceMillis
    const left = since === undefined ? patience : since + patience - now
    if (left <= 0) return reading.answer(false, true, judge)
    if (hasPreamble) attempt.awaitOutputFor(left, now)
    else attempt.awaitOutput(now)
    const read = yield* response.read
    if (read instanceof BodyEnd) return endedEarly(reading, judge, read)
    const isFirst = held.length === 0
    reading.take(read)
    // Some engines answer with a document, whatever was asked for and whatever they call it.
    if (isFirst && mission.dialect !== "ollama" && opensJson(held[0])) return yield* readJson(reading)
  }
})

/** A stream that ended before it said anything is none, whatever it was that ended it. */
const endedEarly = (reading: AnswerReader, judge: StreamEndDetector, { failure }: BodyEnd): Read => {
  const verdict = judge.verdict()
  if (judge.error !== undefined && !judge.hasOutput) return new ErrorInStream(reading.response, judge.error)
  if (failure !== undefined && !judge.saidAll) return failure
  return judge.hasEvents && verdict === "complete" ? reading.answer(true, true, judge) : nothingSaid
}

/** A stream was asked for and its head does not say that it is one: what comes is looked at, since such labels are often wrong. */
const readUnlabelled = Effect.fnUntraced(function* (reading: AnswerReader): Effect.fn.Return<Read> {
  const { attempt, mission, response } = reading
  for (;;) {
    attempt.awaitOutput()
    const read = yield* response.read
    if (read instanceof BodyEnd) return read.failure ?? nothingSaid
    reading.take(read)
    switch (formOf(mission, response, reading.bytes)) {
      case "events":
        return yield* readEvents(reading)
      case "json":
        return yield* readJson(reading)
      case "other":
        return reading.answer(false, true)
    }
  }
})

/** One document where a stream was asked for: whole; or lines of JSON, which are passed on as they come. */
const readJson = Effect.fnUntraced(function* (reading: AnswerReader): Effect.fn.Return<Read> {
  const { attempt, mission, response } = reading
  for (;;) {
    const line = reading.firstLine()
    const error = line === undefined ? undefined : errorIn(reading, line)
    if (error !== undefined) return error
    if (line !== undefined && mission.dialect === "ollama" && saysMoreFollows(line)) return yield* readEvents(reading)
    if (reading.size >= holdBytes || (line !== undefined && isWholeJson(line))) return reading.answer(false, true)
    attempt.awaitPiece(true)
    const read = yield* response.read
    if (read instanceof BodyEnd) {
      return read.failure ?? halfDocument(reading) ?? errorIn(reading, reading.text) ?? reading.answer(true, true)
    }
    reading.take(read)
  }
})

const errorIn = ({ mission, response }: AnswerReader, text: string): ErrorInStream | undefined => {
  // Nearly no answer has it, and to look for it costs far less than to parse all.
  const value = text.includes('"error"') ? parsedJson(text) : undefined
  const error = value === undefined ? undefined : readStreamedError(mission.dialect, false, value, text)
  return error === undefined ? undefined : new ErrorInStream(response, error)
}

/** Why a document that has ended is none: it is empty, or its end was a cut. */
const halfDocument = (reading: AnswerReader): UpstreamFailed | undefined => {
  const { mission, response, size } = reading
  if (mission.passedThrough || response.status !== 200) return undefined
  // Nearly all answers leave here: neither empty, nor may their end be a cut.
  if (size > longestBlank && !endsWithConnection(response)) return undefined
  if (!isJson(response)) return undefined
  if (size <= longestBlank && reading.text.trim() === "") return emptyDocument
  return reading.isUncertain && !isWholeJson(reading.text) ? cutDocument : undefined
}

/** Of bytes; a longer document is not searched for anything but blanks. */
const longestBlank = 64

/** Whether the end of an answer is near, so that it can be waited for; else it may be a stream of any kind. */
const isShort = (mission: RequestPlan, response: UpstreamResponse): boolean =>
  !hasBody(mission, response) ||
  isRedirect(response.status) ||
  Number(response.headers["content-length"] ?? Number.NaN) <= holdBytes

/** What a client is sent elsewhere by; its body, if it has one, is a page for a person. */
export const isRedirect = (status: number): boolean => status >= 300 && status < 400 && status !== 304

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
