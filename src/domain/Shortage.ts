/** What this process, or its machine, can run out of when connections are made. No backend is to blame for that. */

/** Each code of the operating system with what is missing, and the setting that helps. */
const remedies: Readonly<Record<string, string>> = {
  EMFILE:
    "this process has no file descriptor left: raise its limit (ulimit -n, or LimitNOFILE= in a systemd unit), " +
    "or lower maxConnections of its listeners",
  ENFILE: "this machine has no file descriptor left: raise fs.file-max",
  EADDRNOTAVAIL:
    "no local address and port is free for another connection to this backend: widen net.ipv4.ip_local_port_range, " +
    "or keep connections for longer (client.keepAlive of its pool); for an IPv6 address: is IPv6 on, on this machine?",
  EAGAIN: "no local port is free for another connection: widen net.ipv4.ip_local_port_range",
  ENOBUFS: "the system has no buffers left for connections: see net.ipv4.tcp_mem, and the memory of this machine",
  ENOMEM: "the system has no memory left for connections: see the memory of this machine or container",
  EAI_MEMORY: "the system has no memory left to look names up: see the memory of this machine or container"
}

/** Whether a code tells of a shortage here, and not of the other end. `syscall`: what the system was asked for. */
export const isShortage = (code: string, syscall: string): boolean => {
  // Else these tell of a socket that is not ready, or of an address that is another's.
  if (code === "EAGAIN" || code === "EADDRNOTAVAIL") return syscall === "connect" || syscall === "bind"
  return code in remedies
}

/** In words for the log: what is missing, and the setting that helps. */
export const remedyFor = (code: string): string => remedies[code] ?? `the system refuses with ${code}`
