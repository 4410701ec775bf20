/** Groups of settings that appear in more than one place of a configuration, with their defaults. */
import { Duration, Effect, Schema, SchemaGetter, SchemaIssue } from "effect"
import { anyInput, doc, orElse } from "./Fields.ts"
import { formatDuration, Span, spanFrom } from "./Units.ts"

/**
 * A value read from a scalar. `${PORT}` in a file is always text, so text that spells a number or a truth value counts
 * as one: `read` gets the scalar and answers `undefined` where it will not do. `form` is what the JSON Schema says.
 */
const fromScalar = <A>(
  target: Schema.Codec<A>,
  form: Schema.Constraint,
  message: string,
  read: (input: unknown) => A | undefined
) =>
  anyInput(form).pipe(
    Schema.decodeTo(target, {
      decode: SchemaGetter.transformEffect((input) => {
        const value = read(input)
        return value === undefined ? Effect.fail(new SchemaIssue.InvalidValue({ message })) : Effect.succeed(value)
      }),
      encode: SchemaGetter.transform((value) => value)
    })
  )

const numberText = /^-?\d+(\.\d+)?$/u
const wholeNumberText = /^-?\d+(\.0+)?$/u

const numberBetween = (minimum: number, maximum: number, whole: boolean) => {
  const number = whole ? Schema.Int : Schema.Finite
  const form = Schema.Union([
    number.pipe(Schema.check(Schema.isBetween({ minimum, maximum }))),
    Schema.String.pipe(Schema.check(Schema.isPattern(whole ? wholeNumberText : numberText)))
  ])
  const message = `expected a ${whole ? "whole " : ""}number between ${minimum} and ${maximum}`
  return fromScalar(Schema.Finite, form, message, (input) => {
    const value = typeof input === "string" && numberText.test(input) ? Number(input) : input
    if (typeof value !== "number" || !(value >= minimum && value <= maximum)) return undefined
    return !whole || Number.isInteger(value) ? value : undefined
  })
}

/** A whole number within bounds, both included. */
export const between = (minimum: number, maximum: number) => numberBetween(minimum, maximum, true)

/** A number within bounds, both included. */
export const decimal = (minimum: number, maximum: number) => numberBetween(minimum, maximum, false)

/** `true` or `false`. */
export const flag = fromScalar(
  Schema.Boolean,
  Schema.Union([Schema.Boolean, Schema.Literals(["true", "false"])]),
  "expected true or false",
  (input) => (input === true || input === "true" ? true : input === false || input === "false" ? false : undefined)
)

/** The time-outs of an attempt where nothing is configured, in milliseconds. */
export const defaultTimeouts = { connect: 10_000, firstByte: 120_000, idle: 60_000, request: 300_000 } as const

type TimeoutName = keyof typeof defaultTimeouts

/** With 0 every attempt fails at once, and nothing means "no bound". */
const AttemptSpan = spanFrom(
  1,
  "with 0 every attempt fails at once; for hardly any bound write a long one, such as 24h"
)

const makeTimeouts = (absent: (name: TimeoutName) => string) =>
  Schema.Struct({
    connect: Schema.optionalKey(Span).pipe(
      doc("For a connection to a backend: TCP and TLS; 0: no bound.", { examples: ["2s"], absent: absent("connect") })
    ),
    firstByte: Schema.optionalKey(AttemptSpan).pipe(
      doc("Silence before the first output; any byte ends it. After it another backend is asked, once.", {
        examples: ["30s"],
        absent: absent("firstByte")
      })
    ),
    idle: Schema.optionalKey(AttemptSpan).pipe(
      doc("Silence between two reads of an answer's body, and on a WebSocket.", {
        examples: ["5m"],
        absent: absent("idle")
      })
    ),
    request: Schema.optionalKey(AttemptSpan).pipe(
      doc("For the whole of an answer that does not stream.", { examples: ["10m"], absent: absent("request") })
    )
  })

/**
 * Bounds on one attempt. `connect`: TCP and TLS; `firstByte`: silence before the first output; `idle`: silence between two
 * reads of a body; `request`: the whole of an answer that does not stream. What is left out here is taken from
 * {@link defaultTimeouts}.
 */
