/** Whether a text is JSON to its end. */

/** `undefined` where it is none. A byte order mark in front of it is skipped. */
export const parsedJson = (text: string): unknown => {
  try {
    return JSON.parse(text.startsWith("\ufeff") ? text.slice(1) : text)
  } catch {
    return undefined
  }
}

/** One document, or one a line. Numbers that are none, as Python writes them, are no sign of a cut. */
export const isWholeJson = (text: string): boolean => {
  if (parsedJson(text) !== undefined) return true
  const plain = text.replace(/\bNaN\b|\bInfinity\b/g, "0")
  if (parsedJson(plain) !== undefined) return true
  const lines = plain.split("\n").filter((line) => line.trim() !== "")
  return lines.length > 1 && lines.every((line) => parsedJson(line) !== undefined)
}
