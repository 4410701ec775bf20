import { assert, describe, it } from "@effect/vitest"
import { type HealthStatus, standingOf } from "../../src/domain/Health.ts"
import { HealthMachine } from "../../src/registry/HealthMachine.ts"
import { fc } from "./Properties.ts"

const thresholds = { unhealthyAfter: 3, healthyAfter: 1 }
const grace = 15_000

const probe = (machine: HealthMachine, found: HealthStatus, now = 0, healthyAfter = 1) =>
  machine.probed(found, { ...thresholds, healthyAfter }, grace, now)

const healthy = (): HealthMachine => {
  const machine = new HealthMachine()
  probe(machine, "healthy")
  return machine
}

const shown = ({ standing, status }: HealthMachine) => [status, standing]

describe("a backend that was never probed", () => {
  it("is unknown, and may be given work", () => {
    assert.deepStrictEqual(shown(new HealthMachine()), ["unknown", "first"])
  })

  it("is healthy at its first good probe, whatever healthyAfter says", () => {
    const machine = new HealthMachine()
    probe(machine, "healthy", 0, 3)
    assert.deepStrictEqual(shown(machine), ["healthy", "first"])
  })

  it("is out at its first missed probe: nothing speaks for it", () => {
    const machine = new HealthMachine()
    probe(machine, "unhealthy")
    assert.deepStrictEqual(shown(machine), ["unhealthy", "out"])
  })

  it("a backend that has delivered already does not die of one missed probe", () => {
    const machine = new HealthMachine()
    machine.delivered(0)
    probe(machine, "unhealthy", grace + 1)
    assert.strictEqual(machine.status, "unknown")
  })
})

describe("a healthy backend", () => {
  it("survives missed probes up to unhealthyAfter, then is out", () => {
    const machine = healthy()
    probe(machine, "unhealthy")
    probe(machine, "unhealthy")
    assert.deepStrictEqual(shown(machine), ["healthy", "first"])
    probe(machine, "unhealthy")
    assert.deepStrictEqual(shown(machine), ["unhealthy", "out"])
  })

  it("is not killed by missed probes that are not in a row", () => {
    const machine = healthy()
    for (let i = 0; i < 10; i++) {
      probe(machine, "unhealthy")
      probe(machine, "unhealthy")
      probe(machine, "healthy")
    }
    assert.strictEqual(machine.status, "healthy")
  })

  it("a backend that misses every probe but delivers tokens is busy, not dead", () => {
    const machine = healthy()
    for (let now = 5000; now <= 300_000; now += 5000) {
      machine.delivered(now - 1)
      probe(machine, "unhealthy", now)
      assert.deepStrictEqual(shown(machine), ["busy", "last"])
    }
  })

  it("a backend that stopped delivering is out once its deliveries are old", () => {
    const machine = healthy()
    machine.delivered(0)
    probe(machine, "unhealthy", 5000)
    probe(machine, "unhealthy", 10_000)
    probe(machine, "unhealthy", grace)
    assert.strictEqual(machine.status, "busy")
    probe(machine, "unhealthy", grace + 1)
    assert.deepStrictEqual(shown(machine), ["unhealthy", "out"])
  })

  it("is out after unhealthyAfter broken connections in a row, and a probe is asked for", () => {
    const machine = healthy()
    let told = 0
    machine.onSuspicion(() => told++)
    machine.delivered(1)
    machine.broke(thresholds)
    machine.broke(thresholds)
    assert.deepStrictEqual([machine.status, told], ["healthy", 0])
    machine.broke(thresholds)
    assert.deepStrictEqual([machine.status, told], ["unhealthy", 1])
    machine.broke(thresholds)
    assert.strictEqual(told, 1, "told once, not at each further failure")
  })

  it("a backend that delivers in between survives broken connections", () => {
    const machine = healthy()
    for (let now = 0; now < 20; now++) {
      machine.broke(thresholds)
      machine.broke(thresholds)
      machine.delivered(now)
    }
    assert.strictEqual(machine.status, "healthy")
  })

  it("a backend that broke under traffic is not saved from the next missed probe by what it delivered before", () => {
    const machine = healthy()
    machine.delivered(10)
    for (let i = 0; i < 3; i++) machine.broke(thresholds)
    probe(machine, "unhealthy", 20)
    assert.strictEqual(machine.status, "unhealthy")
  })
})

describe("an unhealthy backend", () => {
  const dead = (): HealthMachine => {
    const machine = new HealthMachine()
    probe(machine, "unhealthy")
    return machine
  }

  it("comes back by itself at the first good probe", () => {
    const machine = dead()
    probe(machine, "healthy")
    assert.deepStrictEqual(shown(machine), ["healthy", "first"])
  })

  it("comes back only after healthyAfter good probes in a row where that is asked for", () => {
    const machine = dead()
    probe(machine, "healthy", 0, 3)
    probe(machine, "healthy", 0, 3)
    probe(machine, "unhealthy", 0, 3)
    probe(machine, "healthy", 0, 3)
    probe(machine, "healthy", 0, 3)
    assert.strictEqual(machine.status, "unhealthy")
    probe(machine, "healthy", 0, 3)
    assert.strictEqual(machine.status, "healthy")
  })

  it("a backend that recovered starts with a clean record", () => {
    const machine = healthy()
    for (let i = 0; i < 3; i++) machine.broke(thresholds)
    probe(machine, "healthy")
    machine.broke(thresholds)
    machine.broke(thresholds)
    probe(machine, "unhealthy")
    probe(machine, "unhealthy")
    assert.strictEqual(machine.status, "healthy")
  })
})

