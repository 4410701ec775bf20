import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, FileSystem, Schedule } from "effect"
import { type Pace, watchFiles } from "../../src/control/FileWatch.ts"

const pace: Pace = { every: "10 millis", calm: "30 millis" }

interface Scene {
  readonly file: string
  readonly fs: FileSystem.FileSystem
  readonly told: () => number
}

/** A file `weir.yaml` in a folder of its own, and a watch over it that counts what it tells. */
const watching = <A, E>(
  use: (scene: Scene) => Effect.Effect<A, E>,
  more: (folder: string) => ReadonlyArray<string> = () => []
) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const folder = yield* fs.makeTempDirectoryScoped()
    const file = `${folder}/weir.yaml`
    yield* fs.writeFileString(file, "first")
    let told = 0
    const count = Effect.sync(() => {
      told++
    })
    yield* Effect.forkScoped(
      watchFiles(() => [file, ...more(folder)], pace, count),
      { startImmediately: true }
    )
    // It has had its first look.
    yield* Effect.sleep("50 millis")
    return yield* use({ file, fs, told: () => told })
  }).pipe(Effect.scoped, Effect.provide(NodeServices.layer))

const until = (condition: () => boolean) =>
  Effect.sync(condition).pipe(
    Effect.flatMap((is) => (is ? Effect.void : Effect.fail("not yet"))),
    Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: "10 seconds" })))
  )

describe("a file that is watched", () => {
  it.live("is told once when it was written, and not again", () =>
    watching(({ file, fs, told }) =>
      Effect.gen(function* () {
        yield* fs.writeFileString(file, "second!")
        yield* until(() => told() === 1)
        yield* Effect.sleep("150 millis")
        assert.strictEqual(told(), 1)
        yield* fs.writeFileString(file, "the third")
        yield* until(() => told() === 2)
      })
    )
  )

  it.live("is told when another file of the same length and time takes its place", () =>
    watching(({ file, fs, told }) =>
      Effect.gen(function* () {
        const at = new Date(1_700_000_000_000)
        yield* fs.utimes(file, at, at)
        yield* until(() => told() === 1)
        yield* fs.writeFileString(`${file}.new`, "other")
        yield* fs.utimes(`${file}.new`, at, at)
        yield* fs.rename(`${file}.new`, file)
        yield* until(() => told() === 2)
      })
    )
  )

  it.live("is not told while somebody still writes to it", () =>
    watching(({ file, fs, told }) =>
      Effect.gen(function* () {
        const began = performance.now()
        let seen = 0
        for (let size = 1; performance.now() - began < 300; size++) {
          yield* fs.writeFileString(file, "x".repeat(size))
          yield* Effect.sleep("5 millis")
          seen = Math.max(seen, told())
        }
        // A machine that stands still for longer than the calm makes one more of it; a watch without calm, dozens.
        assert.isAtMost(seen, 5)
        yield* until(() => told() > seen || (told() > 0 && told() === seen))
      })
    )
  )

  it.live("is not told when it is gone or empty, but when it is back and something is in it", () =>
    watching(({ file, fs, told }) =>
      Effect.gen(function* () {
        yield* fs.remove(file)
        yield* Effect.sleep("100 millis")
        yield* fs.writeFileString(file, "")
        yield* Effect.sleep("100 millis")
        assert.strictEqual(told(), 0)
        yield* fs.writeFileString(file, "back")
        yield* until(() => told() === 1)
      })
    )
  )

  it.live("may not be there at first: that it comes is told", () =>
    watching(
      ({ file, fs, told }) =>
        Effect.gen(function* () {
          yield* fs.writeFileString(file.replace("weir.yaml", ".env"), "A=1")
          yield* until(() => told() === 1)
        }),
      (folder) => [`${folder}/.env`]
    )
  )

  it.live("may be one that was not watched before: that alone is no change, what comes then is", () => {
    let more = false
    return watching(
      ({ file, fs, told }) =>
        Effect.gen(function* () {
          const certificate = file.replace("weir.yaml", "cert.pem")
          yield* fs.writeFileString(certificate, "one")
          more = true
          yield* Effect.sleep(Duration.millis(150))
          assert.strictEqual(told(), 0)
          yield* fs.writeFileString(certificate, "renewed")
          yield* until(() => told() === 1)
        }),
      (folder) => (more ? [`${folder}/cert.pem`] : [])
    )
  })
})
