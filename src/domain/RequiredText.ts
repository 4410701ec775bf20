/**
 * What a text must hold wherever an expression matches: the longest run of plain characters that is no matter of choice.
 * Looking for it costs next to nothing, so that most texts need not be held against the expression at all.
 */

/** Whether a text may match; that it does is for the expression to say. */
export const makePreview = (source: string): ((text: string) => boolean) => {
  const required = requiredTextOf(source)
  if (required === undefined) return () => true
  if (!/\(\?[a-zA-Z]*i/.test(source)) return (text) => text.includes(required)
  const folded = fold(required)
  return (text) => fold(text).includes(folded)
}

/** One way of writing what is the same letter but for its case; there and back, for those that have more than two forms. */
const fold = (text: string): string => text.toLowerCase().toUpperCase()

/** Escapes, classes, counts, flags as they stand; everything else character by character. */
const piece = /\\(?:[pP]\{[^}]*\}|[pP]?[^])|\[\^?\]?(?:\[:[^\]]*:\]|\\[^]|[^\]])*\]|\{[^}]*\}|\(\?[a-zA-Z-]+\)|[^]/gu

const requiredTextOf = (source: string): string | undefined => {
  let longest: ReadonlyArray<string> = []
  let run: Array<string> = []
  let depth = 0
  for (const [text] of source.matchAll(piece)) {
    if (isUnclear(text) || (text === "|" && depth === 0)) return undefined
    if (depth === 0 && isPlain(text)) {
      run.push(text.replace(/^\\/, ""))
      continue
    }
    // What may be left out is no part of the run; what may come again is, once.
    if (/^[*?{]/.test(text)) run.pop()
    if (run.length > longest.length) longest = run
    run = []
    if (text === "(") depth++
    if (text === ")") depth--
  }
  const found = run.length > longest.length ? run : longest
  return found.length === 0 ? undefined : found.join("")
}

const isPlain = (text: string): boolean => /^(?:\\[^\w]|[^\\[\]{}()*+?.^$|])$/u.test(text)

/** Characters by their number, quotations, and whatever else reaches further than it looks. */
const isUnclear = (text: string): boolean => /^\\[^\WabBdDfnpPrsStvwWz]/.test(text)
