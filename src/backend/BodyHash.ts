/** The hash of a body, as signatures need it. */
import { createHash } from "node:crypto"
import { Effect } from "effect"
import { type Pieces, slicesOf } from "../domain/Bytes.ts"

/** Bytes that are hashed without a pause: one to three milliseconds. */
const sliceBytes = 1024 * 1024

/** Whether a body takes too long to be hashed at once. */
export const isLongToHash = ({ length }: Uint8Array | Pieces): boolean => length > 2 * sliceBytes

/** SHA-256 in hexadecimal, made in slices between which other requests get their turn. */
export const hashInSlices = (body: Uint8Array | Pieces): Effect.Effect<string> =>
  Effect.suspend(() => {
    const hash = createHash("sha256")
    const slices = slicesOf(body, sliceBytes)
    const goOn: Effect.Effect<string> = Effect.suspend(() => {
      const slice = slices.next()
      if (slice.done === true) return Effect.succeed(hash.digest("hex"))
      hash.update(slice.value)
      return Effect.flatMap(Effect.yieldNow, () => goOn)
    })
    return goOn
  })

/** The same at once. */
export const hashOf = (body: Uint8Array | Pieces | undefined): string => {
  const hash = createHash("sha256")
  if (body !== undefined) for (const slice of slicesOf(body, sliceBytes)) hash.update(slice)
  return hash.digest("hex")
}
