/** Processes of the suite: bound to a core, with enough files, and gone with the scope that started them. */
import { type ChildProcess, spawn } from "node:child_process"
import { openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Context, Effect, Schema } from "effect"
import { findTool, type Machine } from "./Machine.ts"

/** A part of the suite did not do what it should. */
export class BenchFailed extends Schema.TaggedError<BenchFailed>()("BenchFailed", { message: Schema.String }) {}

/** What the whole run shares. */
export class Rig extends Context.Service<
  Rig,
  {
    readonly machine: Machine
    /** A folder for configurations and logs. */
    readonly folder: string
    /** The built program, `main.js`. */
    readonly weir: string
  }
>()("weir/bench/Rig") {}

export interface Child {
  readonly pid: number
  readonly process: ChildProcess
  /** What it last wrote to its log, for the reader of an error. */
  readonly finalEvent: () => string
}

/**
 * Which core a process works on. The subject has one for itself as far as there are two; the load generator and the
 * upstream share the other, or have one each where there are more.
 */
export type Role = "subject" | "generator" | "upstream"

const coreOf = (role: Role, cores: number): number =>
  role === "subject" ? 1 : role === "upstream" && cores > 2 ? 2 : 0

/** What stands before a command. All of these replace themselves by it, so that its pid is the child's. */
const around = (role: Role, { cores, openFiles, pinned }: Machine): ReadonlyArray<string> => [
  // The children end with the suite, even if it is killed.
  ...(findTool("setpriv") === undefined ? [] : ["setpriv", "--pdeathsig", "KILL"]),
  ...(findTool("prlimit") === undefined ? [] : ["prlimit", `--nofile=${openFiles}:${openFiles}`]),
  ...(pinned ? ["taskset", "-c", String(coreOf(role, cores))] : [])
]

export interface ChildOptions {
  readonly role: Role
  /** A file in the rig's folder for its standard error. */
  readonly log: string
  /** It speaks over Node's channel. */
  readonly tells?: boolean
}

/** Starts a command; it is killed when the scope closes. */
export const startChild = Effect.fnUntraced(function* (command: ReadonlyArray<string>, options: ChildOptions) {
  const { folder, machine } = yield* Rig
  const [program = "", ...args] = [...around(options.role, machine), ...command]
  const start = Effect.callback<Child, BenchFailed>((resume) => {
    const log = join(folder, options.log)
    const errors = openSync(log, "a")
    const finalEvent = () => readFileSync(log, "utf8").trimEnd().split("\n").slice(-3).join("\n")
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", errors, ...(options.tells === true ? (["ipc"] as const) : [])],
      // Nothing of the surroundings changes what is measured.
      env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "" }
    })
    child.once("error", (cause) => resume(new BenchFailed({ message: `${command[0]}: ${cause.message}` })))
    child.once("spawn", () => resume(Effect.succeed({ pid: child.pid ?? -1, process: child, finalEvent })))
  })
  return yield* Effect.acquireRelease(start, stop)
})

const stop = ({ process: child }: Child): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const name = ({ process: { spawnargs } }: Child): string => spawnargs.slice(-3).join(" ")

/** The next message of a child; fails when it ends instead. */
export const nextMessage = <A>(child: Child, schema: Schema.Codec<A>): Effect.Effect<A, BenchFailed> =>
  Effect.callback<unknown, BenchFailed>((resume) => {
    const onMessage = (message: unknown) => {
      child.process.off("exit", onExit)
      resume(Effect.succeed(message))
    }
    const onExit = () => {
      child.process.off("message", onMessage)
      resume(new BenchFailed({ message: `it ended too early: ${name(child)}\n${child.finalEvent()}` }))
    }
    child.process.once("message", onMessage).once("exit", onExit)
    return Effect.sync(() => child.process.off("message", onMessage).off("exit", onExit))
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(schema)),
    Effect.catchTag("SchemaError", (error) => new BenchFailed({ message: `${name(child)} told: ${error.message}` }))
  )

/** Node programs of the suite, beside this folder. */
export const ownProgram = (file: string): string => join(import.meta.dirname, "..", file)
