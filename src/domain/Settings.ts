/** Groups of settings that appear in more than one place of a configuration, with their defaults. */
import { Effect, Option, Schema, SchemaGetter, SchemaIssue } from "effect"
import { Span } from "./Units.ts"

/**
 * A key that may be left out: `value` is then read as if it had been written. Unlike the library's own default, the
 * input is not looked at before `schema` sees it, so that one pass finds every problem.
 */
export const orElse =
  <S extends Schema.Constraint>(value: S["Encoded"]) =>
  (schema: S) =>
    Schema.optionalKey(Schema.Unknown).pipe(
      Schema.decodeTo(schema, {
        decode: SchemaGetter.compose(
          SchemaGetter.transformOptional(Option.orElseSome((): unknown => value)),
          SchemaGetter.passthrough<S["Encoded"], unknown>({ strict: false })
        ),
        encode: SchemaGetter.passthrough<unknown, S["Encoded"]>({ strict: false })
      })
    )

/**
 * A value read from a scalar. `${PORT}` in a file is always text, so text that spells a number or a truth value counts
 * as one: `read` gets the scalar and answers `undefined` where it will not do.
 */
const fromScalar = <A>(target: Schema.Codec<A>, message: string, read: (input: unknown) => A | undefined) =>
  Schema.Unknown.pipe(
    Schema.decodeTo(target, {
      decode: SchemaGetter.transformEffect((input) => {
        const value = read(input)
        return value === undefined ? Effect.fail(new SchemaIssue.InvalidValue({ message })) : Effect.succeed(value)
      }),
      encode: SchemaGetter.transform((value) => value)
    })
  )

const numberBetween = (minimum: number, maximum: number, whole: boolean) =>
  fromScalar(Schema.Finite, `expected a ${whole ? "whole " : ""}number between ${minimum} and ${maximum}`, (input) => {
    const value = typeof input === "string" && /^-?\d+(\.\d+)?$/.test(input) ? Number(input) : input
    if (typeof value !== "number" || !(value >= minimum && value <= maximum)) return undefined
    return !whole || Number.isInteger(value) ? value : undefined
  })

/** A whole number within bounds, both included. */
export const between = (minimum: number, maximum: number) => numberBetween(minimum, maximum, true)

/** A number within bounds, both included. */
export const decimal = (minimum: number, maximum: number) => numberBetween(minimum, maximum, false)

/** `true` or `false`. */
export const flag = fromScalar(Schema.Boolean, "expected true or false", (input) =>
  input === true || input === "true" ? true : input === false || input === "false" ? false : undefined
)

/**
 * Bounds on one attempt. `connect`: TCP and TLS; `firstByte`: silence before the first output; `idle`: silence between two
 * reads of a body; `request`: the whole of an answer that does not stream. What is left out here is taken from the
 * pool's client settings, then from {@link defaultTimeouts}.
 */
export const Timeouts = Schema.Struct({
  connect: Schema.optionalKey(Span),
  firstByte: Schema.optionalKey(Span),
  idle: Schema.optionalKey(Span),
  request: Schema.optionalKey(Span)
})
export type Timeouts = typeof Timeouts.Type

/** The time-outs of an attempt where nothing is configured, in milliseconds. */
export const defaultTimeouts = { connect: 10_000, firstByte: 120_000, idle: 60_000, request: 300_000 } as const

/**
 * When a backend's circuit opens: at a share of `threshold` failures among at least `minRequests` calls within `window`, or
 * at `consecutive` transport errors and time-outs in a row; and for how long at most.
 */
export const BreakerSettings = Schema.Struct({
  threshold: decimal(0.01, 1).pipe(orElse(0.5)),
  minRequests: between(1, 1_000_000).pipe(orElse(10)),
  window: Span.pipe(orElse("30s")),
  cooldown: Span.pipe(orElse("30s")),
  consecutive: between(1, 1_000_000).pipe(orElse(5))
})
export type BreakerSettings = typeof BreakerSettings.Type

/** How backends are probed; the defaults for every backend. */
export const HealthDefaults = Schema.Struct({
  interval: Span.pipe(orElse("5s")),
  timeout: Span.pipe(orElse("2s")),
  unhealthyAfter: between(1, 100).pipe(orElse(3)),
  healthyAfter: between(1, 100).pipe(orElse(1))
})
export type HealthDefaults = typeof HealthDefaults.Type

/**
 * What one backend has different from {@link HealthDefaults}. `path` replaces its adapter's own probe; `port` is where it
 * is asked for its health and its load, if not where it answers requests.
 */
export const HealthOverrides = Schema.Struct({
  path: Schema.optionalKey(
    Schema.String.pipe(Schema.check(Schema.isPattern(/^\/\S*$/, { message: "expected a path that begins with /" })))
  ),
  port: Schema.optionalKey(between(1, 65_535)),
  interval: Schema.optionalKey(Span),
  timeout: Schema.optionalKey(Span),
  unhealthyAfter: Schema.optionalKey(between(1, 100)),
  healthyAfter: Schema.optionalKey(between(1, 100))
})
export type HealthOverrides = typeof HealthOverrides.Type
