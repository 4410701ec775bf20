/** The real services that this suite drives: each must be there, and a missing one fails with how to get it. */
import { execFileSync } from "node:child_process"

const packages = { prometheus: "prometheus", promtool: "prometheus" } as const

/** The command itself; a missing one fails the suite with what to install. */
export const required = (command: keyof typeof packages): string => {
  try {
    execFileSync("sh", ["-c", `command -v ${command}`], { stdio: "ignore" })
    return command
  } catch {
    throw new Error(`${command} is not installed: apt-get install ${packages[command]}`)
  }
}
