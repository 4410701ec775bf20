/** How people write durations and sizes in a configuration, and what the program holds afterwards. */
import { ByteSize, Duration, Effect, Option, Schema, SchemaGetter, SchemaIssue } from "effect"
import { docKeys, form } from "./Fields.ts"

const shortUnit = { ms: "millis", s: "seconds", m: "minutes", h: "hours", d: "days" } as const

const isShortUnit = (unit: string): unit is keyof typeof shortUnit => Object.hasOwn(shortUnit, unit)

const decodeWords = Schema.decodeOption(Schema.DurationFromString)

const parseDuration = (input: string | number): Option.Option<Duration.Duration> => {
  if (typeof input === "number") {
    return input >= 0 ? Option.some(Duration.seconds(input)) : Option.none()
  }
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(input.trim()) ?? []
  if (amount === undefined || unit === undefined) return Option.none()
  if (unit === "") return Option.some(Duration.seconds(Number(amount)))
  if (isShortUnit(unit)) return Duration.fromInput(`${Number(amount)} ${shortUnit[unit]}`)
  return decodeWords(`${amount} ${unit}`)
}

const durationHint = "expected a duration such as 500ms, 30s, 5m or 1h (a bare number is seconds)"

const longUnits = "nanos?|micros?|millis?|seconds?|minutes?|hours?|days?|weeks?"

/** What {@link parseDuration} takes. */
const durationPattern = `^\\s*\\d+(\\.\\d+)?\\s*(${Object.keys(shortUnit).join("|")}|${longUnits})?\\s*$`

/** A duration as the contract writes it: `500ms`, `30s`, `5m`, `1h`, `30 seconds`, or a bare number of seconds. */
export const Span = Schema.Union([Schema.String, Schema.Finite]).pipe(
  Schema.annotate({
    title: "duration",
    message: durationHint,
    [docKeys.unit]: "seconds, or with ms, s, m, h, d"
  }),
  Schema.check(form({ pattern: durationPattern, minimum: 0 })),
  Schema.decodeTo(Schema.Duration, {
    decode: SchemaGetter.transformEffect((input) =>
      Effect.fromOption(parseDuration(input), () => new SchemaIssue.InvalidValue({ message: durationHint }))
    ),
    encode: SchemaGetter.transform((duration) => formatDuration(duration))
  })
)

/**
 * The same where less than so many milliseconds, 0 among them, means nothing that could be done. `hint`: what 0 would
 * do, and what to write instead.
 */
export const spanFrom = (minMillis: number, hint?: string) =>
  Span.pipe(
    Schema.check(
      Schema.makeFilter((duration) =>
        Duration.toMillis(duration) >= minMillis
          ? undefined
          : `expected a duration of at least ${minMillis}ms${hint === undefined ? "" : `: ${hint}`}`
      )
    )
  )

/** A duration in the form that {@link Span} reads: whole units, the largest that fits (`90s`, `5m`, `250ms`). */
export const formatDuration = (duration: Duration.Duration): string => {
  const millis = Duration.toMillis(duration)
  if (millis !== 0 && millis % 3_600_000 === 0) return `${millis / 3_600_000}h`
  if (millis !== 0 && millis % 60_000 === 0) return `${millis / 60_000}m`
  return millis % 1000 === 0 ? `${millis / 1000}s` : `${millis}ms`
}

const sizeHint = "expected a size such as 512KiB or 16MiB, or a number of bytes"

const parseSize = (input: string | number): Option.Option<ByteSize.ByteSize> => {
  if (typeof input === "string") return ByteSize.fromString(/^\d+$/.test(input) ? `${input} B` : input)
  return Number.isSafeInteger(input) && input >= 0 ? Option.some(ByteSize.bytes(input)) : Option.none()
}

/** What {@link parseSize} takes: whether the bytes are whole ones is for it to say. */
const sizePattern = "^\\d+$|^\\s*\\d+(\\.\\d+)?\\s*(B|kB|[MGTPEZYRQ]B|[KMGTPEZY]iB|[a-z]*bytes?)\\s*$"

/** A number of bytes: `512KiB`, `16MiB`, or a bare number. Held as a plain number, since all of ours fit. */
export const Size = Schema.Union([Schema.String, Schema.Finite]).pipe(
  Schema.annotate({
    title: "size",
    message: sizeHint,
    [docKeys.unit]: "bytes, or with KiB, MiB, GiB, kB, MB, GB"
  }),
  Schema.check(form({ pattern: sizePattern, minimum: 0 })),
  Schema.decodeTo(Schema.Int, {
    decode: SchemaGetter.transformEffect((input) =>
      Effect.fromOption(
        Option.flatMap(parseSize(input), ByteSize.toNumber),
        () => new SchemaIssue.InvalidValue({ message: sizeHint })
      )
    ),
    encode: SchemaGetter.transform((bytes) => bytes)
  })
)

/** The same where 0 means nothing that could be done. `hint`: what 0 would do, and what to write instead. */
export const sizeAboveZero = (hint: string) =>
  Size.pipe(
    Schema.check(Schema.makeFilter((bytes) => (bytes > 0 ? undefined : `expected a size of at least 1 byte: ${hint}`)))
  )
