/** Bodies that were read, for tests of what is made of them. */
import { Result } from "effect"
import { Pieces } from "../../src/domain/Bytes.ts"
import { type Edit, edited } from "../../src/protocol/BodyEdit.ts"
import type { BodyOutline } from "../../src/protocol/BodyOutline.ts"
import { readBodyAtOnce } from "../../src/protocol/BodyReading.ts"

export const outlineOf = (body: object | string): BodyOutline => {
  return Result.getOrThrow(readBodyAtOnce(Buffer.from(typeof body === "string" ? body : JSON.stringify(body))))
}

/** What edits make of a body. */
export const editedText = (outline: BodyOutline, edits: ReadonlyArray<Edit>): string => {
  const body = edited(outline.bytes, edits)
  return (body instanceof Pieces ? Buffer.concat(body.all) : body).toString("utf8")
}
