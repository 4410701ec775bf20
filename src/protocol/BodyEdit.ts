/** Other members in a body whose every other byte stays as it is: numbers as they were written, names in their order. */
import { Pieces } from "../domain/Bytes.ts"
import type { MemberName } from "./BodyNames.ts"
import type { BodyOutline } from "./BodyOutline.ts"

/** Other text in place of some bytes. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

const openBrace = 0x7b

/** A member with another value: in place of its own, else in front of all. The body must have a member. */
export const setMember = (outline: BodyOutline, name: MemberName, value: unknown): Edit => {
  const { end, start } = outline.span(name)
  if (start >= 0) return { start, end, text: JSON.stringify(value) }
  const first = outline.bytes.indexOf(openBrace) + 1
  return { start: first, end: first, text: `${JSON.stringify(name)}:${JSON.stringify(value)},` }
}

/** One more member, the last, in the object that a member is. */
export const addInto = (outline: BodyOutline, name: MemberName, inner: string, value: unknown): Edit => {
  const last = outline.span(name).end - 1
  const comma = outline.isFilledObject(name) ? "," : ""
  return { start: last, end: last, text: `${comma}${JSON.stringify(inner)}:${JSON.stringify(value)}` }
}

/** Bytes; a longer body is not copied for its edits, but sent in pieces. */
const maxCopiedBytes = 131_072

/** The bytes with all edits made, none of which overlap. */
export const edited = (bytes: Buffer, edits: ReadonlyArray<Edit>): Buffer | Pieces => {
  if (edits.length === 0) return bytes
  const pieces: Array<Buffer> = []
  let taken = 0
  for (const { end, start, text } of edits.toSorted((a, b) => a.start - b.start)) {
    pieces.push(bytes.subarray(taken, start), Buffer.from(text, "utf8"))
    taken = end
  }
  pieces.push(bytes.subarray(taken))
  return bytes.length > maxCopiedBytes ? new Pieces(pieces) : Buffer.concat(pieces)
}
