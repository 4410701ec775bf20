/** One keep-alive connection of the load generator: a raw socket and a reader of responses. */
import { connect, type Socket } from "node:net"
import { framingOf, MessageReader } from "./MessageReader.ts"

export interface ClientListener {
  readonly onOpen: () => void
  readonly onStatus: (status: number) => void
  readonly onData: (bytes: Buffer, from: number, to: number) => void
  readonly onEnd: () => void
  /** The connection is over; `isWithin`: in the middle of an answer, or before it came. */
  readonly onClose: (isWithin: boolean) => void
}

/** Where to, and from which of the loopback's addresses: one address has no more than some 28,000 ports. */
export interface Target {
  readonly port: number
  readonly source: string
}

/** A buffer that all connections read into: what is read is used up before the next read. */
export const makeReadBuffer = (): Buffer => Buffer.allocUnsafe(256 * 1024)

export class Client {
  readonly #socket: Socket
  #asked = false

  constructor(target: Target, buffer: Buffer, listener: ClientListener) {
    const reader = new MessageReader({
      onHead: (head) => {
        listener.onStatus(Number(head.slice(9, 12)))
        return framingOf(head)
      },
      onData: listener.onData,
      onEnd: () => {
        this.#asked = false
        listener.onEnd()
      }
    })
    this.#socket = connect({
      host: "127.0.0.1",
      port: target.port,
      localAddress: target.source,
      noDelay: true,
      onread: {
        buffer,
        callback: (length) => {
          reader.push(buffer.subarray(0, length))
          return true
        }
      }
    })
    this.#socket.on("connect", listener.onOpen)
    this.#socket.on("error", () => this.#socket.destroy())
    this.#socket.on("end", () => this.#socket.destroy())
    this.#socket.on("close", () => listener.onClose(this.#asked))
  }

  /** Sends a whole request; the next one only after `onEnd`. */
  send(request: Uint8Array): void {
    this.#asked = true
    this.#socket.write(request)
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
