import {
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createDeflate,
  createDeflateRaw,
  createGzip,
  createZstdCompress,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync
} from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type { Chunks } from "../../src/domain/Bytes.ts"
import type { UpstreamHeaders } from "../../src/domain/UpstreamHeaders.ts"
import { bodyByReading } from "../../src/transport/Body.ts"
import { decodeContent } from "../../src/transport/ContentDecoding.ts"
import { BodyEnd, UpstreamFailed, type UpstreamResponse } from "../../src/transport/UpstreamTransport.ts"
import { fc } from "../registry/Properties.ts"

const inOrder = new BodyEnd(undefined)

/** A response whose body is these pieces, then this end; counts how often it was cancelled. */
const responseOf = (encoding: string, pieces: ReadonlyArray<Uint8Array>, end = inOrder, more: UpstreamHeaders = {}) => {
  let at = 0
  const seen = { cancelled: 0, read: 0 }
  const read = Effect.sync(() => {
    if (seen.cancelled > 0) return inOrder
    const piece = pieces[at++]
    if (piece !== undefined) seen.read++
    return piece === undefined ? end : ([piece] as const)
  })
  const response: UpstreamResponse = {
    status: 200,
    headers: { "content-encoding": encoding, "content-length": "7", "content-type": "text/plain", ...more },
    ...bodyByReading(read, () => {
      seen.cancelled++
    }),
    wake: () => {}
  }
  return { response, seen }
}

const readAll = Effect.fnUntraced(function* (response: UpstreamResponse) {
  const chunks: Array<Uint8Array> = []
  for (;;) {
    const read: Chunks | BodyEnd = yield* response.read
    if (read instanceof BodyEnd) return { bytes: Buffer.concat(chunks), end: read }
    chunks.push(...read)
  }
})

const split = (bytes: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge))
}

const codings = [
  { name: "gzip", as: "gzip", compress: gzipSync, stream: () => createGzip(), flush: constants.Z_SYNC_FLUSH },
  {
    name: "deflate",
    as: "deflate",
    compress: deflateSync,
    stream: () => createDeflate(),
    flush: constants.Z_SYNC_FLUSH
  },
  {
    name: "deflate without the wrapping of zlib",
    as: "deflate",
    compress: deflateRawSync,
    stream: () => createDeflateRaw(),
    flush: constants.Z_SYNC_FLUSH
  },
  {
    name: "br",
    as: "br",
    compress: brotliCompressSync,
    stream: () => createBrotliCompress(),
    flush: constants.BROTLI_OPERATION_FLUSH
  },
  {
    name: "zstd",
    as: "zstd",
    compress: zstdCompressSync,
    stream: () => createZstdCompress(),
    flush: constants.ZSTD_e_flush
  }
]

const text = Buffer.from('data: {"choices":[{"delta":{"content":"Grüße, 世界 😀"}}]}\n\n'.repeat(40))

