import { assert, describe, it } from "@effect/vitest"
import { makeClientAddress } from "../../src/http/ClientAddress.ts"
import { incoming, listener } from "./Requests.ts"

const addressOf = (peer: string, forwarded: string | undefined, trustedProxies: ReadonlyArray<string>) =>
  makeClientAddress()(
    incoming({ peer, headers: forwarded === undefined ? {} : { "x-forwarded-for": forwarded } }),
    listener({ trustedProxies })
  )

const proxies = ["10.0.0.0/8", "192.168.1.1", "fd00::/8"]

describe("the address that a request counts for", () => {
  it("is the peer's, whatever it writes into X-Forwarded-For, where no proxy is trusted", () => {
    assert.strictEqual(addressOf("203.0.113.9", "1.2.3.4", []), "203.0.113.9")
    assert.strictEqual(addressOf("203.0.113.9", undefined, []), "203.0.113.9")
  })

  it("is the peer's where the peer is no trusted proxy itself", () => {
    assert.strictEqual(addressOf("203.0.113.9", "1.2.3.4", proxies), "203.0.113.9")
    assert.strictEqual(addressOf("192.168.1.2", "1.2.3.4", proxies), "192.168.1.2")
  })

  it.each([
    ["one trusted proxy", "10.1.2.3", "198.51.100.7", "198.51.100.7"],
    ["several", "10.1.2.3", "198.51.100.7, 10.9.9.9,192.168.1.1", "198.51.100.7"],
    ["one that is named by its address alone", "192.168.1.1", "198.51.100.7", "198.51.100.7"],
    ["one that the socket names in IPv6's way", "::ffff:10.1.2.3", "198.51.100.7", "198.51.100.7"],
    ["one of IPv6", "fd00::1", "2001:db8::5", "2001:db8::5"]
  ])("is the last one that is no proxy, behind %s", (_, peer, forwarded, expected) => {
    assert.strictEqual(addressOf(peer, forwarded, proxies), expected)
  })

  it("cannot be made up by a client that sends the header itself: only what a proxy added counts", () => {
    assert.strictEqual(addressOf("10.1.2.3", "1.1.1.1, 198.51.100.7", proxies), "198.51.100.7")
    assert.strictEqual(addressOf("10.1.2.3", "10.0.0.1, 198.51.100.7, 10.9.9.9", proxies), "198.51.100.7")
  })

  it.each([undefined, "", " , ,", "10.4.4.4, 10.5.5.5"])(
    "is the proxy's own where the header names nobody else: %j",
    (forwarded) => {
      assert.strictEqual(addressOf("10.1.2.3", forwarded, proxies), "10.1.2.3")
    }
  )

  it("is each listener's own affair", () => {
    const clientAddress = makeClientAddress()
    const request = incoming({ peer: "10.1.2.3", headers: { "x-forwarded-for": "198.51.100.7" } })
    const [trusting, wary] = [listener({ trustedProxies: proxies }), listener()]
    for (let i = 0; i < 2; i++) {
      assert.strictEqual(clientAddress(request, trusting), "198.51.100.7")
      assert.strictEqual(clientAddress(request, wary), "10.1.2.3")
    }
  })
})
