/** The load generator: a process of its own that does one job after the other, as its parent sends them. */
import { Schema } from "effect"
import { makeHeld } from "./load/Held.ts"
import { type Figures, Job } from "./load/Job.ts"
import { runStreams } from "./load/Streams.ts"
import { runUnary } from "./load/Unary.ts"
import { makeReadBuffer } from "./wire/Client.ts"

const decodeJob = Schema.decodeUnknownSync(Job)

const makeGenerator = () => {
  const buffer = makeReadBuffer()
  const held = makeHeld(buffer)
  return (job: Job): Promise<Figures> => {
    switch (job.kind) {
      case "unary":
        return runUnary(job, buffer)
      case "streams":
        return runStreams(job, buffer)
      case "hold":
        return held.hold(job)
      case "release":
        return held.release()
    }
  }
}

const run = makeGenerator()

/** A job that cannot be done is told too. */
const answer = async (message: unknown): Promise<object> => {
  try {
    return { figures: await run(decodeJob(message)) }
  } catch (error) {
    return { failure: String(error) }
  }
}

process.on("message", (message) => {
  void answer(message).then((outcome) => process.send?.(outcome))
})
process.on("disconnect", () => process.exit(0))
process.send?.({ ready: true })
