import { assert, describe, it } from "@effect/vitest"
import { inProcess } from "../../src/registry/Capacity.ts"
import { type Waiter, WaitQueue } from "../../src/resilience/WaitQueue.ts"

type Answer = ReturnType<Waiter["tryAcquire"]>

const queueOf = () => new WaitQueue(inProcess.permits("pool", "p"))

const party = (room: WaitQueue) => {
  const entered: Array<string> = []
  let order = 0
  /** Someone who takes what `tell` gives, and is counted as at work when it is a place. */
  const join = (name: string, tell: () => Answer, options: Partial<Waiter> = {}): Waiter => {
    const waiter: Waiter = {
      group: "g",
      priority: 0,
      order: order++,
      holdsPermit: false,
      tryAcquire: () => {
        const answer = tell()
        if (answer === "wait") return answer
        entered.push(name)
        if (answer === "entered" && !waiter.holdsPermit) room.permits.tryTake(Number.POSITIVE_INFINITY)
        return answer
      },
      ...options
    }
    room.enqueue(waiter)
    return waiter
  }
  return { entered, join }
}

const yes = (): Answer => "entered"
const no = (): Answer => "wait"

describe("requests that wait for the same", () => {
  it("get in in the order of coming, as many as there is room for", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    for (const name of ["a", "b", "c", "d"]) join(name, yes)
    room.admitWaiting(2)
    assert.deepStrictEqual([entered, room.permits.active, room.waiting], [["a", "b"], 2, 2])
    room.permits.release()
    room.admitWaiting(2)
    assert.deepStrictEqual(entered, ["a", "b", "c"])
  })

  it("get in by priority first, lower first", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    join("late", yes, { priority: 5 })
    join("soon", yes, { priority: -1 })
    join("now", yes, { priority: -1 })
    join("usual", yes)
    room.admitWaiting(10)
    assert.deepStrictEqual(entered, ["soon", "now", "usual", "late"])
  })

  it("stay behind the first while that one finds nothing", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    let found: Answer = "wait"
    join("first", () => found)
    join("second", yes)
    room.admitWaiting(10)
    assert.deepStrictEqual(entered, [])
    found = "entered"
    room.admitWaiting(10)
    assert.deepStrictEqual(entered, ["first", "second"])
  })

  it("move up when one in front gives up or is told that it is in vain", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    const first = join("first", no)
    join("second", () => "gone")
    join("third", yes)
    room.remove(first)
    room.remove(first)
    room.admitWaiting(1)
    assert.deepStrictEqual([entered, room.permits.active, room.waiting], [["second", "third"], 1, 0])
  })
})

describe("a request that waits for something else", () => {
  it("is not held up by a line that cannot move, even one with a better priority", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    join("stuck", no, { group: "full", priority: -5 })
    join("free", yes, { group: "other", priority: 3 })
    room.admitWaiting(1)
    assert.deepStrictEqual([entered, room.waiting], [["free"], 1])
  })

  it("shares the last place by the order of coming", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    join("a", yes, { group: "one" })
    join("b", yes, { group: "two" })
    join("c", yes, { group: "one" })
    room.admitWaiting(2)
    assert.deepStrictEqual(entered, ["a", "b"])
  })
})

describe("a request that is at work already and looks for its next backend", () => {
  it("is not one of those that take up the queue", () => {
    const room = queueOf()
    const { join } = party(room)
    join("new", no)
    const again = join("again", no, { holdsPermit: true })
    assert.deepStrictEqual([room.waiting, room.queued], [2, 1])
    room.remove(again)
    assert.deepStrictEqual([room.waiting, room.queued], [1, 1])
  })

  it("needs no place, and may pass those that do", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    room.permits.tryTake(1)
    join("new", yes)
    join("again", yes, { holdsPermit: true })
    room.admitWaiting(1)
    assert.deepStrictEqual([entered, room.permits.active, room.waiting], [["again"], 1, 1])
  })

  it("is asked in its turn where there are places", () => {
    const room = queueOf()
    const { entered, join } = party(room)
    room.permits.tryTake(1)
    join("new", yes)
    join("again", yes, { holdsPermit: true })
    room.admitWaiting(2)
    assert.deepStrictEqual(entered, ["new", "again"])
  })
})

describe("a newcomer", () => {
  it("is behind those that wait for the same with the same or a better claim, and behind no other", () => {
    const room = queueOf()
    const { join } = party(room)
    assert.isFalse(room.isBehind("g", 0))
    const waiter = join("a", no, { priority: 2 })
    assert.deepStrictEqual(
      [room.isBehind("g", 2), room.isBehind("g", 3), room.isBehind("g", 1), room.isBehind("other", 3)],
      [true, true, false, false]
    )
    room.remove(waiter)
    assert.isFalse(room.isBehind("g", 3))
  })
})

describe("the time after which a place is likely", () => {
  /** One leaves every `every` milliseconds for a minute; the last moment. */
  const leaving = (room: WaitQueue, every: number, from = 0): number => {
    for (let now = from + every; now <= from + 60_000; now += every) room.departed(now)
    return from + 60_000
  }

  it("is the length of the line over the rate of leaving", () => {
    for (const [every, waiting] of [
      [100, 99],
      [1000, 9],
      [1000, 29],
      [2000, 14]
    ] as const) {
      for (const more of [0, 2500, 5000, 9900]) {
        const room = queueOf()
        const { join } = party(room)
        for (let i = 0; i < waiting; i++) join("w", no)
        const start = leaving(room, every, 1_000_000)
        let now = start
        for (; now + every <= start + more; now += every) room.departed(now + every)
        const seconds = ((waiting + 1) * every) / 1000
        assert.closeTo(room.retryAfter(now, 30), seconds, 1 + seconds / 10)
      }
    }
  })

  it("grows while no request leaves any more", () => {
    const room = queueOf()
    const { join } = party(room)
    for (let i = 0; i < 9; i++) join("w", no)
    const now = leaving(room, 1000)
    assert.isAbove(room.retryAfter(now + 9000, 30), room.retryAfter(now, 30))
  })

  it("is known as soon as a few have left", () => {
    const room = queueOf()
    const { join } = party(room)
    for (let i = 0; i < 19; i++) join("w", no)
    for (let now = 50_100; now <= 52_000; now += 100) room.departed(now)
    assert.closeTo(room.retryAfter(52_000, 30), 2, 1)
  })

  it("is what was configured where no request has left yet, or long ago", () => {
    const room = queueOf()
    assert.strictEqual(room.retryAfter(0, 12), 12)
    assert.strictEqual(room.retryAfter(leaving(room, 100) + 3_600_000, 12), 12)
  })

  it("is between 1 and 60 whole seconds, whatever was measured", () => {
    const queue = queueOf()
    const { join } = party(queue)
    for (let i = 0; i < 1000; i++) join("w", no)
    assert.strictEqual(queue.retryAfter(leaving(queue, 5000), 30), 60)
    const quick = queueOf()
    assert.strictEqual(quick.retryAfter(leaving(quick, 1), 30), 1)
    assert.strictEqual(queueOf().retryAfter(0, 0), 1)
    assert.strictEqual(queueOf().retryAfter(0, 7200), 60)
    assert.strictEqual(queueOf().retryAfter(0, 2.1), 3)
  })
})
