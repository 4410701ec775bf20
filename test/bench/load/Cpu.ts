/** What the kernel says of a process, all of its threads together: no noise of other processes is in it. */
import { readdirSync, readFileSync } from "node:fs"

/** Clock ticks of `/proc/<pid>/stat` in milliseconds; the kernel reports hundredths of a second on all platforms. */
const millisPerTick = 10

export interface CpuTime {
  /** Milliseconds at work since the processes started. */
  readonly used: number
  /** Milliseconds ready to work without getting the core: for their own helpers, or for other programs. */
  readonly waited: number
}

/**
 * The scheduler's own account has nanoseconds; where the kernel does not give it, `utime + stime` with its hundredths
 * of a second must do.
 */
export const cpuTime = (pids: ReadonlyArray<number>): CpuTime => {
  const times = pids.map((pid) => scheduled(pid) ?? { used: ticks(pid), waited: 0 })
  return {
    used: times.reduce((sum, { used }) => sum + used, 0),
    waited: times.reduce((sum, { waited }) => sum + waited, 0)
  }
}

const scheduled = (pid: number): CpuTime | undefined => {
  try {
    let [used, waited] = [0, 0]
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [onCpu, ready] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")
      used += Number(onCpu) / 1e6
      waited += Number(ready) / 1e6
    }
    return { used, waited }
  } catch {
    return undefined
  }
}

const ticks = (pid: number): number => {
  // The command's name, in parentheses, may hold blanks: the fields are counted after it.
  const text = readFileSync(`/proc/${pid}/stat`, "latin1")
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * millisPerTick
}

/** Resident memory in MiB. */
export const residentMiB = (pids: ReadonlyArray<number>): number =>
  pids.reduce((sum, pid) => sum + residentOf(readFileSync(`/proc/${pid}/status`, "latin1")), 0)

/** From the text of `/proc/<pid>/status`. */
export const residentOf = (status: string): number => Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024