for (const { as, compress, flush, name, stream } of codings) {
  describe(`an answer in ${name}`, () => {
    it.live("comes readable, and says nothing of its coding any more", () =>
      Effect.gen(function* () {
        const decoded = decodeContent(responseOf(as, [compress(text)], inOrder, { etag: "x" }).response)
        assert.deepStrictEqual(decoded.headers, { "content-type": "text/plain", etag: "x" })
        const { bytes, end } = yield* readAll(decoded)
        assert.deepStrictEqual([bytes.toString(), end.failure], [text.toString(), undefined])
        assert.strictEqual(yield* decoded.read, end, "the end stays the end")
      })
    )

    it("comes whole wherever it was split", () =>
      fc.assert(
        fc.asyncProperty(
          fc.oneof(fc.uint8Array({ maxLength: 5000, size: "max" }), fc.constant(new Uint8Array(300_000).fill(65))),
          fc.array(fc.nat(), { maxLength: 30 }),
          async (payload, cuts) => {
            const decoded = decodeContent(responseOf(as, split(compress(payload), cuts)).response)
            const { bytes, end } = await Effect.runPromise(readAll(decoded))
            assert.isUndefined(end.failure)
            assert.isTrue(bytes.equals(payload))
          }
        ),
        { numRuns: 40 }
      ))

    it.live("comes whole when it comes byte by byte", () =>
      Effect.gen(function* () {
        const bytesApart = Array.from(compress(text), (byte) => Uint8Array.of(byte))
        const { bytes } = yield* readAll(decodeContent(responseOf(as, bytesApart).response))
        assert.strictEqual(bytes.toString(), text.toString())
      })
    )

    it.live("gives each event as soon as it is there, not when more comes", () =>
      Effect.gen(function* () {
        const compressor = stream()
        const compressed: Array<Buffer> = []
        compressor.on("data", (piece: Buffer) => compressed.push(piece))
        const more = yield* Deferred.make<void>()
        let asked = 0
        const write = (event: string) =>
          Effect.callback<Chunks>((resume) => {
            compressor.write(event)
            compressor.flush(flush, () => {
              const bytes = Buffer.concat(compressed.splice(0))
              resume(Effect.succeed([bytes]))
            })
          })
        const read = Effect.suspend(() =>
          asked++ === 0 ? write("data: 1\n\n") : Effect.andThen(Deferred.await(more), write("data: 2\n\n"))
        )
        const response: UpstreamResponse = {
          status: 200,
          headers: { "content-encoding": as },
          ...bodyByReading(read, () => {}),
          wake: () => {}
        }
        const decoded = decodeContent(response)
        const gather = Effect.fnUntraced(function* (length: number) {
          let got = ""
          while (got.length < length) {
            const read: Chunks | BodyEnd = yield* decoded.read
            assert.notInstanceOf(read, BodyEnd)
            if (!(read instanceof BodyEnd)) got += Buffer.concat(read).toString()
          }
          return got
        })
        assert.strictEqual(yield* gather(9), "data: 1\n\n")
        yield* Deferred.succeed(more, undefined)
        assert.strictEqual(yield* gather(9), "data: 2\n\n")
        compressor.destroy()
      })
    )

    it.live("an answer that is cut short is not taken for a whole one", () =>
      Effect.gen(function* () {
        const whole = compress(text)
        const { bytes, end } = yield* readAll(
          decodeContent(responseOf(as, [whole.subarray(0, whole.length - 12)]).response)
        )
        assert.strictEqual(end.failure?.kind, "protocol")
        assert.isTrue(text.toString().startsWith(bytes.toString()))
      })
    )

    it.live("an answer that is not in this coding ends in a failure that says so, and is not read further", () =>
      Effect.gen(function* () {
        const { response, seen } = responseOf(as, [
          Buffer.from("<html>this is no such thing</html>".repeat(10)),
          text,
          text,
          text
        ])
        const decoded = decodeContent(response)
        const { end } = yield* readAll(decoded)
        assert.deepInclude(end.failure, { kind: "protocol", detail: "content coding" })
        assert.strictEqual(yield* decoded.read, end)
        assert.isBelow(seen.read, 4)
        assert.isAtLeast(seen.cancelled, 1)
      })
    )

    it.live("an answer that breaks off gives what was there, then tells why", () =>
      Effect.gen(function* () {
        const broken = new BodyEnd(new UpstreamFailed({ kind: "reset", detail: "ECONNRESET" }))
        const compressor = stream()
        const begun = yield* Effect.callback<Buffer>((resume) => {
          const pieces: Array<Buffer> = []
          compressor.on("data", (piece: Buffer) => pieces.push(piece))
          compressor.write("data: 1\n\n")
          compressor.flush(flush, () => resume(Effect.sync(() => Buffer.concat(pieces))))
        })
        compressor.destroy()
        const { bytes, end } = yield* readAll(decodeContent(responseOf(as, [begun], broken).response))
        assert.deepStrictEqual([bytes.toString(), end], ["data: 1\n\n", broken])
      })
    )

    it.live("an answer that has no body at all, as to a HEAD, ends in order", () =>
      Effect.gen(function* () {
        const { bytes, end } = yield* readAll(decodeContent(responseOf(as, []).response))
        assert.deepStrictEqual([bytes.length, end.failure], [0, undefined])
      })
    )

    it.live("an answer that would fill the memory is decoded only as it is read", () =>
      Effect.gen(function* () {
        const size = 64 * 1024 * 1024
        const decoded = decodeContent(responseOf(as, [compress(new Uint8Array(size))]).response)
        let total = 0
        let largest = 0
        for (;;) {
          const read: Chunks | BodyEnd = yield* decoded.read
          if (read instanceof BodyEnd) break
          const length = read.reduce((sum, piece) => sum + piece.length, 0)
          total += length
          largest = Math.max(largest, length)
        }
        assert.strictEqual(total, size)
        assert.isAtMost(largest, 256 * 1024)
      })
    )

    it.live("an answer that is given up halfway gives up the exchange, and a later reader is told of the end", () =>
      Effect.gen(function* () {
        const { response, seen } = responseOf(as, split(compress(new Uint8Array(1024 * 1024)), [10, 20, 30]))
        const decoded = decodeContent(response)
        assert.notInstanceOf(yield* decoded.read, BodyEnd)
        decoded.cancel()
        decoded.cancel()
        assert.isAtLeast(seen.cancelled, 1)
        const { end } = yield* readAll(decoded)
        assert.isUndefined(end.failure)
      })
    )

    it.live("is the same piped, to a sink that is not always ready", () =>
      Effect.gen(function* () {
        const { response } = responseOf(as, split(compress(text), [5, 50, 100]))
        const pieces: Array<Uint8Array> = []
        let isReady = true
        const end = yield* decodeContent(response).pipe({
          write: (piece) => {
            assert.isTrue(isReady, "nothing comes before it was ready again")
            pieces.push(piece)
            isReady = pieces.length % 2 === 0
            return isReady
          },
          onDrain: (ready) => {
            setImmediate(() => {
              isReady = true
              ready()
            })
          }
        })
        assert.isUndefined(end.failure)
        assert.strictEqual(Buffer.concat(pieces).toString(), text.toString())
      })
    )

    it.live("loses nothing when a reader is interrupted and another one goes on", () =>
      Effect.gen(function* () {
        const waits = yield* Deferred.make<void>()
        const { response } = responseOf(as, split(compress(text), [5, 50, 100]))
        let asked = 0
        const read = Effect.suspend(() =>
          asked++ === 1 ? Effect.andThen(Deferred.succeed(waits, undefined), Effect.never) : response.read
        )
        const stalling: UpstreamResponse = { ...response, ...bodyByReading(read, response.cancel) }
        const decoded = decodeContent(stalling)
        const reader = yield* Effect.forkChild(readAll(decoded), { startImmediately: true })
        yield* Deferred.await(waits)
        yield* Fiber.interrupt(reader)
        const { bytes, end } = yield* readAll(decoded)
        assert.isUndefined(end.failure)
        assert.isTrue(text.toString().endsWith(bytes.toString()))
        assert.isAbove(bytes.length, 0)
      })
    )
  })
}

