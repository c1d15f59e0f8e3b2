// The scanner's interface: JSON over HTTP, and its stream of server-sent events.

import { say } from "./words.js";

/** What went wrong, in words for a person. */
export class ApiError extends Error {}

export async function ask(path) {
  return answer(await reach(path, {}));
}

export async function tell(path, body = {}) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return answer(await reach(path, request));
}

async function reach(path, request) {
  try {
    return await fetch(path, { ...request, credentials: "same-origin", cache: "no-store" });
  } catch {
    throw new ApiError(say("error.network"));
  }
}

async function answer(response) {
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(body?.error ?? say("error.status", { status: response.status }));
  return body;
}

const SILENCE_MS = 45_000; // health comes every 30 s; a stream silent for longer is dead though nobody said so
const RETRY_MS = 1_000;

/**
 * The stream, for as long as the page is looked at. `handlers` take the data of an event by its name; `onlink(true)` is called when the
 * stream has opened (again), `onlink(false)` when it is lost. A hidden page costs the scanner nothing.
 */
export function follow(path, handlers, onlink) {
  let source = null;
  let silence = 0;
  let retry = 0;

  function heard() {
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE_MS);
  }

  function close() {
    clearTimeout(silence);
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function lost() {
    close();
    onlink(false);
    retry = setTimeout(open, RETRY_MS);
  }

  function open() {
    close();
    source = new EventSource(path);
    source.onopen = () => {
      heard();
      onlink(true);
    };
    source.onerror = lost;
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        heard();
        handler(JSON.parse(event.data));
      });
    }
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  if (!document.hidden) open();
}
