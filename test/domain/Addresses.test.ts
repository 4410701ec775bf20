import { assert, describe, it } from "@effect/vitest"
import { clientNetwork } from "../../src/domain/Addresses.ts"

describe("what counts as one client of a limit on addresses", () => {
  it.each(["198.51.100.7", "127.0.0.1", "unknown"])("is %s itself", (address) => {
    assert.strictEqual(clientNetwork(address), address)
  })

  it.each([
    ["2001:db8:1:2::5", "2001:db8:1:2:ffff:ffff:ffff:ffff"],
    ["2001:db8::", "2001:db8::1"],
    ["fe80::1", "fe80::2"]
  ])("is the /64 that %s and %s share", (one, other) => {
    assert.strictEqual(clientNetwork(one), clientNetwork(other))
    assert.match(clientNetwork(one), /\/64$/)
  })

  it.each([
    ["2001:db8:1:2::5", "2001:db8:1:3::5"],
    ["2001:db8::5", "198.51.100.7"],
    ["198.51.100.7", "198.51.100.8"]
  ])("is not the same for %s and %s", (one, other) => {
    assert.notStrictEqual(clientNetwork(one), clientNetwork(other))
  })
})
