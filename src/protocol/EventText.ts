/**
 * A stream of events as text whose lines end in one way only. The standard allows LF, CR and CRLF, and a byte order mark
 * at the beginning; any of them may be cut in two.
 */
export class EventText {
  /** How many bytes of a byte order mark have come; `undefined`: the beginning is over. */
  #marked: number | undefined = 0
  #afterReturn = false

  /** Whether what came last is a CR: the other half of a line break may follow. */
  get afterReturn(): boolean {
    return this.#afterReturn
  }

  /** One character a byte. Every line break is a line feed. */
  read(bytes: Buffer): string {
    let text = bytes.toString("latin1")
    if (this.#marked !== undefined) text = this.#withoutMark(text, this.#marked)
    if (this.#afterReturn && text !== "") {
      if (text.startsWith("\n")) text = text.slice(1)
      this.#afterReturn = false
    }
    if (!text.includes("\r")) return text
    this.#afterReturn = text.endsWith("\r")
    const feeds = text.replaceAll("\r\n", "\n")
    return feeds.includes("\r") ? feeds.replaceAll("\r", "\n") : feeds
  }

  #withoutMark(text: string, marked: number): string {
    let at = 0
    while (marked + at < mark.length && at < text.length && text[at] === mark[marked + at]) at++
    const isOver = at < text.length || marked + at === mark.length
    this.#marked = isOver ? undefined : marked + at
    return text.slice(at)
  }
}

/** U+FEFF in UTF-8. */
const mark = "\u00ef\u00bb\u00bf"
