/**
 * Notices that files have changed, by looking at them again and again. A watch on the file itself would lose it when an
 * editor puts a new one in its place, would not see the links of a mounted ConfigMap turn, and has no say on network
 * file systems and many container mounts; a look costs a few microseconds.
 */
import { type Duration, Effect, Equal, FileSystem, Option, Result } from "effect"
import { absentLook, HungFiles, lookOf } from "../config/ConfigLoader.ts"

export interface Pace {
  readonly every: Duration.Input
  /** How long files must stay as they are before it is told: what writes may not be done. */
  readonly calm: Duration.Input
  /** The same for a file that is gone or empty: most often it is about to be written. */
  readonly absent: Duration.Input
}

/** What each file looks like; of one that gives no answer there is nothing. */
type Look = ReadonlyMap<string, string>

/** How long a look may take: longer, and the file system hangs. */
const lookPatience = "4 seconds"

export interface Watched {
  /** Asked anew each time; one that is named for the first time is no change. */
  readonly files: () => ReadonlyArray<string>
  /** How they looked when they were read: what is written between that and the first look here is a change. */
  readonly looks: () => ReadonlyMap<string, string>
}

/** Runs `changed` whenever one of the files is different, and calm again. */
export const watchFiles = Effect.fnUntraced(function* <R>(
  { files, looks }: Watched,
  pace: Pace,
  changed: Effect.Effect<void, never, R>
) {
  const fs = yield* FileSystem.FileSystem
  const { attempt } = yield* HungFiles

  const signatureOf = Effect.fnUntraced(function* (file: string) {
    const info = yield* Effect.result(attempt(file, lookPatience, () => fs.stat(file)))
    if (Result.isFailure(info)) {
      const isGone = info.failure._tag === "PlatformError" && info.failure.reason._tag === "NotFound"
      return isGone ? absentLook : undefined
    }
    const { dev, ino, mtime, size } = info.success
    return lookOf(dev, Option.getOrUndefined(ino), BigInt(Number(size)), Option.getOrUndefined(mtime))
  })
  const look = Effect.fnUntraced(function* (at: ReadonlyArray<string>) {
    const seen = new Map<string, string>()
    for (const file of at) {
      const signature = yield* signatureOf(file)
      if (signature !== undefined) seen.set(file, signature)
    }
    return seen
  })
  const isChanged = ([file, signature]: readonly [string, string]) => known.get(file) !== signature
  const settled = Effect.fnUntraced(function* (at: ReadonlyArray<string>, first: Look) {
    let seen = first
    for (;;) {
      const isAbsent = [...seen].some((entry) => entry[1] === absentLook && isChanged(entry))
      yield* Effect.sleep(isAbsent ? pace.absent : pace.calm)
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
    const atRead = looks()
    note(new Map(fresh.flatMap((file) => (known.has(file) ? entryOf(file, atRead) : []))))
    yield* Effect.sleep(pace.every)
    const seen = yield* look(at)
    if (![...seen].some(isChanged)) continue
    const calm = yield* settled(at, seen)
    // It may be again as it was: nothing has changed then.
    const isNew = [...calm].some(isChanged)
    note(calm)
    if (isNew) yield* changed
  }
})

const entryOf = (file: string, looks: ReadonlyMap<string, string>): ReadonlyArray<readonly [string, string]> => {
  const look = looks.get(file)
  return look === undefined ? [] : [[file, look]]
}
