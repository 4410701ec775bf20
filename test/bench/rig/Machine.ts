/** The machine that the figures are from, and what the suite may use of it. */
import { existsSync, readFileSync } from "node:fs"
import { cpus, loadavg, release, totalmem } from "node:os"

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  /** Runnable processes when the suite began: what else the machine had to do. */
  readonly loadBefore: number
  /** Whether each process was bound to a core. */
  readonly pinned: boolean
  readonly openFiles: number
}

/** Where a tool of the system is, if it is installed. */
export const findTool = (name: string): string | undefined =>
  ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    .map((folder) => `${folder}/${name}`)
    .find((file) => existsSync(file))

/** The hard limit of open files, to which the children's limit is raised. */
const openFilesLimit = (): number => {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1")
    return Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? 1024)
  } catch {
    return 1024
  }
}

export const describeMachine = (): Machine => ({
  cores: cpus().length,
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.version,
  loadBefore: loadavg()[0] ?? 0,
  pinned: findTool("taskset") !== undefined && cpus().length > 1,
  openFiles: openFilesLimit()
})
