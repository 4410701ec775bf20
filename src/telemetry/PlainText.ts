/** Text from outside for a terminal or a log: short, and without characters that act instead of being seen. */

/**
 * C0 with line breaks, DEL, C1, marks that change the direction of text, the separators of lines and paragraphs, and
 * halves of surrogate pairs.
 */
const acting = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\p{Cs}]/gu

const escapeOne = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** The same text with each such character as `\uXXXX`; in JSON it means the same as before. */
export const escapeActing = (text: string): string => text.replace(acting, escapeOne)

/** The longest text of one value in a log line, in characters before they are escaped. */
export const maxValueChars = 2048

/** At most `max` characters, and how many there were. Never the half of a surrogate pair. */
export const cut = (text: string, max: number, length: number = text.length): string => {
  if (length <= max) return text
  const end = isHighSurrogate(text.charCodeAt(max - 1)) ? max - 1 : max
  return `${text.slice(0, end)}… (${length} characters)`
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff

/** The longest name that a message repeats, in characters. */
const maxQuotedChars = 120

/** A name from outside, fit for a message: in quotes, short, in one line, without characters that act. */
export const quoted = (name: string): string =>
  escapeActing(JSON.stringify(name.length > maxQuotedChars ? `${name.slice(0, maxQuotedChars)}…` : name))
