import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ByteSize, Effect, FileSystem, Layer, Option, PlatformError, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { HungFiles } from "../../src/config/ConfigLoader.ts"
import { type Pace, watchFiles } from "../../src/reload/FileWatch.ts"

/** Files as a watch sees them, changed at once and seen at the next look. */
class Folder {
  readonly #files = new Map<string, { readonly ino: number; readonly size: number; readonly mtime: number }>()
  #changes = 0

  /** Written in place; every write is of its own time. */
  write(file: string, text: string): void {
    const ino = this.#files.get(file)?.ino ?? ++this.#changes
    this.#files.set(file, { ino, size: text.length, mtime: ++this.#changes })
  }

  /** Another file of the same length and time takes its place. */
  replace(file: string): void {
    const old = this.#files.get(file)
    if (old !== undefined) this.#files.set(file, { ...old, ino: ++this.#changes })
  }

  remove(file: string): void {
    this.#files.delete(file)
  }

  /** Away for a while, under another name. */
  hide(file: string): void {
    const found = this.#files.get(file)
    if (found !== undefined) this.#files.set(`${file}.away`, found)
    this.#files.delete(file)
  }

  show(file: string): void {
    const found = this.#files.get(`${file}.away`)
    if (found !== undefined) this.#files.set(file, found)
  }

  readonly #hung = new Map<string, Array<() => void>>()
  /** How often something waits for an answer that does not come. */
  asked = 0

  /** Gives no answer from now on, as on a mount whose server is away. */
  hang(file: string): void {
    this.#hung.set(file, [])
  }

  answer(file: string): void {
    const waiting = this.#hung.get(file) ?? []
    this.#hung.delete(file)
    for (const resume of waiting) resume()
  }

  readonly layer = FileSystem.layerNoop({
    stat: (path) => {
      const waiting = this.#hung.get(path)
      if (waiting !== undefined) {
        this.asked++
        return Effect.andThen(
          Effect.callback<void>((resume) => {
            waiting.push(() => resume(Effect.void))
          }),
          Effect.suspend(() => this.#stat(path))
        )
      }
      return this.#stat(path)
    }
  })

  #stat(path: string): Effect.Effect<FileSystem.File.Info, PlatformError.PlatformError> {
    const found = this.#files.get(path)
    if (found === undefined) {
      return Effect.fail(
        PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "stat", pathOrDescriptor: path })
      )
    }
    const { ino, mtime, size } = found
    const none = Option.none()
    return Effect.succeed({
      type: "File" as const,
      dev: 1n,
      ino: Option.some(BigInt(ino)),
      size: ByteSize.bytes(size),
      mtime: Option.some(new Date(mtime)),
      mode: 0,
      atime: none,
      birthtime: none,
      nlink: none,
      uid: none,
      gid: none,
      rdev: none,
      blksize: none,
      blocks: none
    })
  }
}

const file = "weir.yaml"

/** A look every second; a file that has not changed for three is calm. */
const pace: Pace = { every: "1 second", calm: "3 seconds", absent: "10 seconds" }

/** A look, and the time until what it saw is calm. */
const aWhile = TestClock.adjust("5 seconds")

/** A watch over a file that was there before, and what it has told so far. */
const watching = Effect.fnUntraced(function* (
  files: () => ReadonlyArray<string> = () => [file],
  looks: ReadonlyMap<string, string> = new Map()
) {
  const folder = new Folder()
  folder.write(file, "first")
  const seen = { told: 0 }
  const count = Effect.sync(() => {
    seen.told++
  })
  yield* Effect.forkScoped(
    Effect.provide(watchFiles({ files, looks: () => looks }, pace, count), Layer.merge(folder.layer, HungFiles.layer)),
    {
      startImmediately: true
    }
  )
  return { folder, seen }
})

