/** For how long a client has taken nothing of what waits for it: looked at from time to time, one for each of its streams. */
export class Untaken {
  #waiting = 0
  #taken = 0
  #since: number

  constructor(now: number) {
    this.#since = now
  }

  /**
   * Milliseconds since it was seen last that nothing waits, or that more has been taken than before; `taken`: anything that
   * grows with that. How much waits says nothing: a writer that fills a place as soon as there is some keeps it so.
   */
  stalledFor(waiting: number, taken: number, now: number): number {
    if (waiting === 0 || this.#waiting === 0 || taken !== this.#taken) this.#since = now
    this.#waiting = waiting
    this.#taken = taken
    return now - this.#since
  }
}
