import { isIP } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { makeClientAddress } from "../../src/http/ClientAddress.ts"
import { holdsFor } from "../Property.ts"
import { incoming, listener } from "./Requests.ts"

const addressOf = (peer: string, forwarded: string | undefined, trustedProxies: ReadonlyArray<string>) =>
  makeClientAddress().of(
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
    "is the proxy's own where the header names no other: %j",
    (forwarded) => {
      assert.strictEqual(addressOf("10.1.2.3", forwarded, proxies), "10.1.2.3")
    }
  )

  it("is each listener's own affair", () => {
    const clientAddress = makeClientAddress()
    const request = incoming({ peer: "10.1.2.3", headers: { "x-forwarded-for": "198.51.100.7" } })
    const [trusting, wary] = [listener({ trustedProxies: proxies }), listener()]
    for (let i = 0; i < 2; i++) {
      assert.strictEqual(clientAddress.of(request, trusting), "198.51.100.7")
      assert.strictEqual(clientAddress.of(request, wary), "10.1.2.3")
    }
  })

  it.each([
    ["198.51.100.7:40001", "198.51.100.7"],
    ["2001:db8::5", "2001:db8::5"],
    ["[2001:db8::5]", "2001:db8::5"],
    ["[2001:db8::5]:40001", "2001:db8::5"],
    ["2001:DB8:0:0::5", "2001:db8::5"],
    ["2001:0db8:0000:0000:0000:0000:0000:0005", "2001:db8::5"],
    ["[fe80::1%eth0]:443", "fe80::1"],
    ["fe80::1%25eth0", "fe80::1"],
    ["::ffff:198.51.100.7", "198.51.100.7"],
    ["[::FFFF:198.51.100.7]:40001", "198.51.100.7"],
    ["::ffff:c633:6407", "198.51.100.7"],
    ['"198.51.100.7:40001"', "198.51.100.7"],
    ['"[2001:db8::5]:40001"', "2001:db8::5"],
    ["1.1.1.1, 198.51.100.7:40001 , [::ffff:10.9.9.9]:80,", "198.51.100.7"]
  ])("is one and the same however a proxy spells it: %j", (forwarded, expected) => {
    assert.strictEqual(addressOf("10.1.2.3", forwarded, proxies), expected)
  })

  it.each([
    "unknown",
    "_hidden",
    "_SEVKISEK:443",
    "for=198.51.100.7",
    "gateway.example",
    "198.51.100.7:port",
    "198.51.100.7:123456",
    "198.51.100.700",
    "0198.51.100.7",
    "[2001:db8::5",
    "[]:80",
    '""',
    "\u0000",
    "%eth0",
    "198.51.100.7, unknown",
    "198.51.100.7, _hidden, 10.9.9.9"
  ])("is the proxy's own where the last hop that counts is no address: %j", (forwarded) => {
    assert.strictEqual(addressOf("10.1.2.3", forwarded, proxies), "10.1.2.3")
  })

  it.each([
    ["::ffff:203.0.113.9", "203.0.113.9"],
    ["2001:db8::9", "2001:db8::9"],
    ["fe80::9%eth0", "fe80::9"]
  ])("is canonical for a peer %s too", (peer, expected) => {
    assert.strictEqual(addressOf(peer, undefined, []), expected)
    assert.strictEqual(addressOf(peer, "1.2.3.4", proxies), expected)
  })

  it("finds a trusted proxy by any spelling of its network", () => {
    for (const network of ["FD00:0::/8", "fd00:0:0::1"]) {
      assert.strictEqual(addressOf("fd00::1", "198.51.100.7", [network]), "198.51.100.7")
    }
    for (const network of ["::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "::ffff:a00:0/104"]) {
      assert.strictEqual(addressOf("10.1.2.3", "198.51.100.7", [network]), "198.51.100.7")
      assert.strictEqual(addressOf("::ffff:10.1.2.3", "198.51.100.7", [network]), "198.51.100.7")
      assert.strictEqual(addressOf("11.1.2.3", "198.51.100.7", [network]), "11.1.2.3")
    }
  })

  it("is looked for through a bounded number of proxies, however long the header is", () => {
    const through = (proxiesBetween: number) => `198.51.100.7${", 10.9.9.9".repeat(proxiesBetween)}`
    assert.strictEqual(addressOf("10.1.2.3", through(63), proxies), "198.51.100.7")
    assert.strictEqual(addressOf("10.1.2.3", through(100_000), proxies), "10.1.2.3")
    assert.strictEqual(addressOf("10.1.2.3", `198.51.100.7${",".repeat(100_000)}`, proxies), "198.51.100.7")
  })

  it("never comes from before a hop that no trusted proxy wrote, whatever a client sends", () => {
    holdsFor(fc.string({ unit: "binary", maxLength: 60 }), (sent) => {
      const seen = addressOf("10.1.2.3", `${sent}, 198.51.100.7:1, 10.9.9.9`, proxies)
      assert.strictEqual(seen, "198.51.100.7")
    })
  })

  it("is only ever an address, whatever a trusted proxy writes", () => {
    holdsFor(fc.string({ maxLength: 60 }), (sent) => {
      assert.notStrictEqual(isIP(addressOf("10.1.2.3", sent, proxies)), 0)
    })
  })
})
