/**
 * A clock for the fixed rate, in a thread of its own: Node's timers know whole milliseconds only, and spinning would
 * take the core from the upstream. It ends by itself. Nothing is imported, so that it begins at once.
 */
import { parentPort, workerData } from "node:worker_threads"

const interval = Number(workerData.interval)
const millis = Number(workerData.millis)
const cell = new Int32Array(new SharedArrayBuffer(4))
const startedAt = performance.now()

for (let at = 0; at < millis; at += interval) {
  const pause = startedAt + at - performance.now()
  if (pause > 0) Atomics.wait(cell, 0, 0, pause)
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker's port, not a window
  parentPort?.postMessage(0)
}
