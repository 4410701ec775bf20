/**
 * Logs: one line for each event, on stderr, as JSON or for a person to read. Lines are gathered for a tenth of a second
 * and written together; what is a warning or worse is written at once, after all that came before it.
 */
import { Cause, Context, Effect, Layer, Logger, LogLevel, Option, References, Tracer } from "effect"
import type { LogLevel as Level, Telemetry } from "../domain/GatewayConfig.ts"
import { isSecretName, scrub } from "./Credentials.ts"
import { redact } from "./Redaction.ts"

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

/** What is logged and in which form, for as long as nobody says otherwise. */
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

/**
 * Replaces the default logger and provides the access log; `write` gets whole lines. What was gathered is written when
 * the layer's scope closes: the last words of a program are the ones that tell how it ended.
 */
export const layerLogs = (first: Settings, write: (text: string) => void): Layer.Layer<AccessLog | LogSettings> =>
  Layer.unwrap(
    Effect.gen(function* () {
      // Mutable on purpose: the level can be changed while the program runs, and a fiber keeps the one it began with.
      let current = describe(first)
      const sink = makeSink(write)
      const scrubbed = makeScrubbed()
      // Last words: at an orderly end, and where a defect ends the process.
      yield* Effect.acquireRelease(
        Effect.sync(() => process.on("exit", sink.flush)),
        () =>
          Effect.sync(() => {
            process.off("exit", sink.flush)
            sink.flush()
          })
      )
      const logger = Logger.make<unknown, void>(({ cause, date, fiber, logLevel, message }) => {
        const { format, least } = current
        if (LogLevel.isLessThan(logLevel, least)) return
        const level = logLevel.toLowerCase()
        const { fields, text } = splitMessage(message)
        const span = Context.getOption(fiber.context, Tracer.ParentSpan)
        const line = format(
          date.getTime(),
          level,
          text,
          redacted({
            ...fiber.getRef(References.CurrentLogAnnotations),
            ...fields,
            ...(Option.isSome(span) && { traceId: span.value.traceId }),
            ...(cause.reasons.length > 0 && { cause: scrub(Cause.pretty(cause)) })
          })
        )
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
    for (const name in fields) {
      const value = fields[name]
      clean[name] = typeof value !== "string" ? value : isSecret(name) ? "<redacted>" : scrub(value)
    }
    return clean
  }
}

const own = ["timestamp", "level", "message"]

const jsonLine = (at: number, level: string, message: string, fields: object): string => {
  // No field takes the place of the line's own.
  const others = own.some((name) => name in fields)
    ? Object.fromEntries(Object.entries(fields).filter(([name]) => !own.includes(name)))
    : fields
  const rest = JSON.stringify(others)
  const head = `{"timestamp":"${new Date(at).toISOString()}","level":"${level}","message":${JSON.stringify(scrub(message))}`
  return rest === "{}" ? `${head}}\n` : `${head},${rest.slice(1)}\n`
}

const prettyLine = (at: number, level: string, message: string, fields: object): string => {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === "string" && !/\s/.test(value) ? value : JSON.stringify(value)}`)
  return `${new Date(at).toISOString().slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${scrub(message)}${pairs.join("")}\n`
}

/** Milliseconds that a line may wait for others. */
const gathering = 100

/** So many lines are written without waiting for more. */
const mostGathered = 512

/**
 * Gathers lines until their time has come, or until `urgent`. A line may be handed over unwritten: made together, lines
 * cost a fraction of what each costs between two parts of a request.
 */
const makeSink = (write: (text: string) => void) => {
  let pending: Array<string | (() => string)> = []
  let timer: NodeJS.Timeout | undefined
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    if (pending.length === 0) return
    const gathered = pending
    pending = []
    write(gathered.map((line) => (typeof line === "string" ? line : line())).join(""))
  }
  const add = (line: string | (() => string), urgent: boolean): void => {
    pending.push(line)
    if (urgent || pending.length >= mostGathered) flush()
    // Unreferenced: what is still to be said keeps no program alive, it is said at its end.
    else timer ??= setTimeout(flush, gathering).unref()
  }
  return { add, flush }
}

/** Where nothing is configured yet: what goes wrong before the configuration is read is told in the same form. */
export const defaultLogs: Settings = { level: "info", format: "json" }

/** Writes to stderr. A reader that has gone away must not bring the gateway down. */
export const writeToStderr = (text: string): void => {
  if (process.stderr.writable) process.stderr.write(text)
}

export const layerStderr = (settings: Settings): Layer.Layer<AccessLog | LogSettings> =>
  Layer.unwrap(
    Effect.sync(() => {
      process.stderr.on("error", () => {})
      return layerLogs(settings, writeToStderr)
    })
  )
