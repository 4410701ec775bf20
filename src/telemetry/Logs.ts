/**
 * Logs: one line for each event, on stderr, as JSON or for a person to read. Lines are gathered for a tenth of a second
 * and written together; what is a warning or worse is written at once, after all that came before it. A line is bounded,
 * and so is what waits to be read.
 */
import { Cause, Context, Effect, Layer, Logger, LogLevel, Option, References, Tracer } from "effect"
import type { LogLevel as Level, Telemetry } from "../domain/GatewayConfig.ts"
import { isSecretName } from "./Credentials.ts"
import { jsonLine, prettyLine } from "./LogLine.ts"
import { type LogOutput, makeLogSink, stderrOutput } from "./LogSink.ts"
import { maxValueChars } from "./PlainText.ts"
import { maxLineChars, redact, shortened } from "./Redaction.ts"

type Fields = Readonly<Record<string, unknown>>
type FlatFields = Readonly<Record<string, string | number | undefined>>
type Settings = Telemetry["logs"]

/** For what is logged on every request: no fiber is asked, no annotations are gathered. */
export class AccessLog extends Context.Service<
  AccessLog,
  {
    /** Whether lines of this kind are wanted at all; ask before building one. */
    readonly enabled: boolean
    /** The names are the program's own, so that what they tell is looked at once for each of them. */
    readonly write: (message: string, fields: FlatFields) => void
  }
>()("weir/telemetry/AccessLog") {
  static readonly layerOff = Layer.succeed(AccessLog, { enabled: false, write: () => {} })
}

/** What is logged and in which form, until it is changed. */
export class LogSettings extends Context.Service<
  LogSettings,
  {
    /** From the next line on. */
    readonly change: (settings: Settings) => void
  }
>()("weir/telemetry/LogSettings") {}

const effectLevels: Record<Level, LogLevel.LogLevel> = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  none: "None"
}

/** The longest cause of a defect: its stack is what it is read for. */
const maxCauseChars = 8192

/**
 * Replaces the default logger and provides the access log; `output` gets whole lines. What was gathered is written when
 * the layer's scope closes: the last words of a program are the ones that tell how it ended.
 */
export const layerLogs = (first: Settings, output: LogOutput): Layer.Layer<AccessLog | LogSettings> =>
  Layer.unwrap(
    Effect.gen(function* () {
      // Mutable on purpose: the level can be changed while the program runs, and a fiber keeps the one it began with.
      let current = describe(first)
      const sink = makeLogSink(output, (count) =>
        current.format(Date.now(), "warn", "log lines were dropped because nothing read them", { dropped: count })
      )
      const scrubbed = makeScrubbed()
      // Last words: at an orderly end, and where a defect ends the process.
      yield* Effect.acquireRelease(
        Effect.sync(() => {
          process.on("exit", sink.flush)
          return output.onRoom(sink.flush)
        }),
        (endOnRoom) =>
          Effect.sync(() => {
            process.off("exit", sink.flush)
            endOnRoom()
            sink.flush()
          })
      )
      const logger = Logger.make<unknown, void>(({ cause, date, fiber, logLevel, message }) => {
        const { format, least } = current
        if (LogLevel.isLessThan(logLevel, least)) return
        const level = logLevel.toLowerCase()
        const { fields, text } = splitMessage(message)
        const span = Context.getOption(fiber.context, Tracer.ParentSpan)
        const line = format(date.getTime(), level, text, {
          ...redacted({
            ...fiber.getRef(References.CurrentLogAnnotations),
            ...fields,
            ...(Option.isSome(span) && { traceId: span.value.traceId })
          }),
          ...(cause.reasons.length > 0 && { cause: shortened(Cause.pretty(cause), maxCauseChars) })
        })
        sink.add(line, logLevel === "Warn" || logLevel === "Error" || logLevel === "Fatal")
      })
      return Layer.mergeAll(
        Logger.layer([logger]),
        Layer.succeed(References.MinimumLogLevel, "All"),
        Layer.succeed(LogSettings, {
          change: (settings) => {
            current = describe(settings)
          }
        }),
        Layer.succeed(AccessLog, {
          get enabled() {
            return current.hasRequests
          },
          write: (message, fields) => {
            const at = Date.now()
            const { format } = current
            sink.add(() => format(at, "info", message, scrubbed(fields)), false)
          }
        })
      )
    })
  )

const describe = ({ format, level }: Settings) => {
  const least = effectLevels[level]
  return {
    least,
    format: format === "json" ? jsonLine : prettyLine,
    hasRequests: LogLevel.isLessThanOrEqualTo(least, "Info")
  }
}

/** `Effect.log("text", { key: value })`: strings are the message, objects are fields. */
const splitMessage = (message: unknown): { readonly text: string; readonly fields: Fields } => {
  const parts: ReadonlyArray<unknown> = Array.isArray(message) ? message : [message]
  const text = parts
    .filter((part) => typeof part !== "object" || part === null)
    .map(String)
    .join(" ")
  const fields: Record<string, unknown> = {}
  for (const part of parts) {
    if (part instanceof Error) fields["error"] = redact(part)
    else if (typeof part === "object" && part !== null) Object.assign(fields, part)
  }
  return { text, fields }
}

const redacted = (fields: Fields): object => {
  const clean = redact(fields)
  return typeof clean === "object" && clean !== null ? clean : {}
}

const makeScrubbed = () => {
  const verdicts = new Map<string, boolean>()
  const isSecret = (name: string): boolean => {
    const known = verdicts.get(name)
    if (known !== undefined) return known
    verdicts.set(name, isSecretName(name))
    return isSecretName(name)
  }
  return (fields: FlatFields): FlatFields => {
    const clean: Record<string, string | number | undefined> = {}
    let left = maxLineChars
    for (const name in fields) {
      const value = fields[name]
      if (typeof value !== "string") {
        clean[name] = value
        continue
      }
      const told = isSecret(name) ? "<redacted>" : shortened(value, Math.max(0, Math.min(maxValueChars, left)))
      left -= told.length
      clean[name] = told
    }
    return clean
  }
}

/** Where nothing is configured yet: what goes wrong before the configuration is read is told in the same form. */
export const defaultLogs: Settings = { level: "info", format: "json" }

export const layerStderr = (settings: Settings): Layer.Layer<AccessLog | LogSettings> =>
  Layer.unwrap(
    Effect.sync(() => {
      process.stderr.on("error", () => {})
      return layerLogs(settings, stderrOutput)
    })
  )
