/** A file is read to its text, or within a few seconds to a problem in words, and never leaves a thread that waits. */
import { execFileSync, spawn } from "node:child_process"
import { createWriteStream, mkdirSync, openSync, symlinkSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { ConfigLoader, HungFiles } from "../../src/config/ConfigLoader.ts"
import { fileTexts } from "../../src/config/FileText.ts"
import { folderWith } from "../Folder.ts"
import * as certificates from "../transport/Certificates.ts"

const layer = ConfigLoader.layer({}).pipe(Layer.provideMerge(HungFiles.layer), Layer.provide(NodeServices.layer))

const folder = folderWith({ "real.yaml": "listeners: [{ port: 1 }]" })

const pipeIn = (at: string, name: string) => {
  const file = path.join(at, name)
  execFileSync("mkfifo", [file])
  return file
}

/** The port in a configuration file, or what is wrong with it; and how long that took. */
const load = (file: string) =>
  Effect.timed(
    Effect.flatMap(ConfigLoader, (loader) => loader.load({ file })).pipe(
      Effect.match({
        onSuccess: ({ config }) => String(config.listeners[0].port),
        onFailure: ({ problems }) => problems.map(({ message }) => message).join()
      })
    )
  )

describe("a configuration that has no end", () => {
  const endless: Record<string, readonly [make: (at: string) => string, message: RegExp]> = {
    "a pipe that nothing writes to": [(at) => pipeIn(at, "fifo"), /does not end within 4 seconds/],
    "a pipe that is written to once and then kept open": [
      (at) => {
        const file = pipeIn(at, "open")
        // Open for reading and writing, so that opening does not wait.
        const writer = createWriteStream("", { fd: openSync(file, "r+") })
        writer.write("listeners: [{ port: 1 }]")
        return file
      },
      /does not end within 4 seconds/
    ],
    "a device that gives zeros for ever": [() => "/dev/zero", /is larger than 16 MiB/],
    "a link to such a device": [
      (at) => {
        symlinkSync("/dev/zero", path.join(at, "link"))
        return path.join(at, "link")
      },
      /is larger than 16 MiB/
    ],
    "a directory": [(at) => at, /is a directory/],
    "a file of 17 MiB": [
      (at) => {
        writeFileSync(path.join(at, "big"), Buffer.alloc(17 << 20, "#"))
        return path.join(at, "big")
      },
      /is larger than 16 MiB/
    ]
  }
  for (const [what, [make, message]] of Object.entries(endless)) {
    it.live(`is a problem within five seconds: ${what}; and the next one is read`, () =>
      Effect.gen(function* () {
        const at = yield* folder
        const [took, told] = yield* load(make(at))
        assert.match(told, message)
        assert.isBelow(Duration.toMillis(took), 5000)
        assert.strictEqual((yield* load(path.join(at, "real.yaml")))[1], "1")
      }).pipe(Effect.provide(layer))
    )
  }
})

describe("a configuration that ends", () => {
  const ends: Record<string, (at: string) => string> = {
    "a link to a link to a file, as in a ConfigMap": (at) => {
      mkdirSync(path.join(at, "..data"))
      writeFileSync(path.join(at, "..data/weir.yaml"), "listeners: [{ port: 1 }]")
      symlinkSync("..data/weir.yaml", path.join(at, "weir.yaml"))
      return path.join(at, "weir.yaml")
    },
    "a pipe that something writes to a little later": (at) => {
      const file = pipeIn(at, "late")
      spawn("sh", ["-c", `sleep 0.3; printf 'listeners: [{ port: 1 }]' > "${file}"`])
      return file
    },
    "a pipe that is written to in two parts": (at) => {
      const file = pipeIn(at, "parts")
      spawn("sh", ["-c", `(printf 'listeners: '; sleep 0.3; printf '[{ port: 1 }]') > "${file}"`])
      return file
    }
  }
  for (const [what, make] of Object.entries(ends)) {
    it.live(`is read whole: ${what}`, () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* load(make(yield* folder)))[1], "1")
      }).pipe(Effect.provide(layer))
    )
  }

  it.live("may be empty, as /dev/null is", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* load("/dev/null"))[1], "8000")
    }).pipe(Effect.provide(layer))
  )
})

describe("a file for TLS", () => {
  it.live("is a regular file, or a problem at once: a pipe could be read only once", () =>
    Effect.gen(function* () {
      const at = yield* folder
      const cert = path.join(at, "cert.pem")
      writeFileSync(cert, certificates.server.cert)
      for (const key of [pipeIn(at, "key"), "/dev/zero", "/dev/null"]) {
        const file = path.join(at, "tls.yaml")
        writeFileSync(file, JSON.stringify({ listeners: [{ tls: { cert, key } }] }))
        const [took, told] = yield* load(file)
        assert.strictEqual(told, `${key} is no regular file`)
        assert.isBelow(Duration.toMillis(took), 2000)
      }
    }).pipe(Effect.provide(layer))
  )
})

describe("a file system that gives no answer", () => {
  it.effect("is given up after a while, is not asked again for the same file, nor for many files", () =>
    Effect.gen(function* () {
      const { attempt } = yield* HungFiles
      let asked = 0
      const never = (file: string) =>
        attempt(file, "4 seconds", () =>
          Effect.suspend(() => {
            asked++
            return Effect.never
          })
        )
      const given = Effect.fnUntraced(function* (file: string) {
        const fiber = yield* Effect.forkChild(Effect.flip(never(file)), { startImmediately: true })
        yield* TestClock.adjust("4 seconds")
        return (yield* Fiber.join(fiber))._tag
      })
      for (const file of ["a", "a", "b", "a", "b", "c", "d"]) assert.strictEqual(yield* given(file), "FileHangs")
      assert.strictEqual(asked, 2)
    }).pipe(Effect.provide(HungFiles.layer))
  )

  it.effect("is asked again when it has answered at last", () =>
    Effect.gen(function* () {
      const { attempt } = yield* HungFiles
      const answer = yield* Deferred.make<string>()
      const work = () => Deferred.await(answer)
      const fiber = yield* Effect.forkChild(Effect.flip(attempt("a", "4 seconds", work)), { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(fiber)
      yield* Deferred.succeed(answer, "text")
      yield* Effect.yieldNow
      assert.strictEqual(yield* attempt("a", "4 seconds", work), "text")
    }).pipe(Effect.provide(HungFiles.layer))
  )

  it.effect("costs all files of one load together no more than four seconds", () =>
    Effect.gen(function* () {
      const never: HungFiles["Service"] = {
        attempt: (file, patience, work) =>
          Effect.flatMap(HungFiles, ({ attempt }) =>
            attempt(file, patience, () =>
              Effect.andThen(
                Effect.never,
                work(() => true)
              )
            )
          ).pipe(Effect.provide(HungFiles.layer))
      }
      const texts = yield* fileTexts(never)
      const all = yield* Effect.forkChild(
        Effect.forEach(["a", "b", "c"], (file) => Effect.flip(texts.text(file))),
        {
          startImmediately: true
        }
      )
      yield* TestClock.adjust("4100 millis")
      assert.lengthOf(yield* Fiber.join(all), 3)
    })
  )
})