describe("an answer in deflate, of whatever make", () => {
  const levels = [0, 1, 6, 9]
  const strategies = [constants.Z_DEFAULT_STRATEGY, constants.Z_HUFFMAN_ONLY, constants.Z_RLE, constants.Z_FIXED]
  const windows = [9, 12, 15]
  const makes = levels.flatMap((level) =>
    strategies.flatMap((strategy) => windows.map((windowBits) => ({ level, strategy, windowBits })))
  )
  const payloads = [Buffer.from("a"), text, Buffer.alloc(100_000)]
  const asked = (of: Buffer) => readAll(decodeContent(responseOf("deflate", split(of, [1])).response))

  for (const [kind, compress] of [
    ["with the wrapping of zlib", deflateSync],
    ["without it", deflateRawSync]
  ] as const) {
    it.live(`comes whole, its first byte alone: ${kind}`, () =>
      Effect.gen(function* () {
        for (const make of makes) {
          for (const payload of payloads) {
            const { bytes, end } = yield* asked(compress(payload, make))
            assert.isUndefined(end.failure, JSON.stringify(make))
            assert.isTrue(bytes.equals(payload), JSON.stringify(make))
          }
        }
      })
    )

    it.live(`is not taken for a whole one wherever it is cut off: ${kind}`, () =>
      Effect.gen(function* () {
        const whole = compress(Buffer.from("a short answer, cut off at every byte"))
        for (let length = 1; length < whole.length; length++) {
          const { end } = yield* asked(whole.subarray(0, length))
          assert.strictEqual(end.failure?.kind, "protocol", `${length} of ${whole.length} bytes`)
        }
      })
    )

    it.live(`an answer of no bytes decodes to no bytes: ${kind}`, () =>
      Effect.gen(function* () {
        const { bytes, end } = yield* asked(compress(Buffer.alloc(0)))
        assert.deepStrictEqual([bytes.length, end.failure], [0, undefined])
      })
    )
  }

  it("an answer that is no deflate ends, and says so where it is not by chance the right form", () =>
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.nat(), async (garbage, cut) => {
        const { end } = await Effect.runPromise(
          readAll(decodeContent(responseOf("deflate", split(garbage, [cut])).response))
        )
        assert.isTrue(end.failure === undefined || end.failure.kind === "protocol")
      }),
      { numRuns: 200 }
    ))
})

describe("an answer", () => {
  for (const encoding of ["GZIP", " gzip ", "x-gzip", "X-GZip"]) {
    it.live(`an answer in "${encoding}" is one in gzip`, () =>
      Effect.gen(function* () {
        const { bytes } = yield* readAll(decodeContent(responseOf(encoding, [gzipSync(text)]).response))
        assert.strictEqual(bytes.toString(), text.toString())
      })
    )
  }

  for (const encoding of ["identity", "gzip, br", "compress", "", "unknown"]) {
    it(`an answer in "${encoding}" is passed on as it is`, () => {
      const { response } = responseOf(encoding, [text])
      assert.strictEqual(decodeContent(response), response)
    })
  }

  it("an answer without a coding, or with several headers of it, is passed on as it is", () => {
    const { response } = responseOf("gzip", [text])
    const { "content-encoding": _, ...headers } = response.headers
    const plain = { ...response, headers }
    assert.strictEqual(decodeContent(plain), plain)
    const many = { ...response, headers: { "content-encoding": ["gzip", "br"] } }
    assert.strictEqual(decodeContent(many), many)
  })
})

describe("a reader of a decoded body that is woken", () => {
  it("reads nothing, and what comes behind it is decoded as if nothing had been", async () => {
    const coded = gzipSync("one and two")
    const pieces = [coded.subarray(0, 12), new Uint8Array(0), coded.subarray(12)]
    const { response } = responseOf("gzip", pieces)
    const decoded = decodeContent(response)
    const sizes: Array<number> = []
    let text = ""
    for (;;) {
      const read = await Effect.runPromise(decoded.read)
      if (read instanceof BodyEnd) break
      for (const piece of read) {
        sizes.push(piece.length)
        text += Buffer.from(piece).toString()
      }
    }
    assert.strictEqual(text, "one and two")
    assert.include(sizes, 0)
  })
})
