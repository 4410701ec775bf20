/**
 * The shape of a JSON text without its long words. Of a prompt of hundreds of kilobytes, routing wants to know a dozen
 * members; to make strings of all the rest costs several times what it takes to forward it.
 */

const quote = 0x22
const backslash = 0x5c
const firstPrintable = 0x20
const letterU = 0x75

/** So deep are the texts of messages: an object with a list of objects. Nothing above is touched. */
const deep = 3

/** Bytes; shorter ones cost more to leave out than to read. */
const short = 256

/** How much deeper a byte leads. */
const steps = new Int8Array(256)
for (const [bracket, step] of [
  [0x5b, 1],
  [0x7b, 1],
  [0x5d, -1],
  [0x7d, -1]
] as const) {
  steps[bracket] = step
}

/** What may follow a backslash, and how long that is as a whole. */
const escapes = new Uint8Array(256)
for (const letter of '"\\/bfnrt') escapes[letter.charCodeAt(0)] = 2
escapes[letterU] = 6

const isHex = (byte: number | undefined): boolean => byte !== undefined && /^[\da-f]$/i.test(String.fromCharCode(byte))

/**
 * The same text with every long string inside of messages empty; `undefined` where one of its strings is none, so that
 * what is left is valid exactly if the whole was. `body` must be valid UTF-8.
 */
export const shortened = (body: Buffer): string | undefined => {
  const pieces: Array<string> = []
  let taken = 0
  let depth = 0
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] ?? 0
    if (byte !== quote) {
      depth += steps[byte] ?? 0
      continue
    }
    const end = endOfString(body, at + 1)
    if (end < 0) return undefined
    if (depth >= deep && end - at > short) {
      pieces.push(body.toString("utf8", taken, at + 1))
      taken = end
    }
    at = end
  }
  pieces.push(body.toString("utf8", taken))
  return pieces.join("")
}

/** Bytes that are only themselves inside of a string. */
const plain = new Uint8Array(256).fill(1, firstPrintable)
plain[quote] = 0
plain[backslash] = 0

/** Where the quote is that closes a string; -1 where it is not one. */
const endOfString = (body: Buffer, from: number): number => {
  let at = from
  for (;;) {
    while (plain[body[at] ?? 0] === 1) at++
    if (body[at] === quote) return at
    if (body[at] !== backslash) return -1
    const length = escapes[body[at + 1] ?? 0] ?? 0
    if (length === 0) return -1
    for (let digit = at + 2; digit < at + length; digit++) if (!isHex(body[digit])) return -1
    at += length
  }
}
