/** The faults in force, and which of them a request meets. */
import { Clock, Duration, Effect } from "effect"
import type { RequestFault } from "./Faults.ts"
import type { Random } from "./Random.ts"

/** What is known of a request when its fault is chosen. */
export interface Circumstance {
  readonly path: string
  /** `head`: nothing of the body was read, so only faults that do not look at it are considered. */
  readonly phase: "head" | "body"
  readonly stream: boolean
}

export interface FaultBook {
  readonly replace: (faults: ReadonlyArray<RequestFault>) => Effect.Effect<void>
  readonly add: (faults: ReadonlyArray<RequestFault>) => Effect.Effect<void>
  /** What is still in force, with the `times` that are left. */
  readonly list: () => ReadonlyArray<RequestFault>
  /** The first fault that matches; its `times` go down by one. At most one plays on a request. */
  readonly pick: (circumstance: Circumstance) => Effect.Effect<RequestFault | undefined>
}

/** The endpoints that generate or compute: faults without a `path` are about these. */
export const inferencePaths: ReadonlyArray<string> = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/embeddings",
  "/v1/responses",
  "/v1/messages",
  "/v1/rerank",
  "/v1/score",
  "/tokenize",
  "/detokenize",
  "/v1/tokenize",
  "/v1/detokenize"
]

interface InForce {
  readonly fault: RequestFault
  readonly since: number
  left: number
}

export const makeFaultBook = (random: Random): FaultBook => {
  let entries: ReadonlyArray<InForce> = []

  const enter = (faults: ReadonlyArray<RequestFault>) =>
    Effect.map(Clock.currentTimeMillis, (since) =>
      faults.map((fault): InForce => ({ fault, since, left: fault.times ?? Number.POSITIVE_INFINITY }))
    )

  const pick = Effect.fnUntraced(function* (circumstance: Circumstance) {
    if (entries.length === 0) return undefined
    const now = yield* Clock.currentTimeMillis
    const found = entries.find((entry) => meets(entry, circumstance, now, random))
    if (found === undefined) return undefined
    found.left--
    entries = entries.filter(({ left }) => left > 0)
    return found.fault
  })

  return {
    replace: (faults) =>
      Effect.map(enter(faults), (entered) => {
        entries = entered
      }),
    add: (faults) =>
      Effect.map(enter(faults), (entered) => {
        entries = [...entries, ...entered]
      }),
    list: () => entries.map(({ fault, left }) => (fault.times === undefined ? fault : { ...fault, times: left })),
    pick
  }
}

/** Faults that are decided on the head of a request to an inference endpoint; the others wait for its body. */
const decidedOnHead = (fault: RequestFault): boolean => fault.kind === "early_answer" || fault.kind === "flap"

const meets = ({ fault, since }: InForce, circumstance: Circumstance, now: number, random: Random): boolean => {
  const { path, phase, stream } = circumstance
  const inference = inferencePaths.includes(path)
  if (inference && decidedOnHead(fault) !== (phase === "head")) return false
  if (!(fault.path === undefined ? inference || fault.kind === "flap" : path.startsWith(fault.path))) return false
  if (streamWanted(fault) !== undefined && streamWanted(fault) !== stream) return false
  if (fault.kind === "flap" && isUp(fault.up, fault.down, now - since)) return false
  return fault.ratio === undefined || random() < fault.ratio
}

const streamWanted = (fault: RequestFault): boolean | undefined => {
  // Only a stream has a [DONE].
  if (fault.kind === "cut_before_done" || fault.kind === "no_done") return true
  return "stream" in fault ? fault.stream : undefined
}

/** Up first, then down, and so on, counted from when the fault was set. */
const isUp = (up: Duration.Duration, down: Duration.Duration, elapsed: number): boolean => {
  const upMillis = Duration.toMillis(up)
  const cycle = upMillis + Duration.toMillis(down)
  return cycle > 0 && elapsed % cycle < upMillis
}
