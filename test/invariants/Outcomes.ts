/** What may have come of one request, given what its backends did; worked out from the script, not from the gateway. */
import { UpstreamFailed } from "../../src/transport/UpstreamTransport.ts"
import type { Reading } from "../proxy/Harness.ts"
import type { Answer, Exchange, Step } from "../proxy/ScriptedTransport.ts"
import type { Oracle, Trail } from "./Oracle.ts"
import type { Plan, PlannedRequest } from "./Plan.ts"

/** How a request ended, as its client saw it. */
export type Ending =
  | { readonly _tag: "Answered" }
  | { readonly _tag: "Refused"; readonly code: string; readonly status: number }
  | { readonly _tag: "Left" }
  | { readonly _tag: "Crashed"; readonly cause: string }

export interface Done {
  readonly planned: PlannedRequest
  readonly trail: Trail
  readonly reading: Reading
  readonly ending: Ending
  /** Milliseconds from its arrival to its end. */
  readonly took: number
  /** The backends that could have been asked when it ended. */
  readonly eligible: ReadonlyArray<string>
}

const isAnswer = (step: Step | undefined): step is Answer => step !== undefined && "pieces" in step

const sentBy = ({ pieces }: Exchange): Buffer => Buffer.concat(pieces)

const failureOf = ({ state }: Exchange): UpstreamFailed | undefined =>
  state instanceof UpstreamFailed ? state : undefined

const isEvents = ({ step }: Exchange): boolean =>
  isAnswer(step) && step.status < 300 && step.headers["content-type"] === "text/event-stream"

/** Whether these bytes say all that a chat has to say, read line by line. */
const saysAll = (bytes: Buffer, choices: number, endedInOrder: boolean): boolean => {
  const lines = bytes.toString("utf8").split("\n")
  const whole = lines.slice(0, -1)
  if (whole.includes("data: [DONE]") || lines.at(-1)?.startsWith("data: [DONE]") === true) return true
  const finished = whole.filter((line) => /^data: .*"finish_reason":"(?:stop|length)"\}\]\}$/.test(line)).length
  return endedInOrder && finished >= choices
}

/** The exchange of which the client got something. */
const committed = ({ reading, trail }: Done): Exchange | undefined =>
  trail.exchanges.findLast(({ request }) => request.backend.name === reading.headers["x-routed-node"])

export const checkOne = (done: Done, plan: Plan, oracle: Oracle): void => {
  const { ending, reading, trail, planned } = done
  const who = `request ${planned.index}`
  const must = (isTrue: boolean, otherwise: () => string) => oracle.expect(isTrue, () => `${who} ${otherwise()}`)

  must(ending._tag !== "Crashed", () => `crashed: ${ending._tag === "Crashed" ? ending.cause : ""}`)
  must(ending._tag !== "Left" || Number.isFinite(planned.patience), () => "was ended though nobody had left")
  must(done.took <= planned.deadline + lateness, () => `took ${done.took} ms with ${planned.deadline} ms to go`)
  const { exchanges, retries } = trail
  const most = retries + (plan.hedges ? 2 : 1)
  must(exchanges.length <= most, () => `was sent ${exchanges.length} times with ${retries} retries`)
  must(reading.report.attempts === exchanges.length, () => `counts ${reading.report.attempts} attempts`)
  if (reading.status !== 0) {
    must(reading.headers["x-weir-attempts"] === String(exchanges.length), () => "tells another number of attempts")
    const [last] = exchanges.slice(-1)
    const named = reading.headers["x-routed-node"]
    must(plan.hedges || named === last?.request.backend.name, () => "tells another backend")
  }
  for (const before of plan.hedges ? [] : exchanges.slice(0, -1)) {
    must(worthAnother(before, planned), () => `was sent again after ${outcomeOf(before)}`)
  }
  checkText(done, must)
  checkLoss(done, plan, must)
}

/** Deadlines are met to 20 ms, never early. */
const lateness = 21

type Must = (isTrue: boolean, otherwise: () => string) => void

const outcomeOf = ({ state, step }: Exchange): string =>
  isAnswer(step) ? `${step.status} ${step.end}` : typeof state === "string" ? state : state.message

/** Whether a request may be sent again after an exchange like this. */
const worthAnother = (exchange: Exchange, { repeatable }: PlannedRequest): boolean => {
  const { answered, step } = exchange
  if (!repeatable) return step !== undefined && "fails" in step && step.fails === "connect"
  if (!answered || !isAnswer(step)) return true
  // A 4xx is the request's fault at any backend; what broke off before the client got any of it is no answer.
  return step.status >= 500 || step.status === 429 || failureOf(exchange) !== undefined || isEvents(exchange)
}

