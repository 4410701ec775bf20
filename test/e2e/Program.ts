/** The built program as a user runs it: a process of its own, spoken to over its streams, signals and ports. */

import { type ChildProcess, spawn } from "node:child_process"
import * as path from "node:path"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { type Duration, Effect, Option, Schedule, Schema } from "effect"
import { takesFastPath } from "../Ways.ts"

const root = path.resolve(import.meta.dirname, "../..")

/** What `npm run build` made. */
export const entry = path.join(root, "dist/main.js")

export interface Program {
  /** Lines so far; they grow as the program runs. */
  readonly stdout: ReadonlyArray<string>
  readonly stderr: ReadonlyArray<string>
  /** Whether its stderr is read: it is, if not said otherwise. */
  readonly readStderr: (isRead: boolean) => Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** The exit status; a program that a signal ended has 128. */
  readonly ended: Effect.Effect<number>
  readonly pid: number
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Another Node than the one that runs the tests. */
  readonly node?: string
  /** What it is told before the program. */
  readonly flags?: ReadonlyArray<string>
  /** How many file descriptors it may have open. */
  readonly descriptors?: number
  /** How long a start may take: ten seconds, if not said. */
  readonly patience?: Duration.Input
}

/** Starts `node dist/main.js …`; it is killed when the scope closes. */
export const run = (args: ReadonlyArray<string>, options: RunOptions = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => start(args, options)),
    ({ child }) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        exitOf(child)
      )
  ).pipe(Effect.map(({ child, program }) => ({ ...program, ended: exitOf(child) })))

const start = (args: ReadonlyArray<string>, { cwd, descriptors, env, flags = [], node }: RunOptions) => {
  const command = [node ?? process.execPath, ...flags, entry, ...args]
  const limited = ["sh", "-c", `ulimit -n ${descriptors}; exec "$@"`, "sh", ...command]
  const [program = "", ...rest] = descriptors === undefined ? command : limited
  // Nothing of the surroundings reaches the program: a test says what it is given.
  const child = spawn(program, rest, {
    cwd: cwd ?? path.join(root, "test"),
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const stderr = linesOf(child.stderr)
  const started: Omit<Program, "ended"> = {
    stdout: linesOf(child.stdout).lines,
    stderr: stderr.lines,
    readStderr: (isRead) =>
      Effect.sync(() => {
        if (isRead) stderr.reader.resume()
        else stderr.reader.pause()
      }),
    signal: (signal) => Effect.sync(() => child.kill(signal)),
    pid: child.pid ?? -1
  }
  return { child, program: started }
}

const linesOf = (stream: Readable) => {
  const lines: Array<string> = []
  const reader = createInterface({ input: stream }).on("line", (line) => lines.push(line))
  return { lines, reader }
}

/** After `close`, not `exit`: then everything that was written has been read. */
const exitOf = (child: ChildProcess): Effect.Effect<number> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null && child.stdout?.closed === true) return resume(Effect.succeed(child.exitCode))
    child.once("close", (code) => resume(Effect.succeed(code ?? 128)))
  })

/** Waits for a condition instead of a while; gives up after `patience` with what `otherwise` tells. */
export const eventually = <A, R = never>(
  look: Effect.Effect<A | undefined, never, R>,
  otherwise: () => string,
  patience: Duration.Input = "20 seconds"
): Effect.Effect<A, never, R> =>
  look.pipe(
    Effect.flatMap((found) => (found === undefined ? Effect.fail("not yet" as const) : Effect.succeed(found))),
    Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ duration: patience }))),
    Effect.orElseSucceed((): A => {
      throw new Error(`it never came to that: ${otherwise()}`)
    })
  )

const Listening = Schema.fromJsonString(
  Schema.Struct({ message: Schema.Literal("listening"), name: Schema.String, port: Schema.Int })
)
const decodeListening = Schema.decodeUnknownOption(Listening)

export interface Gateway extends Program {
  /** Of the first listener, without a slash at the end. */
  readonly url: string
  readonly urlOf: (listener: string) => string
  /** Its configuration file; a change of it is noticed. */
  readonly file: string
}

/** `weir serve` with a configuration as plain data; returns when all of its listeners are open. */
export const serve = (
  config: { readonly listeners?: ReadonlyArray<object>; readonly server?: object; readonly [key: string]: unknown },
  options: RunOptions = {}
) => {
  const listeners = config.listeners ?? [{ port: 0 }]
  const way = takesFastPath ? {} : { server: { fastPath: false, ...config.server } }
  return serveText(JSON.stringify({ ...config, ...way, listeners }), listeners.length, options)
}

/** The same with the text of a configuration file, and how many listeners it has. */
export const serveText = Effect.fnUntraced(function* (text: string, listeners: number, options: RunOptions = {}) {
  const file = yield* temporaryFile(text)
  const program = yield* run(["serve", "--config", file], options)
  // The newest line counts: a change may have opened another port under the same name.
  const open = () => {
    const found = program.stderr.flatMap((line) => Option.toArray(decodeListening(line)))
    return new Map(found.map(({ name, port }) => [name, port]))
  }
  yield* eventually(
    Effect.sync(() => (open().size >= listeners ? true : undefined)),
    () => program.stderr.join("\n"),
    options.patience
  )
  const urlOf = (name: string) => `http://127.0.0.1:${open().get(name)}`
  const url = urlOf([...open().keys()].find((name) => name !== "admin") ?? "")
  const gateway: Gateway = { ...program, file, urlOf, url }
  return gateway
})

/** A configuration file that is there as long as the scope. */
export const temporaryFile = (text: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const { mkdtemp, writeFile } = await import("node:fs/promises")
      const { tmpdir } = await import("node:os")
      const folder = await mkdtemp(path.join(tmpdir(), "weir-test-"))
      const file = path.join(folder, "weir.yaml")
      await writeFile(file, text)
      return { folder, file }
    }),
    ({ folder }) =>
      Effect.promise(async () => {
        const { rm } = await import("node:fs/promises")
        await rm(folder, { recursive: true, force: true })
      })
  ).pipe(Effect.map(({ file }) => file))
