/**
 * From a file and the environment to one validated {@link GatewayConfig}.
 *
 * The file is found by `--config`, else `WEIR_CONFIG`, else `./weir.yaml`; with none of them the environment alone is
 * used. Either everything is valid, or {@link ConfigInvalid} lists every problem with its place.
 */

import { parseEnv } from "node:util"
import { Context, Effect, Layer, Option, Path, Result } from "effect"
import { checkSettings, settle } from "../domain/ConfigChecks.ts"
import type { ConfigInvalid } from "../domain/ConfigInvalid.ts"
import type { GatewayConfig } from "../domain/GatewayConfig.ts"
import { formatPath, type Issue } from "../domain/Issue.ts"
import { certificateFiles, checkCertificates } from "./Certificates.ts"
import { configInvalid } from "./ConfigInvalid.ts"
import { decodeConfig } from "./Decoding.ts"
import { checkResolution } from "./DnsCheck.ts"
import { type Overrides, overlay } from "./EnvironmentOverlay.ts"
import { type FileTexts, fileTexts, type Unreadable } from "./FileText.ts"
import { HungFiles } from "./HungFiles.ts"
import { type Environment, interpolate } from "./Interpolation.ts"
import { checkRawReferences } from "./RawReferences.ts"
import { parseSource, type YamlSource } from "./YamlSource.ts"

export { ConfigInvalid, formatProblem, type Problem } from "../domain/ConfigInvalid.ts"
export { configInvalid } from "./ConfigInvalid.ts"
export type { Overrides } from "./EnvironmentOverlay.ts"
export { absentLook, lookOf } from "./FileText.ts"
export { FileHangs, HungFiles } from "./HungFiles.ts"
export { configJsonSchema } from "./JsonSchema.ts"
export { printYaml, redactConfig } from "./Printer.ts"

export interface LoadOptions {
  /** `--config`: must exist. */
  readonly file?: string
  readonly overrides?: Overrides
}

export interface Loaded {
  readonly config: GatewayConfig
  /** The file that was read; `undefined`: the environment alone. */
  readonly file: string | undefined
  /** All files whose change is a reason to load again, whether they are there or not. */
  readonly files: ReadonlyArray<string>
  /** How they looked when they were read, as `lookOf` has it: one that looks different has changed since then. */
  readonly looks: ReadonlyMap<string, string>
  /** What each file that was read speaks of: the top-level names of its settings, or its variables. */
  readonly said: ReadonlyArray<{ readonly source: string; readonly names: ReadonlyArray<string> }>
}

export class ConfigLoader extends Context.Service<
  ConfigLoader,
  {
    /** Finds, reads and validates. Nothing is kept: calling it again reads everything again. */
    readonly load: (options: LoadOptions) => Effect.Effect<Loaded, ConfigInvalid>
  }
>()("weir/config/ConfigLoader") {
  /** `environment` are the real variables; a `.env` file in the working directory fills in what they leave open. */
  static readonly layer = (environment: Environment) =>
    Layer.effect(
      ConfigLoader,
      Effect.gen(function* () {
        const hungFiles = yield* HungFiles
        const path = yield* Path.Path

        const find = Effect.fnUntraced(function* (options: LoadOptions, env: Environment, texts: FileTexts) {
          const named = options.file ?? (env["WEIR_CONFIG"] === "" ? undefined : env["WEIR_CONFIG"])
          if (named !== undefined) {
            return { file: named, text: yield* Effect.mapError(texts.text(named), unreadable(named)) }
          }
          const standard = path.resolve("weir.yaml")
          const text = yield* optionalText(texts, standard)
          return text === undefined ? undefined : { file: standard, text }
        })

        const load = Effect.fn("ConfigLoader.load")(function* (options: LoadOptions) {
          const texts = yield* fileTexts(hungFiles)
          const dotEnv = yield* optionalText(texts, ".env")
          const variables = parseEnv(dotEnv ?? "")
          const env = { ...variables, ...environment }
          const found = yield* find(options, env, texts)
          const file = found?.file
          const source = found === undefined ? emptySource : yield* parseSource(found.file, found.text)
          const config = yield* validate(file ?? "environment", source, env, options.overrides ?? {})
          const unusable = [...(yield* checkCertificates(config, texts)), ...(yield* checkResolution(config))]
          if (unusable.length > 0) {
            return yield* configInvalid(file ?? "environment", problemsOf(unusable, source))
          }
          const said = [
            ...(file === undefined ? [] : [{ source: file, names: namesIn(source.value) }]),
            { source: ".env", names: namesIn(variables) }
          ]
          const files = [...(file === undefined ? [] : [file]), ".env", ...certificateFiles(config)]
          return { config, file, files, looks: texts.looks, said }
        })

        return ConfigLoader.of({ load })
      })
    )
}

const unreadable = (file: string) => (error: Unreadable) =>
  configInvalid(file, [{ path: file, message: error.isMissing ? "no such file" : error.reason }])

/** `undefined`: there is none. */
const optionalText = (texts: FileTexts, file: string) =>
  texts.text(file).pipe(
    Effect.asSome,
    Effect.catchIf(
      ({ isMissing }) => isMissing,
      () => Effect.succeedNone
    ),
    Effect.mapBoth({ onFailure: unreadable(file), onSuccess: Option.getOrUndefined })
  )

const problemsOf = (issues: ReadonlyArray<Issue>, { lineOf }: YamlSource) =>
  issues.map(({ at, message }) => {
    const line = lineOf(at)
    return { path: formatPath(at), message, ...(line !== undefined && { line }) }
  })

const namesIn = (value: unknown): ReadonlyArray<string> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : []

const emptySource: YamlSource = { value: {}, lineOf: () => undefined }

/**
 * Everything after reading: a pure function of the data, the variables and the options. In turns of the event loop: with
 * a thousand backends all of it takes a tenth of a second, in which no stream would get its next token.
 */
export const validate = Effect.fnUntraced(function* (
  name: string,
  source: YamlSource,
  environment: Environment,
  overrides: Overrides
) {
  const filled = interpolate(source.value, environment)
  const laid = overlay(filled.value, environment, overrides)
  const early: ReadonlyArray<Issue> = [...filled.issues, ...laid.issues]
  yield* Effect.yieldNow
  const decoded = Result.map(yield* decodeConfig(laid.value), settle)
  yield* Effect.yieldNow
  const isReused = laid.originOf(["admin", "token"]) === "WEIR_API_KEY"
  const found = Result.isFailure(decoded) ? decoded.failure : checkSettings(decoded.success, isReused)
  const issues = [...found, ...checkRawReferences(laid.value)]
  if (early.length === 0 && issues.length === 0 && Result.isSuccess(decoded)) return decoded.success
  // What a missing variable leaves behind is no second problem.
  const problems = [
    ...early,
    ...issues.filter(({ at }) => !early.some((e) => formatPath(e.at) === formatPath(at)))
  ].map(({ at, message }) => {
    const origin = laid.originOf(at)
    const line = origin === undefined ? source.lineOf(at) : undefined
    return { path: origin ?? formatPath(at), message, ...(line !== undefined && { line }) }
  })
  return yield* configInvalid(name, problems)
})
