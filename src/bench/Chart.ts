/** A sweep as a picture: what more requests at a time bring, and what they cost. */
import { type Measurement, tokensPerSecond } from "./Measurement.ts"
import { columns, number, time } from "./Shown.ts"
import type { Step } from "./SweepReport.ts"

const barWidth = 40

const p95 = ({ latency }: Measurement): number => latency?.p95 ?? 0

/** For the terminal: a bar for each step's tokens a second, with the latency that they cost. */
export const barChart = (steps: ReadonlyArray<Step>): string => {
  const most = Math.max(...steps.map(({ run }) => tokensPerSecond(run)), Number.MIN_VALUE)
  const rows = steps.map(({ concurrency, run }) => {
    const bar = "█".repeat(Math.round((tokensPerSecond(run) / most) * barWidth)).padEnd(barWidth, "·")
    return [`${String(concurrency).padStart(5)} ${bar}`, number(tokensPerSecond(run)), time(p95(run))]
  })
  return columns([["concurrency", "tokens/s", "latency p95"], ...rows])
}

const size = { width: 720, height: 400 }
const plot = { left: 80, right: 640, top: 60, bottom: 340 }

interface Series {
  readonly name: string
  readonly color: string
  readonly values: ReadonlyArray<number>
  readonly shown: (value: number) => string
  readonly axis: "left" | "right"
}

/** The next number that reads well: 1, 2 or 5 times a power of ten. */
const roundUp = (value: number): number => {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((step) => step * power).find((candidate) => candidate >= value * 0.999) ?? value
}

const escapeXml = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeXml(content)}</text>`

/** Steps stand at equal distances: they are chosen, not measured. */
const across = (index: number, count: number): number =>
  count < 2 ? (plot.left + plot.right) / 2 : plot.left + ((plot.right - plot.left) * index) / (count - 1)

const up = (value: number, most: number): number => plot.bottom - ((plot.bottom - plot.top) * value) / most

const ticks = 4

const drawn = ({ axis, color, name, shown, values }: Series): ReadonlyArray<string> => {
  const most = roundUp(Math.max(...values))
  const points = values.map((value, index) => [across(index, values.length), up(value, most)] as const)
  const [x, anchor] = axis === "left" ? [plot.left - 12, "end"] : [plot.right + 12, "start"]
  return [
    `<polyline fill="none" stroke="${color}" stroke-width="2" points="${points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ")}"/>`,
    ...points.map(([x, y], index) => {
      const title = escapeXml(`${name}: ${shown(values[index] ?? 0)}`)
      return `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4" fill="${color}"><title>${title}</title></circle>`
    }),
    ...Array.from({ length: ticks + 1 }, (_, tick) => {
      const value = (most * tick) / ticks
      return text(x, up(value, most) + 4, shown(value), `text-anchor="${anchor}" fill="${color}"`)
    }),
    text(
      x,
      plot.top - 16,
      name,
      `text-anchor="${axis === "left" ? "start" : "end"}" dx="${axis === "left" ? -56 : 56}" fill="${color}" font-weight="bold"`
    )
  ]
}

/** A picture of its own: no scripts, no fonts, nothing from elsewhere. */
export const svgChart = (steps: ReadonlyArray<Step>, title: string): string => {
  const series: ReadonlyArray<Series> = [
    {
      name: "tokens/s",
      color: "#1f6feb",
      values: steps.map(({ run }) => tokensPerSecond(run)),
      shown: number,
      axis: "left"
    },
    { name: "latency p95", color: "#c2410c", values: steps.map(({ run }) => p95(run)), shown: time, axis: "right" }
  ]
  const grid = Array.from({ length: ticks + 1 }, (_, tick) => {
    const y = up(tick, ticks).toFixed(1)
    return `<line x1="${plot.left}" x2="${plot.right}" y1="${y}" y2="${y}" stroke="#d0d7de"/>`
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" width="${size.width}" height="${size.height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${size.width}" height="${size.height}" fill="#ffffff"/>`,
    text(size.width / 2, 24, title, 'text-anchor="middle" font-size="15" fill="#1f2328"'),
    ...grid,
    ...series.flatMap(drawn),
    ...steps.map(({ concurrency }, index) =>
      text(across(index, steps.length), plot.bottom + 20, String(concurrency), 'text-anchor="middle" fill="#1f2328"')
    ),
    text(size.width / 2, plot.bottom + 44, "requests at a time", 'text-anchor="middle" fill="#1f2328"'),
    "</svg>\n"
  ].join("\n")
}
