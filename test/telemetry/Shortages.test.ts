import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { MonotonicClock } from "../../src/domain/MonotonicClock.ts"
import { isShortage, remedyFor } from "../../src/domain/Shortage.ts"
import { lacksDescriptors, makeTellShortage } from "../../src/telemetry/Shortages.ts"

const logged = <A>(use: Effect.Effect<A, never, MonotonicClock>) =>
  Effect.gen(function* () {
    const lines: Array<ReadonlyArray<unknown>> = []
    const logger = Logger.make(({ message }) => {
      lines.push(Array.isArray(message) ? message : [message])
    })
    yield* Effect.provide(use, Layer.merge(Logger.layer([logger]), MonotonicClock.layer))
    return lines
  })

describe("a shortage of the gateway's own", () => {
  it.effect("is told once at once, and then in sum, however many requests it hits", () =>
    Effect.gen(function* () {
      const lines = yield* logged(
        Effect.gen(function* () {
          const tell = yield* makeTellShortage
          for (let i = 0; i < 1000; i++) yield* tell("EMFILE", "here")
          yield* TestClock.adjust("29 seconds")
          yield* tell("EMFILE", "here")
          yield* TestClock.adjust("1 second")
          for (let i = 0; i < 1000; i++) yield* tell("EMFILE", "here")
        })
      )
      assert.lengthOf(lines, 2)
      assert.notProperty(lines[0]?.[1], "alsoSinceTheLastLine")
      assert.propertyVal(lines[1]?.[1], "alsoSinceTheLastLine", 1000)
    })
  )

  it.effect("is told for each code and place by itself", () =>
    Effect.gen(function* () {
      const lines = yield* logged(
        Effect.gen(function* () {
          const tell = yield* makeTellShortage
          for (let i = 0; i < 3; i++) {
            yield* tell("EMFILE", "here")
            yield* tell("EMFILE", "there")
            yield* tell("EADDRNOTAVAIL", "here")
          }
        })
      )
      assert.lengthOf(lines, 3)
    })
  )

  const settings: ReadonlyArray<readonly [code: string, ...settings: ReadonlyArray<string>]> = [
    ["EMFILE", "ulimit -n", "LimitNOFILE", "maxConnections"],
    ["ENFILE", "fs.file-max"],
    ["EADDRNOTAVAIL", "net.ipv4.ip_local_port_range"],
    ["EAGAIN", "net.ipv4.ip_local_port_range"],
    ["ENOBUFS", "net.ipv4.tcp_mem"],
    ["ENOMEM", "memory"],
    ["EAI_MEMORY", "memory"]
  ]
  for (const [code, ...named] of settings) {
    it(`is told in words that name the setting that helps: ${code}`, () => {
      assert.isTrue(isShortage(code, "connect"))
      for (const setting of named) assert.include(remedyFor(code), setting)
    })
  }

  it("is none while files can be opened", () => {
    assert.isFalse(lacksDescriptors())
  })
})
