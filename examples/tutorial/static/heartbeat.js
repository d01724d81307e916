// The page's half of a heartbeat; the server's is `heartbeat_interval` of its consumer.
//
// A connection may die without a word: a laptop sleeps, a phone changes its network, a proxy
// forgets. So the server asks a page of which it has heard nothing for a while, and this answers.
// What neither says nor asks anything for longer than that is no server any more.

const HEARTBEAT = '{"type":"heartbeat"}'; // the consumer's heartbeat_text

// Call it before other listeners are added. onSilent is called when nothing came for `silence`
// milliseconds: the consumer's heartbeat_interval and heartbeat_timeout together, as the server
// asks only after the page was silent. A page whose messages the server does not answer, so that
// it may well be the only one to talk, has to count from the last message in either direction.
export function keepAlive(socket, { silence, onSilent }) {
  let timer = setTimeout(onSilent, silence);

  socket.addEventListener("message", (event) => {
    clearTimeout(timer);
    timer = setTimeout(onSilent, silence);
    if (event.data !== HEARTBEAT) return;
    socket.send(HEARTBEAT);
    event.stopImmediatePropagation(); // it is no message for the page
  });
  socket.addEventListener("close", () => clearTimeout(timer));
}
