/** Bodies that were read, for tests of what is made of them. */
import { Pieces } from "../../src/backend/UpstreamTransport.ts"
import { type Edit, edited } from "../../src/proxy/BodyEdit.ts"
import { readBodyAtOnce } from "../../src/proxy/BodyReading.ts"
import { Outline } from "../../src/proxy/Outline.ts"

export const outlineOf = (body: object | string): Outline => {
  const read = readBodyAtOnce(Buffer.from(typeof body === "string" ? body : JSON.stringify(body)))
  if (!(read instanceof Outline)) throw new Error(read.message)
  return read
}

/** What edits make of a body. */
export const editedText = (outline: Outline, edits: ReadonlyArray<Edit>): string => {
  const body = edited(outline.bytes, edits)
  return (body instanceof Pieces ? Buffer.concat(body.all) : body).toString("utf8")
}
