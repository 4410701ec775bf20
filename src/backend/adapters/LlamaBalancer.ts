import { type Adapter, genericAdapter, healthFromStatus, isRecord, type ProbeAnswer } from "../Adapter.ts"

/**
 * A llama-balancer, or another Weir, with engines of its own behind it. `/llmhealth` says `idle` or `busy`, as JSON or
 * as a bare word, from the use of its GPU over the last five seconds; whatever else it says, it is not idle.
 */
export const llamaBalancer: Adapter = {
  ...genericAdapter,
  healthPath: "/llmhealth",
  health: (answer) => {
    const found = healthFromStatus(answer.status)
    return found === "healthy" && answer.status === 200 && !isIdle(answer) ? "busy" : found
  },
  loadPath: "/llmhealth",
  load: (answer) => {
    if (answer.status !== 200) return undefined
    const percent = isRecord(answer.body) ? answer.body["gpu_util_max5s"] : undefined
    return {
      // It does not count; where it is busy, at least one request is there.
      running: isIdle(answer) ? 0 : 1,
      kvCacheUsage: 0,
      ...(typeof percent === "number" && { gpuUsage: Math.min(1, Math.max(0, percent / 100)) })
    }
  }
}

const isIdle = ({ body }: ProbeAnswer): boolean => {
  const said = isRecord(body) ? body["status"] : body
  return typeof said === "string" && said.trim().toLowerCase() === "idle"
}
