/**
 * The events of the measured streams: every one is exactly {@link eventBytes} long and carries the moment at which it
 * was sent, on the machine's monotonic clock, so that the load generator can tell how long it was under way.
 */

export const eventBytes = 200

/** The model that the upstream serves. */
export const model = "bench-model"

const digits = 20
const prefix = 'data: {"t":"'
const stampEnd = prefix.length + digits

/** Nanoseconds of the monotonic clock, which all processes of the machine share. */
export const nowNanos = (): number => Number(process.hrtime.bigint())

const afterStamp = (fields: string, filler: (room: number) => string): string => {
  const start = `","id":"cmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"${model}",`
  const room = eventBytes - stampEnd - start.length - fields.length - "}\n\n".length
  return `${start}${fields}${filler(room)}}\n\n`
}

const token = afterStamp("", (room) => {
  const frame = '"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]'
  return frame.replace('""', `"${"x".repeat(room - frame.length)}"`)
})

/** A JSON text may have blanks between its members. */
const finish = afterStamp('"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]', (room) =>
  " ".repeat(Math.max(0, room))
)

const stamp = (): string => process.hrtime.bigint().toString().padStart(digits, "0")

/** An event that is sent now. */
export const tokenEvent = (): string => prefix + stamp() + token

/** The last event before `[DONE]`, sent now. */
export const finishEvent = (): string => prefix + stamp() + finish

export const done = "data: [DONE]\n\n"

/** What a stream's reader is told. */
export interface EventListener {
  /** A whole event has arrived; `sentAt` in nanoseconds of the monotonic clock. */
  readonly onEvent: (sentAt: number) => void
  /** Something that the upstream did not send. */
  readonly onForeign: () => void
}

const zero = 48
const brace = 123

/** Finds the events in a stream's bytes, however they were cut. One for each stream. */
export class EventReader {
  readonly #listener: EventListener
  #at = 0
  #sentAt = 0
  /** The rest of the body is the end mark, or nothing that can be read. */
  #over = false

  constructor(listener: EventListener) {
    this.#listener = listener
  }

  /** For the next stream on the same connection. */
  reset(): void {
    this.#at = 0
    this.#over = false
  }

  push(bytes: Buffer, from: number, to: number): void {
    let at = from
    while (at < to && !this.#over) {
      if (this.#at < stampEnd) at = this.#readStamp(bytes, at, to)
      else {
        const step = Math.min(to - at, eventBytes - this.#at)
        this.#at += step
        at += step
        if (this.#at === eventBytes) {
          this.#at = 0
          this.#listener.onEvent(this.#sentAt)
        }
      }
    }
  }

  #readStamp(bytes: Buffer, from: number, to: number): number {
    let at = from
    while (at < to && this.#at < stampEnd) {
      const byte = bytes[at] ?? 0
      if (this.#at >= prefix.length) this.#sentAt = this.#sentAt * 10 + (byte - zero)
      else if (byte !== prefix.charCodeAt(this.#at)) {
        // `data: [DONE]` is the only thing that may come instead of an event.
        if (this.#at !== prefix.indexOf("{") || byte === brace || byte !== done.charCodeAt(this.#at)) {
          this.#listener.onForeign()
        }
        this.#over = true
        return to
      } else this.#sentAt = 0
      this.#at++
      at++
    }
    return at
  }
}
