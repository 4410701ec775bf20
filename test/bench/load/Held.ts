/** Streams that are open and silent. */
import { setTimeout as sleep } from "node:timers/promises"
import { Client } from "../wire/Client.ts"
import type { Figures, HoldJob } from "./Job.ts"
import { streamRequest } from "./Requests.ts"
import { sourceOf } from "./Window.ts"

/** So many are being opened at any time. */
const together = 64

/** How long opening and ending may take. */
const patience = 60_000

export const makeHeld = (buffer: Buffer) => {
  const open = new Set<Client>()

  /** Returns when so many streams have their first event, or no more are to be had. */
  const hold = async (job: HoldJob): Promise<Figures> => {
    const request = streamRequest({ chunks: 2, pace: 20, hold: true }, job.port, job.headers)
    let begun = 0
    let failed = 0
    const openNext = (done: () => void): void => {
      if (begun >= job.streams || failed > together) return done()
      const index = begun++
      let answered = false
      const client = new Client({ port: job.port, source: sourceOf(index) }, buffer, {
        onOpen: () => client.send(request),
        onStatus: () => {},
        onData: () => {
          if (answered) return
          answered = true
          open.add(client)
          openNext(done)
        },
        onEnd: () => client.destroy(),
        onClose: () => {
          open.delete(client)
          if (answered) return
          failed++
          openNext(done)
        }
      })
    }
    const startedAt = performance.now()
    const opening = Array.from({ length: together }, () => new Promise<void>((resolve) => openNext(resolve)))
    await Promise.race([Promise.all(opening), sleep(patience, undefined, { ref: false })])
    return { open: open.size, failed, seconds: (performance.now() - startedAt) / 1000 }
  }

  /** Returns when all have ended; those that have not after a while are broken off. */
  const release = async (): Promise<Figures> => {
    const deadline = performance.now() + patience
    while (open.size > 0 && performance.now() < deadline) await sleep(20)
    const left = open.size
    for (const client of open) client.destroy()
    return { left }
  }

  return { hold, release }
}
