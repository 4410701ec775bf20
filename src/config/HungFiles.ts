/**
 * Files that never answer: a hung mount keeps a thread of the process for as long as it hangs, and there are four. Such
 * work is given up after a while, is not begun again on the same file, and does not keep the process from its end.
 */
import { Context, type Duration, Effect, Fiber, Layer, Schema } from "effect"

/** Nothing came within the time that there was, or earlier work still hangs. */
export class FileHangs extends Schema.TaggedError<FileHangs>()("FileHangs", { file: Schema.String }) {}

export class HungFiles extends Context.Service<
  HungFiles,
  {
    /**
     * Does `work` on a file for at most `patience`. It is not interrupted then, which would free no thread, but told:
     * `isOver` is true from there on.
     */
    readonly attempt: <A, E>(
      file: string,
      patience: Duration.Input,
      work: (isOver: () => boolean) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E | FileHangs>
  }
>()("weir/config/HungFiles") {
  static readonly layer = Layer.sync(HungFiles, () => {
    const hanging = new Set<Attempt>()

    const hangs = (attempt: Attempt) => {
      hanging.add(attempt)
      // Now, so that it comes after all that has something to do at the end.
      if (hanging.size === 1) process.on("exit", leave)
    }
    const answered = (attempt: Attempt) => {
      attempt.isSettled = true
      if (hanging.delete(attempt) && hanging.size === 0) process.off("exit", leave)
    }

    const attempt: HungFiles["Service"]["attempt"] = Effect.fnUntraced(function* (file, patience, work) {
      if (hanging.size >= maxHanging || [...hanging].some((other) => other.file === file)) {
        return yield* new FileHangs({ file })
      }
      const one: Attempt = { file, isOver: false, isSettled: false }
      const running = yield* Effect.forkDetach(
        Effect.ensuring(
          work(() => one.isOver),
          Effect.sync(() => answered(one))
        ),
        { startImmediately: true }
      )
      const giveUp = Effect.sync(() => {
        one.isOver = true
        if (!one.isSettled) hangs(one)
      })
      return yield* Fiber.join(running).pipe(
        Effect.timeoutOrElse({ duration: patience, orElse: () => new FileHangs({ file }) }),
        Effect.ensuring(giveUp)
      )
    })
    return HungFiles.of({ attempt })
  })
}

/** Node waits for its threads before it ends, and these never come back: another program takes its place. */
const leave = (status: number): void => {
  process.execve?.(process.execPath, [process.execPath, "-e", `process.exit(${status})`], {})
}

/** Mutable: what has become of it. */
interface Attempt {
  readonly file: string
  isOver: boolean
  isSettled: boolean
}

/** So many threads may hang; the others look names up and read what can be read. */
const maxHanging = 2
