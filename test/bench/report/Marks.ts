/** A report within a page that a person wrote. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"

const start = "<!-- figures: begin -->"
const end = "<!-- figures: end -->"

/** Replaces what stands between the marks; a file that has none becomes the text. */
export const writeBetweenMarks = (file: string, text: string): void => {
  const page = existsSync(file) ? readFileSync(file, "utf8") : ""
  const [from, to] = [page.indexOf(start), page.indexOf(end)]
  const marked = `${start}\n\n${text}\n\n${end}`
  writeFileSync(file, from < 0 || to < from ? `${text}\n` : page.slice(0, from) + marked + page.slice(to + end.length))
}
