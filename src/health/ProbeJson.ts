/** The JSON of a probe's answer, parsed only where that cannot take long: a backend's mistake is no other client's wait. */
import { Option, Schema } from "effect"

/** Bytes that are parsed in a few milliseconds, whatever they are. */
const maxPlainBytes = 128 * 1024

/**
 * Objects, lists and members together: as many as a list of ten thousand models has. What JSON takes to be parsed goes
 * by them; a megabyte of nothing else takes a tenth of a second.
 */
const maxMarks = 100_000

const comma = 0x2c
const openBracket = 0x5b
const openBrace = 0x7b

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

/** `undefined` for what is no JSON, and for a long text that is hardly anything but its marks. */
export const parseProbe = (bytes: Buffer): unknown =>
  isCrowded(bytes) ? undefined : Option.getOrUndefined(decode(bytes.toString("utf8")))

const isCrowded = (bytes: Buffer): boolean => {
  if (bytes.length <= maxPlainBytes) return false
  let marks = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === comma || byte === openBracket || byte === openBrace) marks++
  }
  return marks > maxMarks
}
