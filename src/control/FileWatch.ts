/**
 * Notices that files have changed, by looking at them again and again. A watch on the file itself would lose it when an
 * editor puts a new one in its place, would not see the links of a mounted ConfigMap turn, and has no say on network
 * file systems and many container mounts; a look costs a few microseconds.
 */
import { type Duration, Effect, Equal, FileSystem, Option } from "effect"

export interface Pace {
  readonly every: Duration.Input
  /** How long files must stay as they are before somebody is told: who writes may not be done. */
  readonly calm: Duration.Input
}

type Look = ReadonlyMap<string, string>

/**
 * Runs `changed` whenever one of the files is different, and calm again. A file that is absent or empty is one that
 * somebody is about to write. `files` is asked anew each time; one that it names for the first time is no change.
 */
export const watchFiles = Effect.fnUntraced(function* <R>(
  files: () => ReadonlyArray<string>,
  pace: Pace,
  changed: Effect.Effect<void, never, R>
) {
  const fs = yield* FileSystem.FileSystem

  const signatureOf = Effect.fnUntraced(function* (file: string) {
    const info = yield* Effect.option(fs.stat(file))
    if (Option.isNone(info) || Number(info.value.size) === 0) return undefined
    const { dev, ino, mtime, size } = info.value
    return [dev, Option.getOrUndefined(ino), size, Option.getOrUndefined(mtime)?.getTime()].join(" ")
  })
  const look = Effect.fnUntraced(function* (at: ReadonlyArray<string>) {
    const seen = new Map<string, string>()
    for (const file of at) {
      const signature = yield* signatureOf(file)
      if (signature !== undefined) seen.set(file, signature)
    }
    return seen
  })
  const settled = Effect.fnUntraced(function* (at: ReadonlyArray<string>, first: Look) {
    let seen = first
    for (;;) {
      yield* Effect.sleep(pace.calm)
      const again = yield* look(at)
      if (Equal.equals(seen, again)) return again
      seen = again
    }
  })

  const listed = new Set<string>()
  const known = new Map<string, string>()
  const note = (seen: Look) => {
    for (const [file, signature] of seen) known.set(file, signature)
  }
  for (;;) {
    const at = files()
    const fresh = at.filter((file) => !listed.has(file))
    for (const file of fresh) listed.add(file)
    note(yield* look(fresh))
    yield* Effect.sleep(pace.every)
    const seen = yield* look(at)
    if (![...seen].some(([file, signature]) => known.get(file) !== signature)) continue
    note(yield* settled(at, seen))
    yield* changed
  }
})
