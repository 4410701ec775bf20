/** The faults that the server can be told to play, as `POST /sim/faults` takes them. */
import { Duration, Effect, Schema, SchemaGetter, SchemaIssue } from "effect"

const unitMillis = { ms: 1, s: 1000, m: 60_000 } as const

const isUnit = (unit: string): unit is keyof typeof unitMillis => unit in unitMillis

const parseMillis = (input: string | number): number | undefined => {
  if (typeof input === "number") return Number.isFinite(input) && input >= 0 ? input : undefined
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/.exec(input.trim()) ?? []
  return amount !== undefined && unit !== undefined && isUnit(unit) ? Number(amount) * unitMillis[unit] : undefined
}

/** A number of milliseconds, or text such as `500ms`, `2s`, `1m`. */
const Span = Schema.Union([Schema.String, Schema.Finite]).pipe(
  Schema.decodeTo(Schema.Duration, {
    decode: SchemaGetter.transformEffect((input) => {
      const millis = parseMillis(input)
      return millis === undefined
        ? Effect.fail(
            new SchemaIssue.InvalidValue({ message: "expected milliseconds, or a duration such as 500ms or 2s" })
          )
        : Effect.succeed(Duration.millis(millis))
    }),
    encode: SchemaGetter.transform((duration) => Duration.toMillis(duration))
  })
)

const between = (minimum: number, maximum: number) =>
  Schema.Finite.pipe(
    Schema.check(
      Schema.isBetween({ minimum, maximum }, { message: `expected a number between ${minimum} and ${maximum}` })
    )
  )

const whole = (minimum: number, maximum: number) =>
  Schema.Finite.pipe(
    Schema.check(
      Schema.makeFilter((value) =>
        Number.isInteger(value) && value >= minimum && value <= maximum
          ? undefined
          : `expected a whole number between ${minimum} and ${maximum}`
      )
    )
  )

/** For which requests: `times` matching ones and no more, a `ratio` of them, those whose path begins with `path`. */
const selection = {
  times: Schema.optionalKey(whole(1, 1_000_000)),
  ratio: Schema.optionalKey(between(0, 1)),
  path: Schema.optionalKey(
    Schema.String.pipe(Schema.check(Schema.isPattern(/^\//, { message: "expected a path that begins with /" })))
  )
}

/** `stream` narrows to requests that stream (true) or do not (false). */
const selectionByBody = { ...selection, stream: Schema.optionalKey(Schema.Boolean) }

/** Where in an answer: after so many tokens, or after this fraction of it; by default after 40 %. */
const place = {
  afterTokens: Schema.optionalKey(whole(0, 1_000_000)),
  fraction: Schema.optionalKey(between(0, 1))
}

const kind = <const K extends string, const F extends Schema.Struct.Fields>(name: K, fields: F) =>
  Schema.Struct({ kind: Schema.tag(name), ...fields })

/** One fault. Each kind is explained where it is played: `WireFaults`, `BodyFaults`, `Script`. */
export const Fault = Schema.Union([
  kind("status", {
    status: whole(200, 599),
    retryAfter: Schema.optionalKey(Schema.Union([Schema.String, Schema.Finite])),
    code: Schema.optionalKey(Schema.String),
    message: Schema.optionalKey(Schema.String),
    ...selectionByBody
  }),
  kind("reset", selectionByBody),
  kind("silence", selectionByBody),
  kind("slow_first_token", { delay: Span, headFirst: Schema.optionalKey(Schema.Boolean), ...selectionByBody }),
  kind("cut", { ...place, ...selectionByBody }),
  kind("cut_before_done", selection),
  kind("clean_cut", { ...place, ...selectionByBody }),
  kind("stall", { ...place, for: Schema.optionalKey(Span), ...selectionByBody }),
  kind("malformed", { ...place, ...selectionByBody }),
  kind("no_done", selection),
  kind("flap", { up: Span, down: Span, ...selection }),
  kind("refuse", { for: Span }),
  kind("gzip", selectionByBody),
  kind("huge_head", { bytes: Schema.optionalKey(whole(1, 67_108_864)), ...selectionByBody }),
  kind("endless_head", selectionByBody),
  kind("trickle", { bytesPerSecond: between(0.01, 1000), ...selectionByBody }),
  kind("early_answer", { status: Schema.optionalKey(whole(200, 599)), ...selection }),
  kind("die", { ...place, ...selectionByBody })
]).pipe(Schema.toTaggedUnion("kind"))
export type Fault = typeof Fault.Type

/** A fault in the form of JSON, durations as text or milliseconds. */
export type FaultSpec = typeof Fault.Encoded

export type FaultKind = Fault["kind"]

/** All but `refuse`, which is about connections and begins when it is set. */
export type RequestFault = Exclude<Fault, { readonly kind: "refuse" }>

export const isRequestFault = (fault: Fault): fault is RequestFault => fault.kind !== "refuse"

/** The fault of one kind. */
export type FaultOf<K extends FaultKind> = Extract<Fault, { readonly kind: K }>

export const faultKinds: ReadonlyArray<FaultKind> = Fault.members.map((member) => member.fields.kind.schema.literal)

/** What was given is no fault; the message says what is wrong, and where. */
export class FaultInvalid extends Schema.TaggedError<FaultInvalid>()("FaultInvalid", {
  /** Such as `faults[1].delay`. */
  path: Schema.String,
  message: Schema.String
}) {}

const KnownKind = Schema.Struct({
  kind: Schema.Literals(faultKinds).annotate({
    message: `unknown kind of fault; known: ${faultKinds.join(", ")}`
  })
})

const strict = { errors: "all", onExcessProperty: "error" } as const
const decodeKind = Schema.decodeUnknownEffect(KnownKind)
const decodeFault = Schema.decodeUnknownEffect(Fault, strict)
const encodeFault = Schema.encodeEffect(Fault)
const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (leaf) => (leaf._tag === "UnexpectedKey" ? "unknown parameter" : SchemaIssue.defaultLeafHook(leaf))
})

/** Reads one fault or an array of them; the first that is wrong fails the whole. */
export const decodeFaults = Effect.fnUntraced(function* (input: unknown) {
  const list: ReadonlyArray<unknown> = Array.isArray(input) ? input : [input]
  return yield* Effect.forEach(list, (item, index) =>
    decodeKind(item).pipe(
      Effect.andThen(decodeFault(item)),
      Effect.mapError((error) => invalid(Array.isArray(input) ? `faults[${index}]` : "fault", error.issue))
    )
  )
})

/** Back to JSON. */
export const encodeFaults = (faults: ReadonlyArray<Fault>) => Effect.forEach(faults, (fault) => encodeFault(fault))

const invalid = (root: string, issue: SchemaIssue.Issue): FaultInvalid => {
  const problems = format(issue).issues.map(({ message, path }) => ({
    path: (path ?? []).reduce<string>(
      (text, key) => `${text}.${String(typeof key === "object" ? key.key : key)}`,
      root
    ),
    message
  }))
  return new FaultInvalid({
    path: problems[0]?.path ?? root,
    message: problems.map(({ message, path }) => `${path}: ${message}`).join("; ")
  })
}

/** How many of `total` tokens come before the fault. */
export const placeIn = (
  { afterTokens, fraction }: { readonly afterTokens?: number; readonly fraction?: number },
  total: number
): number => Math.min(total, afterTokens ?? Math.round((fraction ?? 0.4) * total))