describe("a file that is watched", () => {
  it.effect("is told when it was written between its reading and the first look at it", () =>
    Effect.gen(function* () {
      const { seen } = yield* watching(undefined, new Map([[file, "as it was when it was read"]]))
      yield* aWhile
      assert.strictEqual(seen.told, 1)
      yield* aWhile
      assert.strictEqual(seen.told, 1)
    })
  )

  it.effect("is told once when it was written, and not again", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching()
      yield* aWhile
      assert.strictEqual(seen.told, 0)
      folder.write(file, "second!")
      yield* aWhile
      assert.strictEqual(seen.told, 1)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(seen.told, 1)
      folder.write(file, "the third")
      yield* aWhile
      assert.strictEqual(seen.told, 2)
    })
  )

  it.effect("is told when another file of the same length and time takes its place", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching()
      folder.replace(file)
      yield* aWhile
      assert.strictEqual(seen.told, 1)
    })
  )

  it.effect("is not told while it is still being written", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching()
      for (let size = 1; size < 60; size++) {
        folder.write(file, "x".repeat(size))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(seen.told, 0)
      }
      yield* aWhile
      assert.strictEqual(seen.told, 1)
    })
  )

  it.effect("is not told while it is gone or empty for a moment, but when something is in it again", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching()
      folder.remove(file)
      yield* aWhile
      folder.write(file, "")
      yield* aWhile
      assert.strictEqual(seen.told, 0)
      folder.write(file, "back")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(seen.told, 1)
    })
  )

  for (const [what, change] of [
    ["gone", (folder: Folder) => folder.remove(file)],
    ["empty", (folder: Folder) => folder.write(file, "")]
  ] as const) {
    it.effect(`is told once when it stays ${what}`, () =>
      Effect.gen(function* () {
        const { folder, seen } = yield* watching()
        yield* aWhile
        change(folder)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(seen.told, 1)
        folder.write(file, "back")
        yield* aWhile
        assert.strictEqual(seen.told, 2)
      })
    )
  }

  it.effect("is not told when it was away and is as before", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching()
      yield* aWhile
      folder.hide(file)
      yield* TestClock.adjust("2 seconds")
      folder.show(file)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(seen.told, 0)
    })
  )

  it.effect("a file that gives no answer is not told and holds up nothing: its change is told when it answers", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching()
      yield* aWhile
      folder.hang(file)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(seen.told, 0)
      assert.strictEqual(folder.asked, 1)
      folder.write(file, "written meanwhile")
      folder.answer(file)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(seen.told, 1)
    })
  )

  it.effect("may not be there at first: that it comes is told", () =>
    Effect.gen(function* () {
      const { folder, seen } = yield* watching(() => [file, ".env"])
      yield* aWhile
      folder.write(".env", "A=1")
      yield* aWhile
      assert.strictEqual(seen.told, 1)
    })
  )

  it.effect("may be one that was not watched before: that alone is no change, what comes then is", () =>
    Effect.gen(function* () {
      let files = [file]
      const { folder, seen } = yield* watching(() => files)
      folder.write("cert.pem", "one")
      files = [file, "cert.pem"]
      yield* aWhile
      assert.strictEqual(seen.told, 0)
      folder.write("cert.pem", "renewed")
      yield* aWhile
      assert.strictEqual(seen.told, 1)
    })
  )

  it.live("is seen on a real disk: written, and replaced by another one", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/${file}`
      const at = new Date(1_700_000_000_000)
      yield* fs.writeFileString(path, "first")
      yield* fs.utimes(path, at, at)
      let told = 0
      const count = Effect.sync(() => {
        told++
      })
      yield* Effect.forkScoped(
        watchFiles(
          { files: () => [path], looks: () => new Map() },
          { every: "5 millis", calm: "5 millis", absent: "5 seconds" },
          count
        )
      )
      /** Does it again and again until it is seen: when the first look is over is not known. */
      const untilTold = (times: number, change: Effect.Effect<void, PlatformError.PlatformError>) =>
        Effect.andThen(
          change,
          Effect.sync(() => told >= times)
        ).pipe(Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("50 millis") }))
      let size = 0
      yield* untilTold(
        1,
        Effect.suspend(() => fs.writeFileString(path, "x".repeat(++size)))
      )
      yield* untilTold(
        2,
        Effect.gen(function* () {
          yield* fs.writeFileString(`${path}.new`, "other")
          yield* fs.utimes(`${path}.new`, at, at)
          yield* fs.rename(`${path}.new`, path)
        })
      )
    }).pipe(Effect.provide(Layer.merge(NodeServices.layer, HungFiles.layer)))
  )
})
