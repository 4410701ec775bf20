/** Bodies that were read, for tests of what is made of them. */
import { readBodyAtOnce } from "../../src/proxy/BodyReading.ts"
import { Outline } from "../../src/proxy/Outline.ts"

export const outlineOf = (body: object | string): Outline => {
  const read = readBodyAtOnce(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))
  if (!(read instanceof Outline)) throw new Error(read.message)
  return read
}
