/** A thread that asks a gateway for its health all the time. Shares the longest that it had to wait, in milliseconds. */
import * as http from "node:http"
import { workerData } from "node:worker_threads"

const { longest, url }: { readonly longest: Int32Array; readonly url: string } = workerData
const agent = new http.Agent({ keepAlive: true })

const ask = () => {
  const began = performance.now()
  const next = () => {
    const waited = Math.round(performance.now() - began)
    if (waited > Atomics.load(longest, 0)) Atomics.store(longest, 0, waited)
    setTimeout(ask, 3)
  }
  http
    .get(`${url}/healthz`, { agent }, (response) => response.resume().on("end", next))
    .on("error", () => {
      throw new Error("the gateway does not answer for its health")
    })
}

ask()