export const Timeouts = makeTimeouts((name) => formatDuration(Duration.millis(defaultTimeouts[name])))
export type Timeouts = typeof Timeouts.Type

/** The same for one backend: what is left out here is taken from the pool's client settings. */
export const BackendTimeouts = makeTimeouts((name) => `the pool's client.timeouts.${name}`)

/**
 * When a backend's circuit opens: at a share of `threshold` failures among at least `minRequests` calls within `window`, or
 * at `consecutive` transport errors and time-outs in a row; and for how long at most.
 */
export const BreakerSettings = Schema.Struct({
  threshold: decimal(0.01, 1).pipe(
    orElse(0.5),
    doc("The share of failed requests at which the circuit opens.", { examples: [0.25], unit: "share of requests" })
  ),
  minRequests: between(1, 1_000_000).pipe(
    orElse(10),
    doc("Requests that must be within the window before the share counts.", { examples: [20], unit: "requests" })
  ),
  window: spanFrom(1, "a window of 0 can hold no failure; leave it out for 30s").pipe(
    orElse("30s"),
    doc("How far back failures are counted; more than 0.", { examples: ["1m"] })
  ),
  cooldown: Span.pipe(
    orElse("30s"),
    doc("How long an open circuit lets no request through, at most: a good probe lets a trial through at once.", {
      examples: ["10s"]
    })
  ),
  consecutive: between(1, 1_000_000).pipe(
    orElse(5),
    doc("Transport errors and time-outs in a row, before an answer has begun, at which the circuit opens too.", {
      examples: [3],
      unit: "failures"
    })
  )
})
export type BreakerSettings = typeof BreakerSettings.Type

/** Probes without a pause between them, or without time to be answered, would cost a core and find nothing. */
const ProbeSpan = spanFrom(10)

/** How backends are probed; the defaults for every backend. */
export const HealthDefaults = Schema.Struct({
  interval: ProbeSpan.pipe(orElse("5s"), doc("From one probe to the next; at least 10ms.", { examples: ["10s"] })),
  timeout: ProbeSpan.pipe(
    orElse("2s"),
    doc("How long a probe waits for its answer; at least 10ms.", { examples: ["5s"] })
  ),
  unhealthyAfter: between(1, 100).pipe(
    orElse(3),
    doc("Failed probes in a row that make a backend unhealthy.", { examples: [5], unit: "probes" })
  ),
  healthyAfter: between(1, 100).pipe(
    orElse(1),
    doc("Good probes in a row that make it healthy again.", { examples: [2], unit: "probes" })
  )
})
export type HealthDefaults = typeof HealthDefaults.Type

/**
 * What one backend has different from {@link HealthDefaults}. `path` replaces its adapter's own probe; `port` is where it
 * is asked for its health and its load, if not where it answers requests.
 */
export const HealthOverrides = Schema.Struct({
  path: Schema.optionalKey(
    Schema.String.pipe(Schema.check(Schema.isPattern(/^\/\S*$/u, { message: "expected a path that begins with /" })))
  ).pipe(doc("The path that is probed.", { examples: ["/healthz"], absent: "the one of the adapter" })),
  port: Schema.optionalKey(between(1, 65_535)).pipe(
    doc("The port at which the backend is asked for its health and its load.", {
      examples: [18_000],
      unit: "port number",
      absent: "the one at which it answers requests"
    })
  ),
  interval: Schema.optionalKey(ProbeSpan).pipe(
    doc("From one probe to the next; at least 10ms.", { examples: ["10s"], absent: "the top level's health.interval" })
  ),
  timeout: Schema.optionalKey(ProbeSpan).pipe(
    doc("How long a probe waits for its answer; at least 10ms.", {
      examples: ["5s"],
      absent: "the top level's health.timeout"
    })
  ),
  unhealthyAfter: Schema.optionalKey(between(1, 100)).pipe(
    doc("Failed probes in a row that make the backend unhealthy.", {
      examples: [5],
      unit: "probes",
      absent: "the top level's health.unhealthyAfter"
    })
  ),
  healthyAfter: Schema.optionalKey(between(1, 100)).pipe(
    doc("Good probes in a row that make it healthy again.", {
      examples: [2],
      unit: "probes",
      absent: "the top level's health.healthyAfter"
    })
  )
})
export type HealthOverrides = typeof HealthOverrides.Type