describe("what a probe's answer says", () => {
  for (const found of ["misconfigured", "warming", "rate_limited"] as const) {
    it(`${found} takes effect at once, and ends with the next good probe`, () => {
      const machine = healthy()
      probe(machine, found, 0, 3)
      assert.deepStrictEqual(shown(machine), [found, "out"])
      probe(machine, "healthy", 0, 3)
      assert.deepStrictEqual(shown(machine), ["healthy", "first"])
    })

    it(`${found} is an answer: probes that were missed before it are no longer in a row`, () => {
      const machine = healthy()
      probe(machine, "unhealthy")
      probe(machine, "unhealthy")
      probe(machine, found)
      probe(machine, "unhealthy")
      assert.strictEqual(machine.status, found)
    })
  }

  it("is remembered with its time where it was good, for those that wait for a sign of life", () => {
    const machine = new HealthMachine()
    assert.strictEqual(machine.lastGoodProbe, Number.NEGATIVE_INFINITY)
    probe(machine, "healthy", 42)
    probe(machine, "unhealthy", 50)
    assert.strictEqual(machine.lastGoodProbe, 42)
  })
})

describe("a backend that says it is busy", () => {
  it("is alive, and asked last", () => {
    const machine = healthy()
    probe(machine, "busy", 42)
    assert.deepStrictEqual(shown(machine), ["busy", "last"])
    assert.strictEqual(machine.lastGoodProbe, 42)
    probe(machine, "healthy")
    assert.deepStrictEqual(shown(machine), ["healthy", "first"])
  })

  it("comes back from being unhealthy as one that is not: after healthyAfter good probes", () => {
    const machine = new HealthMachine()
    probe(machine, "unhealthy")
    probe(machine, "busy", 0, 2)
    assert.strictEqual(machine.status, "unhealthy")
    probe(machine, "busy", 0, 2)
    assert.strictEqual(machine.status, "busy")
  })
})

describe("any sequence of probes and traffic", () => {
  const statuses = ["healthy", "unhealthy", "misconfigured", "warming", "rate_limited"] as const
  const event = fc.oneof(
    fc.record({
      kind: fc.constant("probe" as const),
      found: fc.constantFrom(...statuses),
      pause: fc.nat({ max: 9000 })
    }),
    fc.record({ kind: fc.constantFrom("delivered" as const, "broke" as const), pause: fc.nat({ max: 9000 }) })
  )
  const settings = fc.record({
    unhealthyAfter: fc.integer({ min: 1, max: 5 }),
    healthyAfter: fc.integer({ min: 1, max: 5 })
  })

  it("leaves a backend that comes back, a standing that follows the status, and none killed while delivering", () => {
    fc.assert(
      fc.property(settings, fc.array(event, { maxLength: 60, size: "max" }), (limits, events) => {
        const machine = new HealthMachine()
        let now = 0
        let suspicions = 0
        machine.onSuspicion(() => suspicions++)
        for (const one of events) {
          now += one.pause
          const before = machine.status
          const delivering = now - machine.lastDelivery <= grace
          if (one.kind === "probe") machine.probed(one.found, limits, grace, now)
          else if (one.kind === "delivered") machine.delivered(now)
          else machine.broke(limits)
          assert.strictEqual(machine.standing, standingOf(machine.status))
          if (one.kind === "probe" && delivering && before !== "unhealthy")
            assert.notStrictEqual(machine.status, "unhealthy")
          if (one.kind === "delivered") assert.strictEqual(machine.status, before)
          if (one.kind === "probe" && one.found !== "healthy" && one.found !== "unhealthy") {
            assert.strictEqual(machine.status, one.found)
          }
        }
        const toldBefore = suspicions
        for (let i = 0; i < limits.healthyAfter; i++) machine.probed("healthy", limits, grace, now)
        assert.strictEqual(machine.status, "healthy")
        for (let i = 0; i < limits.unhealthyAfter; i++) machine.broke(limits)
        assert.deepStrictEqual([machine.status, suspicions - toldBefore], ["unhealthy", 1])
        for (let i = 0; i < limits.healthyAfter; i++) machine.probed("healthy", limits, grace, now)
        for (let i = 0; i < limits.unhealthyAfter; i++) machine.probed("unhealthy", limits, grace, now + grace + 1)
        assert.strictEqual(machine.status, "unhealthy")
      })
    )
  })
})