/** What the client has is what the backend sent: to the byte, and told apart by its end. */
const checkText = (done: Done, must: Must): void => {
  const { ending, reading, trail, planned } = done
  const exchange = committed(done)
  if (exchange === undefined || !isAnswer(exchange.step)) return
  const { status } = exchange.step
  must(reading.status === status, () => `got ${reading.status} for ${status}`)
  const bytes = sentBy(exchange)
  const inOrder = exchange.state === "finished"
  const text = (isEvents(exchange) ? reading.text : Buffer.from(reading.text, "utf8").toString("latin1")) || ""
  const sent = bytes.toString("latin1")
  if (ending._tag === "Left") {
    const got = reading.text
    return must(sent.startsWith(got) || bytes.toString("utf8").startsWith(got), () => "got bytes that nobody sent")
  }
  if (!isEvents(exchange)) {
    const got = reading.text
    must(reading.broken !== inOrder, () => `was ${reading.broken ? "broken" : "ended in order"}, which is not true`)
    return must(got === sent || got === bytes.toString("utf8") || text === sent, () => "got other bytes than were sent")
  }
  if (planned.passedThrough) {
    const whole = inOrder || saysAll(bytes, Number.POSITIVE_INFINITY, false)
    must(reading.broken !== whole, () => `was ${reading.broken ? "broken" : "ended in order"}, which is not true`)
    return must(text === sent, () => "got other bytes than were sent")
  }
  const said = trail.saidAtCommit ?? ""
  must(/^data:/m.test(said) || said === sent, () => `had its answer begun with ${said}`)
  const complete = saysAll(bytes, planned.choices, inOrder)
  must(!reading.broken, () => "was broken instead of told")
  must(text.startsWith(sent), () => `got other bytes than were sent: ${text} for ${sent}`)
  if (complete) return must(text === sent, () => `got more than was sent: ${text.slice(sent.length)}`)
  const tail = text.slice(sent.length)
  must(/^\n\n?data: \{"error":\{.*"code":"upstream_(?:truncated|timeout)"\}\}\n\n$/.test(tail), () => `ends as ${tail}`)
}

/** No request is lost that a backend could have served. */
const checkLoss = (done: Done, plan: Plan, must: Must): void => {
  const { eligible, ending, reading, trail, planned } = done
  const { exchanges, retries } = trail
  const untouched = exchanges.every(({ answered }) => !answered)
  if (
    ending._tag === "Refused" &&
    !Number.isFinite(planned.deadline) &&
    planned.repeatable &&
    untouched &&
    exchanges.length <= retries
  ) {
    const asked = new Set(exchanges.map(({ request }) => request.backend.name))
    const others = eligible.filter((name) => !asked.has(name))
    const isLost = ["upstream_error", "upstream_timeout", "no_healthy_backend"].includes(ending.code)
    must(
      !isLost || isUpToPatience(exchanges) || others.length === 0,
      () => `was lost (${ending.code}) though ${others.join()} could have served it`
    )
  }
  if (isUpToPatience(exchanges)) return
  if (plan.rock === undefined || ending._tag === "Left" || Number.isFinite(planned.deadline) || !planned.repeatable)
    return
  if (ending._tag === "Refused") {
    return must(
      ending.code === "rate_limit_exceeded",
      () => `was refused with ${ending.code} though ${plan.rock} lives`
    )
  }
  must(reading.status < 500 && reading.status !== 429, () => `got ${reading.status} though ${plan.rock} lives`)
}

/** Two that were silent, or one that took as long as a whole answer may: another try would cost the client as much again. */
const isUpToPatience = (exchanges: ReadonlyArray<Exchange>): boolean => {
  const details = exchanges.flatMap((exchange) => failureOf(exchange)?.detail ?? [])
  return details.includes("request") || details.filter((detail) => detail === "first_byte").length > 1
}

/**
 * What an exchange says of its backend, by the rules of blame. `perhaps`: a failure that counts or not by what could have
 * been asked besides, which the script does not tell.
 */
export type Word = "blamed" | "perhaps" | "praised" | "nothing"

export interface Saying {
  readonly word: Word
  /** It had counted as a success when it broke. */
  readonly brokeOff: boolean
}

const say = (word: Word, brokeOff = false): Saying => ({ word, brokeOff })

export const sayingOf = (exchange: Exchange, done: Done): Saying => {
  const { answered, step } = exchange
  const failure = failureOf(exchange)
  const byPath = done.planned.passedThrough
  const isOurs = failure?.kind === "timeout" && failure.detail !== "deadline"
  const isTheirs = failure?.detail === "scripted"
  if (failure?.kind === "connect") return say("blamed")
  if (byPath) return say("nothing")
  if (!answered || !isAnswer(step)) return say(isOurs ? "blamed" : isTheirs ? failed(done) : "nothing")
  if (step.status === 429 || step.status === 503) return say("nothing")
  if (step.status >= 500) return say(failed(done))
  if (committed(done) !== exchange) {
    const saidNothing = exchange.state === "finished" && isEvents(exchange)
    return say(isOurs ? "blamed" : isTheirs || saidNothing ? failed(done) : "nothing")
  }
  if (step.status >= 400) return say("nothing", isTheirs)
  if (!isEvents(exchange)) return say("praised", isTheirs)
  if (done.ending._tag === "Left") return say("praised")
  const inOrder = exchange.state === "finished"
  const cut = isTheirs || inOrder
  return say("praised", cut && !saysAll(sentBy(exchange), done.planned.choices, inOrder))
}

/** What an answer with an error, or one that broke off, says: it depends on what became of the request. */
const failed = (done: Done): Word => {
  const kept = committed(done)
  if (kept === undefined || !isAnswer(kept.step)) return "perhaps"
  if (kept.step.status < 400) return "blamed"
  return kept.step.status < 500 && kept.step.status !== 429 ? "nothing" : "perhaps"
}
