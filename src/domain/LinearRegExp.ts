/**
 * Regular expressions that clients' words are held against: in linear time, whatever the pattern and whatever the word,
 * so no configuration can be made to run for long. What makes an expression slow (backreferences, lookaround) does not
 * exist here and is refused when it is compiled.
 */
import { Result } from "effect"
import { RE2JS } from "re2js"
import { makePreview } from "./RequiredText.ts"

export interface LinearRegExp {
  /** Whether the whole word matches. */
  readonly matchesWhole: (word: string) => boolean
  /** Where the expression is found somewhere in a text: what the first of its groups holds that took part. */
  readonly firstGroup: (text: string) => string | undefined
}

/** The expression ready for use, or why it is none. */
export const compileRegExp = (source: string): Result.Result<LinearRegExp, string> =>
  Result.map(Result.try({ try: () => RE2JS.compile(source, RE2JS.DOTALL), catch: reasonOf }), (compiled) => {
    const mayMatch = makePreview(source)
    return {
      matchesWhole: (word) => mayMatch(word) && compiled.testExact(word),
      firstGroup: (text) => {
        // To find out whether it matches at all takes a fraction of the time in which groups are found.
        if (!mayMatch(text) || !compiled.test(text)) return undefined
        const matcher = compiled.matcher(text)
        if (!matcher.find()) return undefined
        for (let group = 1; group <= matcher.groupCount(); group++) {
          const found = matcher.group(group)
          if (found !== null) return found
        }
        return undefined
      }
    }
  })

const reasonOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "not understood"
  const why = unsupported(text) ?? text.replace("`(?s)", "`")
  return `not a regular expression that can be matched in linear time: ${why}`
}

/** What people know from other engines, by its name. */
const unsupported = (text: string): string | undefined => {
  const [, piece] = /`(.+)/s.exec(text) ?? []
  if (piece === undefined) return undefined
  if (/^\(\?<?[=!]/.test(piece)) return "lookahead and lookbehind are not supported"
  return /^\\[1-9k]/.test(piece) ? "backreferences are not supported" : undefined
}
