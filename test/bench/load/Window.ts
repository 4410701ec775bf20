/** The measured part of a load: what happens before and after it is not counted. */
import { setTimeout as sleep } from "node:timers/promises"
import { cpuTime } from "./Cpu.ts"

export interface Window {
  /** Whether what happens now counts. */
  isOpen: boolean
}

export interface Measured {
  /** How long the window really was. */
  readonly seconds: number
  /** CPU time that the subject used in it, all its threads and processes together. */
  readonly cpuMillis: number
  /** The share of the time for which its threads were ready and had no core. */
  readonly waited: number
}

interface Span {
  readonly pids: ReadonlyArray<number>
  readonly warmup: number
  readonly window: number
}

/** Opens the window after `warmup` and closes it `length` later; CPU time is read synchronously with the counts. */
export const measure = async (window: Window, { pids, warmup, window: length }: Span): Promise<Measured> => {
  await sleep(warmup)
  const before = cpuTime(pids)
  const startedAt = performance.now()
  window.isOpen = true
  await sleep(length)
  window.isOpen = false
  const millis = performance.now() - startedAt
  const after = cpuTime(pids)
  return {
    seconds: millis / 1000,
    cpuMillis: after.used - before.used,
    waited: (after.waited - before.waited) / millis
  }
}

/** Splits connections among the loopback's addresses, so that neither ports nor a limit by address run out. */
export const sourceOf = (index: number): string => `127.0.0.${2 + (index % 4)}`
