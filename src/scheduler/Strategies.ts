/** Which file implements which name of the contract. */
import type { StrategyName } from "../domain/Pool.ts"
import type { Strategy } from "./Strategy.ts"
import { consistentHash } from "./strategies/ConsistentHash.ts"
import { failover } from "./strategies/Failover.ts"
import { latencyBased } from "./strategies/LatencyBased.ts"
import { leastInflight } from "./strategies/LeastInflight.ts"
import { leastLoaded } from "./strategies/LeastLoaded.ts"
import { powerOfTwo } from "./strategies/PowerOfTwo.ts"
import { prefixAware } from "./strategies/PrefixAware.ts"
import { random } from "./strategies/Random.ts"
import { responseAware } from "./strategies/ResponseAware.ts"
import { roundRobin } from "./strategies/RoundRobin.ts"
import { weightedRoundRobin } from "./strategies/WeightedRoundRobin.ts"

const constructors: Record<StrategyName, () => Strategy> = {
  round_robin: roundRobin,
  weighted_round_robin: weightedRoundRobin,
  random,
  least_inflight: leastInflight,
  least_loaded: leastLoaded,
  latency_based: latencyBased,
  response_aware: responseAware,
  failover,
  power_of_two: powerOfTwo,
  consistent_hash: consistentHash,
  prefix_aware: prefixAware
}

export const makeStrategy = (name: StrategyName): Strategy => constructors[name]()
