/** How a field of the configuration is told to people: its default, its description, and the form in which it is written. */
import type { JsonSchema } from "effect"
import { Option, Schema, SchemaGetter } from "effect"

/** What the JSON Schema and `docs/configuration.md` say about a field besides its type. `T` is the form that is written. */
export interface FieldDocs<T> {
  /** Values that could be written; each must be valid. */
  readonly examples?: ReadonlyArray<T>
  /** What a number counts. Durations and sizes have theirs already. */
  readonly unit?: string
  /** What it means to leave the field out, where that is no value that could be written instead. */
  readonly absent?: string
  /** It is never printed, logged, traced or returned. */
  readonly secret?: true
}

/** The keys of {@link FieldDocs} that JSON Schema has no keyword for. */
export const docKeys = { unit: "x-unit", absent: "x-absent", secret: "x-secret" } as const

/**
 * Describes the field in the form in which it is written. Goes last: {@link orElse} and the schemas around it make a new
 * field. A default that `absent` replaces is not told.
 */
export const doc =
  <S extends Schema.Top>(description: string, { absent, examples, secret, unit }: FieldDocs<S["Encoded"]> = {}) =>
  (schema: S): S["Rebuild"] =>
    Schema.flip(
      Schema.flip(schema).annotateKey({
        description,
        ...(examples !== undefined && { examples }),
        ...(unit !== undefined && { [docKeys.unit]: unit }),
        ...(absent !== undefined && { [docKeys.absent]: absent, default: undefined }),
        ...(secret !== undefined && { [docKeys.secret]: true })
      })
    )

/**
 * Takes any input, so that the schema it is decoded to finds every problem in one pass and says it in its own words.
 * The JSON Schema has `form` in its place: what a person may write.
 */
export const anyInput = (form: Schema.Constraint) =>
  Schema.declare((_input: unknown): _input is unknown => true, {
    toCodecJson: () =>
      Schema.link<unknown>()(Schema.toEncoded(Schema.toCodecJson(form)), {
        decode: SchemaGetter.passthrough<unknown, Schema.Json>({ strict: false }),
        encode: SchemaGetter.passthrough<Schema.Json, unknown>({ strict: false })
      })
  })

/** Tells the JSON Schema more of a form than its type, and checks nothing: what is decoded from the form does. */
export const form = (schema: JsonSchema.JsonSchema) =>
  Schema.makeFilter<unknown>(() => undefined, { toJsonSchema: () => [schema, true] })

/**
 * A key that may be left out: `value` is then read as if it had been written. Unlike the library's own default, the
 * input is not looked at before `schema` sees it, so that one pass finds every problem.
 */
export const orElse =
  <S extends Schema.Constraint>(value: S["Encoded"]) =>
  (schema: S) =>
    Schema.optionalKey(anyInput(schema))
      .annotateKey({ default: value })
      .pipe(
        Schema.decodeTo(schema, {
          decode: SchemaGetter.compose(
            SchemaGetter.transformOptional(Option.orElseSome((): unknown => value)),
            SchemaGetter.passthrough<S["Encoded"], unknown>({ strict: false })
          ),
          encode: SchemaGetter.passthrough<unknown, S["Encoded"]>({ strict: false })
        })
      )
