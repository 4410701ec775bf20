/** The text of a file, whatever it turns out to be: a pipe that nothing writes to, a device without end, a hung mount. */
import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { Clock, type Duration, Effect, Schema } from "effect"
import type { HungFiles } from "./HungFiles.ts"

/** `isMissing`: there is no such file. `reason` continues a sentence that begins with the file's name. */
export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", {
  reason: Schema.String,
  isMissing: Schema.Boolean
}) {}

export interface FileTexts {
  /** Of a configuration: pipes (`<(…)`, `/dev/stdin`) and devices are read to their end, if they have one. */
  readonly text: (file: string) => Effect.Effect<string, Unreadable>
  /** Of a file that is read again and again: nothing but a regular file will do. */
  readonly regularText: (file: string) => Effect.Effect<string, Unreadable>
  /** How each file looked in the moment that it was opened; of pipes and devices there is nothing. */
  readonly looks: ReadonlyMap<string, string>
}

/** Of a file that is not there, or is empty. */
export const absentLook = "absent"

/** What is different when a file has been written to, or another one is in its place. */
export const lookOf = (dev: bigint, ino: bigint | undefined, size: bigint, mtime: Date | undefined): string =>
  size === 0n ? absentLook : [dev, ino, size, mtime?.getTime()].join(" ")

/** All files of one load together may take this long. */
const readTimeoutMillis = 4000

const maxFileBytes = 16 * 1024 * 1024

/** Texts for one load, which begins now. */
export const fileTexts = ({ attempt }: HungFiles["Service"]) =>
  Effect.map(Clock.currentTimeMillis, (begun): FileTexts => {
    const looks = new Map<string, string>()
    const read = Effect.fnUntraced(function* (file: string, regularOnly: boolean) {
      const left = readTimeoutMillis - ((yield* Clock.currentTimeMillis) - begun)
      const patience: Duration.Input = Math.max(left, 1)
      return yield* attempt(file, patience, (isOver) =>
        Effect.tryPromise({
          try: () => readWhole(file, regularOnly, isOver, (look) => looks.set(file, look)),
          catch: unreadable
        })
      ).pipe(
        Effect.catchTag("FileHangs", () => Effect.fail(refused(hangs))),
        Effect.tapError(({ isMissing }) => Effect.sync(() => isMissing && looks.set(file, absentLook)))
      )
    })
    return { text: (file) => read(file, false), regularText: (file) => read(file, true), looks }
  })

const hangs = `does not end within ${readTimeoutMillis / 1000} seconds: is it a pipe that nothing writes to, or does its file system hang?`

const unreadable = (cause: unknown): Unreadable => {
  if (cause instanceof Unreadable) return cause
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : "unknown error"
  const reason = code === "EISDIR" ? "is a directory" : `cannot be read: ${code}`
  return new Unreadable({ reason: code === "ENOENT" ? "is not there" : reason, isMissing: code === "ENOENT" })
}

const refused = (reason: string) => new Unreadable({ reason, isMissing: false })

/** Opened so that neither a pipe without a writer nor one that is silent holds a thread. */
const readWhole = async (
  file: string,
  regularOnly: boolean,
  isOver: () => boolean,
  looked: (look: string) => void
): Promise<string> => {
  const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0))
  try {
    const info = await handle.stat({ bigint: true })
    if (info.isDirectory()) throw refused("is a directory")
    if (regularOnly && !info.isFile()) throw refused("is no regular file")
    if (info.isFile()) looked(lookOf(info.dev, info.ino, info.size, info.mtime))
    return await readToEnd(handle, info.isFIFO(), isOver)
  } finally {
    await handle.close()
  }
}

/** Milliseconds between two looks at a pipe that is silent. */
const pipePollMillis = 20

const readToEnd = async (handle: FileHandle, isPipe: boolean, isOver: () => boolean): Promise<string> => {
  const pieces: Array<Buffer> = []
  let total = 0
  while (!isOver()) {
    const piece = await readPiece(handle)
    // A pipe that nothing has opened for writing yet looks like one that has ended.
    const isEnd = piece?.length === 0 && !(isPipe && total === 0)
    if (isEnd) return Buffer.concat(pieces).toString("utf8")
    if (piece === undefined || piece.length === 0) {
      await sleep(pipePollMillis)
      continue
    }
    total += piece.length
    if (total > maxFileBytes) throw refused(`is larger than ${maxFileBytes / 1024 / 1024} MiB`)
    pieces.push(piece)
  }
  throw refused("was given up")
}

/** `undefined`: nothing at the moment. */
const readPiece = async (handle: FileHandle): Promise<Buffer | undefined> => {
  const piece = Buffer.allocUnsafe(64 * 1024)
  try {
    const { bytesRead } = await handle.read(piece, 0, piece.length, null)
    return piece.subarray(0, bytesRead)
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EAGAIN") return undefined
    throw cause
  }
}
