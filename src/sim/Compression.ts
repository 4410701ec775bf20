/** Gzip for answers that were not asked to be compressed. */
import { constants, createGzip, type Gzip } from "node:zlib"
import { Effect, Stream } from "effect"

/** Compresses a stream, flushing after each chunk so that none waits for the next. */
export const gzipStream = <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E, R> =>
  Stream.unwrap(
    Effect.map(compressor, ({ ended, flushed }) =>
      self.pipe(Stream.mapEffect(flushed), Stream.concat(Stream.fromEffect(ended)))
    )
  )

const compressor = Effect.gen(function* () {
  const gzip = yield* Effect.acquireRelease(
    Effect.sync(() => createGzip()),
    (gzip) => Effect.sync(() => gzip.destroy())
  )
  let ready: Array<Uint8Array> = []
  const collect = (): void => {
    for (let chunk = readChunk(gzip); chunk !== undefined; chunk = readChunk(gzip)) ready.push(chunk)
  }
  // Where one chunk compresses to more than the stream's buffer, it must be emptied before the flush is done.
  gzip.on("readable", collect)
  const take = (): Uint8Array => {
    collect()
    const taken = Buffer.concat(ready)
    ready = []
    return taken
  }
  const flushed = (chunk: Uint8Array): Effect.Effect<Uint8Array> =>
    Effect.callback((resume) => {
      gzip.write(chunk)
      gzip.flush(constants.Z_SYNC_FLUSH, () => resume(Effect.sync(take)))
    })
  const ended: Effect.Effect<Uint8Array> = Effect.callback((resume) => {
    // `finish` comes before the last bytes.
    gzip.once("end", () => resume(Effect.sync(take)))
    gzip.end()
  })
  return { flushed, ended }
})

const readChunk = (gzip: Gzip): Uint8Array | undefined => {
  const chunk: unknown = gzip.read()
  return chunk instanceof Uint8Array ? chunk : undefined
}
