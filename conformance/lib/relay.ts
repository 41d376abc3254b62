/** One port in front of two servers: clients cannot tell which of them answers. */
import net from "node:net";

export interface Relay {
  port: number;
  /** Which server each request so far went to, by its place in the list. */
  served: number[];
  close: () => Promise<void>;
}

/**
 * Passes bytes on untouched. A connection is a request, because our client opens one for each; `choose` gets the
 * number of the request, counted from 0, and answers with the place of the server's port in `ports`.
 */
export async function startRelay(ports: () => number[], choose: (request: number) => number): Promise<Relay> {
  const served: number[] = [];
  const open = new Set<net.Socket>();
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (incoming) => {
    const place = choose(served.length);
    served.push(place);
    const port = ports()[place];
    if (port === undefined) {
      incoming.destroy(new Error(`there is no server ${place}`));
      return;
    }
    const outgoing = net.connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    for (const [socket, other] of [[incoming, outgoing], [outgoing, incoming]] as const) {
      open.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => open.delete(socket));
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const close = async () => {
    for (const socket of open) socket.destroy();
    await new Promise((resolve) => listener.close(resolve));
  };
  return { port: (listener.address() as net.AddressInfo).port, served, close };
}
