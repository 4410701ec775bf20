/** Pieces of the generated pages. */

/** The first lines of a page: its heading, and where its text comes from. */
export const heading = (title: string, generator: string): string =>
  `<!-- Written by docs/generate/${generator}.ts (npm run docs). Do not edit. -->\n\n# ${title}\n`

export const table = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [columns, columns.map(() => "---"), ...rows].map((cells) => `| ${cells.map(cell).join(" | ")} |`).join("\n")

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ")

export const code = (text: string): string => `\`${text}\``
