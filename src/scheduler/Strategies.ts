/** Which file implements which name of the contract. */
import type { StrategyName } from "../domain/Pool.ts"
import type { Strategy } from "./Strategy.ts"
import { failover } from "./strategies/Failover.ts"
import { leastInflight } from "./strategies/LeastInflight.ts"
import { roundRobin } from "./strategies/RoundRobin.ts"
import { weightedRoundRobin } from "./strategies/WeightedRoundRobin.ts"

const constructors: Partial<Record<StrategyName, () => Strategy>> = {
  round_robin: roundRobin,
  weighted_round_robin: weightedRoundRobin,
  least_inflight: leastInflight,
  failover
}

export const makeStrategy = (name: StrategyName): Strategy => (constructors[name] ?? leastInflight)()
